"""Heads, encoders and the contrastive loss against their formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from histoexpr._types import SpotBatch
from histoexpr.nn import (
    DualEncoder,
    PositionEmbedding,
    ProjectionHead,
    SpotEncoder,
    symmetric_info_nce,
)


def test_projection_head_is_its_formula():
    torch.manual_seed(0)
    head = ProjectionHead(7, 5).eval()
    x = torch.randn(3, 7)
    p = x @ head.projection.weight.T + head.projection.bias
    h = F.gelu(p) @ head.hidden.weight.T + head.hidden.bias + p
    expected = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), expected)


def test_info_nce_is_its_formula():
    rng = np.random.default_rng(0)
    spots, images = rng.normal(size=(2, 6, 4))
    logits = spots @ images.T / 0.5

    def cross_entropy(rows):
        return np.mean([np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(rows)])

    expected = (cross_entropy(logits) + cross_entropy(logits.T)) / 2
    got = symmetric_info_nce(torch.tensor(spots), torch.tensor(images), temperature=0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def spots(expression, positions=None):
    return SpotBatch(torch.empty(len(expression), 0), expression, positions)


def test_a_spots_place_is_added_to_its_expression():
    encoder = SpotEncoder(n_genes=4, grid_shape=(3, 2), projection_dim=8).eval()
    expression = torch.rand(2, 4)
    positions = torch.tensor([[2, 0], [0, 1]])
    moved = expression + encoder.position.col.weight[[2, 0]] + encoder.position.row.weight[[0, 1]]
    torch.testing.assert_close(encoder(spots(expression, positions)), encoder.head(moved))


def test_without_a_grid_there_are_no_position_tables():
    encoder = SpotEncoder(n_genes=4, grid_shape=None, projection_dim=8).eval()
    expression = torch.rand(2, 4)
    torch.testing.assert_close(encoder(spots(expression)), encoder.head(expression))
    # positions that come later are of no use
    torch.testing.assert_close(
        encoder(spots(expression, torch.tensor([[9, 9], [0, 0]]))), encoder.head(expression)
    )


def test_a_place_outside_the_tables_is_the_nearest_one_inside():
    table = PositionEmbedding((3, 2), 4)
    outside = torch.tensor([[3, 0], [1, 70], [-1, -2]])
    torch.testing.assert_close(table(outside), table(torch.tensor([[2, 0], [1, 1], [0, 0]])))


def test_tables_need_positions():
    encoder = SpotEncoder(n_genes=4, grid_shape=(3, 2))
    with pytest.raises(ValueError, match="trained with array positions and got spots without"):
        encoder(spots(torch.rand(2, 4)))


def test_context_comes_between_place_and_head():
    encoder = SpotEncoder(4, (3, 2), 8, context=torch.nn.Linear(4, 4)).eval()
    batch = spots(torch.rand(2, 4), torch.tensor([[2, 0], [0, 1]]))
    placed = batch.expression + encoder.position(batch.positions)
    torch.testing.assert_close(encoder(batch), encoder.head(encoder.context(placed)))


def test_loss_falls_towards_matching_pairs():
    torch.manual_seed(0)
    model = DualEncoder(ProjectionHead(6, 8), SpotEncoder(5, None, 8))
    batch = SpotBatch(torch.randn(20, 6), torch.rand(20, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = model(batch).loss.item()
    for _ in range(300):
        optimizer.zero_grad()
        model(batch).loss.backward()
        optimizer.step()
    assert model(batch).loss.item() < 0.2 * first


def test_a_batch_of_one_spot_has_no_one_to_contrast_with():
    batch = SpotBatch(torch.randn(1, 6), torch.rand(1, 5))
    assert DualEncoder(ProjectionHead(6, 8), SpotEncoder(5, None, 8))(batch).loss.item() == 0
