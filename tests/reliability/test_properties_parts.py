"""Whatever the parts that a method of one's own is built of are given.

Modules of torch refuse what torch refuses, in torch's words; what is checked here is what they
promise beyond that, and the plain functions beside them.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contract import answer, examples
from histoexpr import STco, Trainer, nn, utils
from histoexpr._types import SpotBatch
from strategies import arrays, matrices, nonsense, odd


@given(st.data())
def test_edges_between_places(data):
    n = data.draw(st.integers(0, 6))
    right = arrays((n, 2), data.draw(st.sampled_from(["numbers", "counts", "constant"])), "f8")
    positions = data.draw(odd(right, st.one_of(matrices(n, 2), nonsense)))
    k = data.draw(odd([1, 3, np.int64(99)], [0, -1, 1.5, None, "a", np.nan]))
    edges = answer(nn.spatial_edges, positions, k)
    if edges is not None:
        spots = np.arange(len(positions))
        assert edges.shape == (2, len(spots) * min(k, len(spots))) and edges.dtype == torch.int64
        assert set(zip(spots, spots)) <= set(zip(*edges.tolist())), "each is its own first"


def batch(data, positions=True):
    """Spots as a fit hands them over; few, alike, or with types that training has not seen."""
    n = data.draw(st.integers(2, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    places = rng.integers(0, data.draw(st.sampled_from([1, 4, 99])), (n, 2))
    scale = data.draw(st.sampled_from([0.0, 1.0, 1e4]))
    counts = torch.from_numpy(rng.poisson(scale, (n, 3)).astype("f4"))
    return SpotBatch(
        features=torch.from_numpy((scale * rng.normal(size=(n, 4))).astype("f4")),
        expression=torch.log1p(counts),
        counts=counts,
        size_factors=torch.ones(n),
        positions=torch.from_numpy(places) if positions else None,
        cell_type=torch.from_numpy(rng.integers(-1, 2, n)),
        edges=nn.spatial_edges(places, 3),
    )


@given(st.data())
def test_losses_and_graphs(data):
    spots = batch(data)
    heads = spots.features
    loss = nn.symmetric_info_nce(heads, heads.flip(0), data.draw(st.sampled_from([0.1, 1.0])))
    assert loss.isfinite() and loss >= 0
    k = data.draw(st.sampled_from([1, 3, 99]))
    chosen = nn.strongest(heads, heads, k)
    assert chosen.shape == (len(heads), min(k, len(heads))) and (chosen < len(heads)).all()
    edges = nn.functional_edges(heads, heads, k, cell_type=spots.cell_type)
    assert edges.shape == (2, chosen.numel())
    zinb = nn.ZINBHead(4, 3)(heads)
    assert nn.zinb_loss(spots.counts, zinb, spots.size_factors).isfinite()


MODULES = {
    "Reg2ST": lambda: nn.Reg2STModule(
        4, 3, (4, 4), 8, n_layers=1, n_heads=2, feed_forward_dim=8, gene_dim=8
    ),
    "FeatureSpace": lambda: nn.FeatureSpace(),
    "RegressionHead": lambda: nn.RegressionHead(4, 3, 8),
    "DualEncoder": lambda: nn.DualEncoder(
        nn.ProjectionHead(4, 8), nn.SpotEncoder(3, (4, 4), 8, context=nn.Transformer(1, 3, 1, 2, 4))
    ),
    "Graph": lambda: nn.DualEncoder(
        nn.ProjectionHead(4, 8), nn.GraphSpotEncoder(3, (4, 4), 2, 8, n_heads=2)
    ),
}


@pytest.mark.parametrize("name", MODULES)
@examples(6)
@given(st.data())
def test_modules(name, data):
    """Finite embeddings of all spots; what needs positions says so."""
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    spots = batch(data)
    for embed in (module.embed_image, module.embed_spot):
        found = embed(spots)
        assert len(found) == len(spots.features) and found.isfinite().all()
    if name not in ("FeatureSpace", "RegressionHead"):
        lost = batch(data, positions=False)
        assert name == "Reg2ST" or answer(module.embed_spot, lost) is None
        assert name != "Reg2ST" or answer(module.decode, lost) is None


def test_modules_that_cannot_be_built():
    assert answer(nn.Reg2STModule, 4, 3, None, 8, n_heads=3) is None
    assert answer(nn.GraphSpotEncoder, 3, (4, 4), 8, fusion="x") is None


@given(nonsense, st.data())
def test_helpers(given_, data):
    answer(utils.check_n_jobs, given_)
    assert answer(utils.import_optional, "no.such", extra="plot", purpose="A test") is None
    few = data.draw(st.lists(nonsense, max_size=7))
    assert len(utils.name_some(few)) < 2000
    n = data.draw(st.integers(1, 4))
    ahead = utils.computed_ahead(lambda item: (item,), few, n_ahead=n, n_threads=n)
    assert all(found[0] is item for found, item in itertools.zip_longest(ahead, few))
    filled = utils.fill_unset(Trainer(lr=0.5), Trainer(lr=1.0, batch_size=3))
    assert (filled.lr, filled.batch_size) == (0.5, 3)


@given(given_=odd(["a.txt", "b/c.txt"], nonsense), fails=st.booleans())
def test_written_aside(own_folder, given_, fails):
    def write():
        with utils.written_aside(given_) as path:
            path.write_text("new")
            if fails:
                raise OSError("the disk is full")

    for path in own_folder.rglob("*"):
        path.is_dir() or path.unlink()
    answer(write)
    names = [path.name for path in own_folder.rglob("*") if path.is_file()]
    assert not any(name.startswith(".") for name in names)
    assert not (fails and isinstance(given_, str) and Path(given_).is_file())


def test_a_refused_block_changes_nothing():
    model = STco()
    with pytest.raises(KeyError), utils.unchanged_on_error(model):
        model.fitted_ = 1
        raise KeyError
    assert not hasattr(model, "fitted_") and utils.shared_docs
