"""Reg2ST's module: its loss, its two ways to predict, and what a section may lack."""

from dataclasses import replace

import pytest
import torch

from histoexpr._types import SpotBatch
from histoexpr.nn import Reg2STModule

GRID = torch.cartesian_prod(torch.arange(5), torch.arange(4))


def section(n_spots=20, **changes):
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((n_spots, 6), 2.0), generator=generator)
    batch = SpotBatch(
        torch.randn(n_spots, 7, generator=generator),
        torch.log1p(counts),
        GRID[:n_spots],
        counts=counts,
        size_factors=torch.linspace(0.5, 1.5, n_spots),
    )
    return replace(batch, **changes)


def module(grid_shape=(5, 4), **settings):
    torch.manual_seed(0)
    settings = {"hidden_dim": 8, "n_layers": 2, "n_heads": 2, "gene_dim": 16, **settings}
    return Reg2STModule(7, 6, grid_shape, feed_forward_dim=16, **settings).eval()


def test_loss_is_the_weighted_sum_of_its_terms():
    output = module()(section())
    terms = output.terms
    assert set(terms) == {"contrastive", "mse", "projection", "zinb"}
    expected = (
        0.5 * terms["contrastive"] + terms["mse"] + terms["projection"] + 0.25 * terms["zinb"]
    )
    torch.testing.assert_close(output.loss.detach(), expected)


def test_without_counts_there_is_no_zinb():
    output = module()(section(counts=None, size_factors=None))
    assert set(output.terms) == {"contrastive", "mse", "projection"}
    assert module()(section(size_factors=None)).loss.isfinite()


def test_mse_is_that_of_what_is_decoded():
    own, batch = module(), section()
    expected = (own.decode(batch) - batch.expression).square().mean()
    torch.testing.assert_close(own(batch).terms["mse"], expected)


def test_decoding_needs_no_expression():
    own, batch = module(), section()
    bare = SpotBatch(batch.features, positions=batch.positions)
    torch.testing.assert_close(own.decode(bare), own.decode(batch))
    assert own.decode(bare).shape == (20, 6)


def test_the_order_of_spots_is_of_no_account():
    own, batch = module(), section()
    order = torch.randperm(20)
    torch.testing.assert_close(own.decode(batch[order]), own.decode(batch)[order])
    torch.testing.assert_close(own(batch[order]).loss, own(batch).loss)


def test_images_are_embedded_where_spots_are_one_by_one():
    own, batch = module(), section()
    embedded = own.embed_image(SpotBatch(batch.features))
    assert embedded.shape == own.embed_spot(batch).shape == (20, 8)
    torch.testing.assert_close(own.embed_image(SpotBatch(batch.features[3:4])), embedded[3:4])
    torch.testing.assert_close(own.embed_spot(batch).norm(dim=1), torch.ones(20))


def test_a_place_outside_the_tables_is_the_nearest_one_inside():
    own, batch = module(), section()
    outside, inside = batch.positions.clone(), batch.positions.clone()
    outside[7], inside[7] = torch.tensor([99, -1]), torch.tensor([4, 0])
    torch.testing.assert_close(
        own.decode(replace(batch, positions=outside)), own.decode(replace(batch, positions=inside))
    )


def test_positions_that_are_missing():
    batch = section(positions=None)
    assert module(grid_shape=None).decode(batch).isfinite().all()
    with pytest.raises(ValueError, match="trained with array positions and got spots without"):
        module().decode(batch)


@pytest.mark.parametrize("n_spots", [1, 2, 5])
def test_sections_smaller_than_the_graph(n_spots):
    own, batch = module().train(), section(n_spots)
    output = own(batch)
    output.loss.backward()
    assert output.loss.isfinite() and own.eval().decode(batch).shape == (n_spots, 6)


def test_heads_must_share_the_width():
    with pytest.raises(ValueError, match="hidden_dim=8 cannot be shared among n_heads=3"):
        module(n_heads=3)


def test_training_reaches_every_parameter_and_lowers_the_loss():
    own, batch = module(), section()
    first = own(batch).loss.item()
    optimizer = torch.optim.AdamW(own.parameters(), lr=1e-2)
    for step in range(40):
        optimizer.zero_grad()
        own.train()(batch).loss.backward()
        if step == 0:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in own.parameters())
        optimizer.step()
    assert own.eval()(batch).loss.item() < 0.7 * first


def test_bfloat16_trains():
    own, batch = module().train(), section()
    with torch.autocast("cpu", torch.bfloat16):
        output = own(batch)
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and output.loss.isfinite()
    own.eval()
    with torch.autocast("cpu", torch.bfloat16):
        low = own(batch).loss
    torch.testing.assert_close(low, own(batch).loss, rtol=0.05, atol=0.05)
