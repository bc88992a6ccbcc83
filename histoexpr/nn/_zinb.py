"""Counts with more zeros than a negative binomial has."""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class ZINB(NamedTuple):
    """Parameters of a zero-inflated negative binomial.

    Attributes
    ----------
    mean : Tensor of shape (n_spots, n_genes), dtype float32
        Of the counts, for a spot of size factor 1.
    dispersion : Tensor of shape (n_spots, n_genes), dtype float32
        The inverse dispersion: the variance of the binomial is mean + mean² / dispersion.
    dropout_logits : Tensor of shape (n_spots, n_genes), dtype float32
        A zero comes from elsewhere with probability ``sigmoid(dropout_logits)``.
    """

    mean: torch.Tensor
    dispersion: torch.Tensor
    dropout_logits: torch.Tensor


class ZINBHead(nn.Module):
    """A linear layer for each parameter of a zero-inflated negative binomial (Reg2ST).

    Parameters
    ----------
    n_inputs : int
    n_genes : int
    """

    _LOG_MEANS = (math.log(1e-5), math.log(1e6))
    _DISPERSIONS = (1e-4, 1e4)

    def __init__(self, n_inputs, n_genes):
        super().__init__()
        self.mean = nn.Linear(n_inputs, n_genes)
        self.dispersion = nn.Linear(n_inputs, n_genes)
        self.dropout = nn.Linear(n_inputs, n_genes)

    def forward(self, x):
        """The ZINB of float32 (n_spots, n_inputs).

        The mean is clamped to 1e-5..1e6, the dispersion to 1e-4..1e4.
        """
        # Clamped before exp, not after: the gradient of an infinite mean would be NaN.
        return ZINB(
            self.mean(x).float().clamp(*self._LOG_MEANS).exp(),
            F.softplus(self.dispersion(x).float()).clamp(*self._DISPERSIONS),
            self.dropout(x).float(),
        )


def zinb_loss(counts, zinb, size_factors=None):
    """The mean negative log-likelihood of counts.

    Parameters
    ----------
    counts : Tensor of shape (n_spots, n_genes), dtype float32
        Raw counts.
    zinb : ZINB
    size_factors : Tensor of shape (n_spots,), dtype float32, or None, default=None
        They multiply the means; None is 1 for each spot.

    Returns
    -------
    Tensor of shape ()
    """
    mean, dispersion, logits = zinb
    if size_factors is not None:
        mean = mean * size_factors[:, None]
    log_total = torch.log(dispersion + mean)
    log_zero = dispersion * (torch.log(dispersion) - log_total)  # of the binomial, at 0
    log_count = (
        torch.lgamma(counts + dispersion)
        - torch.lgamma(dispersion)
        - torch.lgamma(counts + 1)
        + log_zero
        + counts * (torch.log(mean) - log_total)
    )
    log_not_dropped = F.logsigmoid(-logits)
    log_likelihood = torch.where(
        counts == 0,
        torch.logaddexp(F.logsigmoid(logits), log_not_dropped + log_zero),
        log_not_dropped + log_count,
    )
    return -log_likelihood.mean()
