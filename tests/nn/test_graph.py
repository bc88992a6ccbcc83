"""Graphs against what they are by definition, computed spot by spot."""

import time
import tracemalloc

import numpy as np
import pytest
import torch

from histoexpr.nn import GraphAttention, _graph, functional_edges, spatial_edges, strongest


def grid(n_cols, n_rows, hexagonal=False):
    col, row = np.meshgrid(np.arange(n_cols), np.arange(n_rows))
    if hexagonal:  # as 10x numbers it: columns two apart, odd rows moved by one
        col = 2 * col + row % 2
    return np.stack([col.ravel(), row.ravel()], axis=1)


def nearest_by_definition(positions, k):
    """Rows of the k nearest: itself, then by distance, array row, array column."""
    chosen = []
    for spot, place in enumerate(positions):
        squares = ((positions - place) ** 2).sum(axis=1)
        squares[spot] = -1
        chosen.append(np.lexsort((positions[:, 0], positions[:, 1], squares))[:k])
    return np.array(chosen)


@pytest.mark.parametrize("k", [1, 4, 20])
@pytest.mark.parametrize(
    "positions",
    [
        grid(9, 7),
        grid(8, 9, hexagonal=True),
        np.random.default_rng(0).normal(size=(60, 2)),
        np.stack([np.arange(50), np.zeros(50)], axis=1),
    ],
    ids=["square", "hexagonal", "scattered", "line"],
)
def test_spatial_edges_run_to_the_nearest(positions, k):
    shuffled = np.random.default_rng(1).permutation(positions)
    edges = spatial_edges(shuffled, k)
    assert edges.dtype == torch.int64 and edges.shape == (2, len(positions) * k)
    rows = edges.reshape(2, len(positions), k)
    assert (rows[0] == torch.arange(len(positions))[:, None]).all()
    np.testing.assert_array_equal(rows[1], nearest_by_definition(shuffled, k))


def test_spatial_edges_do_not_depend_on_the_order_of_spots():
    positions = grid(12, 11)
    order = np.random.default_rng(0).permutation(len(positions))
    moved = order[spatial_edges(positions[order], 6)]
    assert set(map(tuple, moved.T)) == set(map(tuple, spatial_edges(positions, 6).T.tolist()))


def test_fewer_spots_than_neighbours():
    assert spatial_edges([[3, 4]], 20).tolist() == [[0], [0]]
    two = spatial_edges(torch.tensor([[0, 0], [5, 0]]), 20)
    assert two.tolist() == [[0, 0, 1, 1], [0, 1, 1, 0]]


def test_spots_in_one_place_have_themselves_among_their_nearest():
    edges = spatial_edges(np.zeros((70, 2)), 3).reshape(2, 70, 3)
    assert (edges[1, :, 0] == torch.arange(70)).all()
    assert all(len(set(row)) == 3 for row in edges[1].tolist())


def test_spatial_edges_refuse_what_is_not_a_place():
    with pytest.raises(ValueError, match=r"shape \(n_spots, 2\).*got shape \(4, 3\)"):
        spatial_edges(np.zeros((4, 3)), 2)
    with pytest.raises(ValueError, match="finite"):
        spatial_edges([[0, np.nan]], 2)
    with pytest.raises(ValueError, match="k=0"):
        spatial_edges([[0, 0]], 0)
    with pytest.raises(ValueError, match="k=1.5"):
        spatial_edges([[0, 0]], 1.5)
    with pytest.raises(ValueError, match="positions must be an array of float64"):
        spatial_edges("here", 1)


def test_many_spots_need_little_memory():
    """50,000 spots; their distances to each other would take 20 GB."""
    positions = np.random.default_rng(0).permutation(grid(250, 200))
    tracemalloc.start()
    started = time.perf_counter()
    edges = spatial_edges(positions, 20)
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert edges.shape == (2, 1_000_000)
    assert peak < 200e6 and seconds < 30
    inside = edges.reshape(2, -1, 20)[1, (positions > 5).all(1) & (positions < 190).all(1)]
    distances = np.linalg.norm(positions[inside[:, -1]] - positions[inside[:, 0]], axis=1)
    np.testing.assert_allclose(distances, 5**0.5)  # the shell that holds number 14 to 21


def test_strongest_does_not_depend_on_the_size_of_its_blocks(monkeypatch):
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 11, 5)
    products = queries @ keys.T
    bonus = torch.randn(11, 11)
    expected = (products + bonus).topk(4, dim=1).indices
    for block in (3, 1024):
        monkeypatch.setattr(_graph, "_BLOCK", block)
        chosen = strongest(queries, keys, 4, lambda rows: bonus[rows])
        assert torch.equal(chosen, expected)
    assert strongest(queries[:2], keys[:2], 9).shape == (2, 2)


def test_functional_edges_are_the_top_of_the_softmax():
    torch.manual_seed(0)
    heads, tails = torch.randn(2, 12, 5)
    types = torch.tensor([0, 1, 2, -1] * 3)
    same = (types[:, None] == types) & (types >= 0)
    shares = torch.softmax(heads @ tails.T / 2 + 0.3 * same, dim=1)
    edges = functional_edges(heads, tails, 5, temperature=2.0, cell_type=types)
    assert torch.equal(edges[0], torch.arange(12).repeat_interleave(5))
    assert torch.equal(edges[1].reshape(12, 5), shares.topk(5, dim=1).indices)


def test_types_decide_between_like_spots():
    heads, tails = torch.ones(4, 1), torch.tensor([[1.0], [1.1], [1.0], [1.1]])
    types = torch.tensor([0, 1, 0, 1])
    assert functional_edges(heads, tails, 2, cell_type=types)[1][:2].sort()[0].tolist() == [0, 2]
    unknown = torch.full((4,), -1)
    for cell_type in (None, unknown):
        edges = functional_edges(heads, tails, 2, cell_type=cell_type)
        assert edges[1][:2].sort()[0].tolist() == [1, 3]


def gat_by_definition(layer, x, edges):
    n_heads, head_dim = layer.source.shape
    pairs = {(i, j) for i, j in edges.T.tolist() if i != j} | {(i, i) for i in range(len(x))}
    h = (x @ layer.linear.weight.T).reshape(len(x), n_heads, head_dim)
    rows = []
    for j in range(len(x)):
        from_spots = sorted(i for i, target in pairs if target == j)
        heads = []
        for head in range(n_heads):
            logits = h[from_spots, head] @ layer.source[head] + h[j, head] @ layer.target[head]
            weights = torch.softmax(torch.where(logits > 0, logits, 0.2 * logits), dim=0)
            heads.append(weights @ h[from_spots, head])
        rows.append(torch.cat(heads))
    return torch.stack(rows) + layer.bias


def test_graph_attention_is_its_definition_and_so_is_its_gradient():
    torch.manual_seed(0)
    layer = GraphAttention(5, head_dim=3, n_heads=2, dropout=0.0)
    layer.bias.data.normal_()
    x = torch.randn(8, 5, requires_grad=True)
    # spot 0 points to many, spot 7 has no edge at all, spot 3 has one to itself
    edges = torch.tensor([[0, 0, 0, 0, 1, 2, 3, 5, 6], [1, 2, 3, 4, 0, 0, 3, 1, 5]])
    out, expected = layer(x, edges), gat_by_definition(layer, x, edges)
    torch.testing.assert_close(out, expected)
    variables = [x, *layer.parameters()]
    probe = torch.randn_like(out)
    for own, reference in zip(
        torch.autograd.grad((out * probe).sum(), variables),
        torch.autograd.grad((expected * probe).sum(), variables),
    ):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-5)


def test_graph_attention_does_not_depend_on_the_order_of_spots_or_edges():
    torch.manual_seed(0)
    layer = GraphAttention(5, head_dim=3, n_heads=2).eval()
    x, edges = torch.randn(30, 5), spatial_edges(grid(6, 5), 4)
    order = torch.randperm(30)
    place = order.argsort()
    moved = place[edges][:, torch.randperm(edges.shape[1])]
    torch.testing.assert_close(layer(x[order], moved), layer(x, edges)[order])


def test_graph_attention_without_edges_and_with_one_spot():
    layer = GraphAttention(5, head_dim=3, n_heads=2).eval()
    none = torch.empty((2, 0), dtype=torch.int64)
    for x in (torch.randn(1, 5), torch.randn(4, 5)):
        torch.testing.assert_close(layer(x, none), layer.linear(x) + layer.bias)


def test_graph_attention_drops_weights_in_training_alone():
    torch.manual_seed(0)
    layer = GraphAttention(5, head_dim=3, n_heads=2, dropout=0.5)
    x, edges = torch.randn(30, 5), spatial_edges(grid(6, 5), 4)
    assert not torch.equal(layer(x, edges), layer(x, edges))
    layer.eval()
    assert torch.equal(layer(x, edges), layer(x, edges))


def test_large_logits_do_not_overflow():
    layer = GraphAttention(5, head_dim=3, n_heads=2).eval()
    assert layer(1e6 * torch.randn(30, 5), spatial_edges(grid(6, 5), 4)).isfinite().all()
