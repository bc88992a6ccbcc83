"""GR2ST's spot encoder: what each part adds, and what a section may lack."""

from dataclasses import replace

import pytest
import torch

from histoexpr._types import SpotBatch
from histoexpr.nn import DualEncoder, GraphSpotEncoder, ProjectionHead, spatial_edges

GRID = torch.cartesian_prod(torch.arange(6), torch.arange(5))


def section(n_spots=30, k=4, **changes):
    torch.manual_seed(0)
    batch = SpotBatch(
        torch.randn(n_spots, 7),
        torch.rand(n_spots, 9),
        GRID[:n_spots],
        torch.arange(n_spots) % 3,
        edges=spatial_edges(GRID[:n_spots], k),
    )
    return replace(batch, **changes)


def encoder(grid_shape=(6, 5), fusion="sum", **settings):
    torch.manual_seed(0)
    settings = {"n_types": 3, "projection_dim": 8, "n_heads": 2, "n_partners": 5, **settings}
    return GraphSpotEncoder(9, grid_shape, fusion=fusion, **settings).eval()


def test_encoder_is_the_sum_of_its_parts():
    own, batch = encoder(), section()
    x = batch.expression + own.position(batch.positions) + own.cell_type(batch.cell_type)
    functional = own.functional_graph(own.functional_head(x), own.functional_edges(batch))
    spatial = own.spatial_graph(own.spatial_input(x), batch.edges)
    torch.testing.assert_close(own(batch), own.head(own.fused(functional + spatial)))


def test_fusions():
    batch, outputs = section(), {}
    for fusion in ("sum", "mean", "max", "concat"):
        own = encoder(fusion=fusion)
        seen = []
        own.fused.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        own.functional_graph.register_forward_hook(lambda *call: seen.append(call[2]))
        own.spatial_graph.register_forward_hook(lambda *call: seen.append(call[2]))
        own(batch)
        functional, spatial, outputs[fusion] = seen
        expected = {
            "sum": functional + spatial,
            "mean": (functional + spatial) / 2,
            "max": torch.where(functional > spatial, functional, spatial),
            "concat": torch.hstack([functional, spatial]),
        }[fusion]
        torch.testing.assert_close(outputs[fusion], expected)
    with pytest.raises(ValueError, match="fusion must be one of .*'concat'.*got 'add'"):
        encoder(fusion="add")


def test_the_order_of_spots_is_of_no_account():
    own, batch = encoder(), section()
    order = torch.randperm(30)
    moved = replace(
        replace(batch, edges=None)[order], edges=spatial_edges(batch.positions[order], 4)
    )
    torch.testing.assert_close(own(moved), own(batch)[order], rtol=1e-4, atol=1e-5)


def test_unknown_types_add_nothing():
    own, batch = encoder(), section()
    vectors = own.cell_type(torch.tensor([-1, 0, 2]))
    assert (vectors[0] == 0).all() and (vectors[1:] != 0).any(dim=1).all()
    unknown = torch.full((30,), -1)
    torch.testing.assert_close(
        own(replace(batch, cell_type=unknown)), own(replace(batch, cell_type=None))
    )


@pytest.mark.parametrize("n_spots", [1, 2, 3])
def test_sections_smaller_than_the_graphs(n_spots):
    batch = section(n_spots, k=20)
    model = DualEncoder(ProjectionHead(7, 8), encoder(n_partners=20))
    output = model(batch)
    assert model.embed_spot(batch).shape == (n_spots, 8)
    output.loss.backward()
    assert output.loss.isfinite()


def test_a_section_without_positions_has_no_spatial_neighbours():
    own = encoder(grid_shape=None)
    batch = section(positions=None, edges=None)
    own_edges = torch.arange(30).expand(2, -1)
    torch.testing.assert_close(own(batch), own(replace(batch, edges=own_edges)))


def test_what_is_forgotten_is_said():
    with pytest.raises(ValueError, match="a batch with positions needs edges"):
        encoder()(section(edges=None))
    with pytest.raises(ValueError, match="trained with array positions and got spots without"):
        encoder()(section(positions=None, edges=None))
    with pytest.raises(ValueError, match="SpotBatch with edges cannot be indexed"):
        section()[:3]


def test_a_single_gene():
    own = GraphSpotEncoder(1, (6, 5), projection_dim=8, n_heads=2).eval()
    types = torch.zeros(30, dtype=torch.int64)
    assert own(section(expression=torch.rand(30, 1), cell_type=types)).isfinite().all()


def test_training_matches_spots_and_images():
    torch.manual_seed(0)
    batch, model = section(), DualEncoder(ProjectionHead(7, 8, 0.1), encoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = model(batch).loss.item()
    for _ in range(60):
        optimizer.zero_grad()
        model.train()(batch).loss.backward()
        optimizer.step()
    assert model.eval()(batch).loss.item() < 0.5 * first
    silent = {name for name, p in model.named_parameters() if p.grad is None}
    assert silent == {f"spot_encoder.functional_tail.{kind}" for kind in ("weight", "bias")}


def test_bfloat16_chooses_the_same_graph():
    own, batch = encoder(), section()
    with torch.autocast("cpu", torch.bfloat16):
        edges, embedded = own.functional_edges(batch), own(batch)
    # the type vectors alone are rounded before the choice
    same = set(map(tuple, edges.T.tolist())) & set(
        map(tuple, own.functional_edges(batch).T.tolist())
    )
    assert len(same) > 0.95 * edges.shape[1]
    torch.testing.assert_close(embedded.float(), own(batch), rtol=0.1, atol=0.1)
