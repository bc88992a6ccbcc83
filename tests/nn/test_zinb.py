"""The zero-inflated negative binomial against scipy's negative binomial."""

import numpy as np
import pytest
import torch
from scipy.stats import nbinom

from histoexpr.nn import ZINB, ZINBHead, zinb_loss


@pytest.mark.parametrize("size_factors", [None, [0.5, 1.0, 1.5, 4.0]])
def test_loss_is_the_mean_negative_log_likelihood(size_factors):
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.5, size=(4, 7))
    mean, dispersion = rng.uniform(0.3, 5, size=(2, 4, 7))
    logits = rng.normal(size=(4, 7))
    scaled = mean if size_factors is None else mean * np.array(size_factors)[:, None]
    dropped = 1 / (1 + np.exp(-logits))
    density = nbinom.pmf(counts, dispersion, dispersion / (dispersion + scaled))
    likelihood = (1 - dropped) * density + dropped * (counts == 0)
    loss = zinb_loss(
        torch.tensor(counts, dtype=torch.float32),
        ZINB(*(torch.tensor(a, dtype=torch.float32) for a in (mean, dispersion, logits))),
        None if size_factors is None else torch.tensor(size_factors),
    )
    np.testing.assert_allclose(loss, -np.log(likelihood).mean(), rtol=1e-5)


def test_head_clamps_mean_and_dispersion():
    head = ZINBHead(1, 2)
    for layer in (head.mean, head.dispersion):
        layer.weight.data.fill_(1.0)
        layer.bias.data.zero_()
    low, high = head(torch.tensor([[-1e6], [1e6]]))[:2]
    np.testing.assert_allclose(low.detach()[:, 0], [1e-5, 1e6], rtol=1e-4)
    np.testing.assert_allclose(high.detach()[:, 0], [1e-4, 1e4], rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_loss_and_gradient_stay_finite(scale):
    torch.manual_seed(0)
    head = ZINBHead(4, 5)
    counts = torch.poisson(torch.full((6, 5), 1.0)) * torch.tensor([0, 1, 1, 1000, 100000.0])
    loss = zinb_loss(counts, head(scale * torch.randn(6, 4)), torch.linspace(0.01, 50, 6))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in head.parameters())
