"""Indexes that do not look at all spots: they find most of the nearest ones, and never none."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from histoexpr import SpotRetriever

N_NEIGHBORS = 20
KINDS = ("hnsw", "ivf", "ivf_pq", "IVF16,Flat")


@pytest.fixture(scope="module")
def spots():
    """Vectors in clusters, their expression, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 16))
    X = (centres[rng.integers(20, size=1500)] + 0.5 * rng.normal(size=(1500, 16))).astype("f4")
    Y = (rng.random((1500, 7)) * (rng.random((1500, 7)) < 0.4)).astype("f4")
    return X, Y, (X[::30] + 0.1 * rng.normal(size=(50, 16))).astype("f4")


def found(neighbors, exact):
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(neighbors, exact)]) / N_NEIGHBORS


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("index", KINDS)
def test_finds_nearly_all_and_is_the_same_again(spots, index, metric):
    X, Y, queries = spots
    exact = SpotRetriever(N_NEIGHBORS, metric=metric).fit(X, Y)
    model = SpotRetriever(N_NEIGHBORS, metric=metric, index=index).fit(X, Y)
    distances, neighbors = model.kneighbors(queries)
    assert found(neighbors, exact.kneighbors(queries, return_distance=False)) > 0.85
    assert neighbors.min() >= 0 and (np.diff(distances, axis=1) >= 0).all()
    predicted = model.predict(queries)
    again = SpotRetriever(N_NEIGHBORS, metric=metric, index=index).fit(X, Y)
    np.testing.assert_array_equal(again.predict(queries), predicted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(queries), predicted)


def test_more_neighbors_than_the_lists_hold_are_found_all_the_same(spots):
    X, Y, queries = spots
    model = SpotRetriever(N_NEIGHBORS, index="IVF16,Flat").fit(X, Y)
    neighbors = model.kneighbors(queries, n_neighbors=1400, return_distance=False)
    assert neighbors.min() >= 0
    assert all(len(np.unique(row)) == 1400 for row in neighbors)


@pytest.mark.parametrize("index", ["IVFx,Flat", "flatt"])
def test_what_faiss_does_not_know_is_refused(spots, index):
    X, Y, _ = spots
    with pytest.raises(ValueError, match=rf"index='{index}' is refused by FAISS.*Choose one of"):
        SpotRetriever(N_NEIGHBORS, index=index).fit(X, Y)


def test_sparse_expression_stays_sparse_and_predicts_the_same(spots):
    X, Y, queries = spots
    dense = SpotRetriever(N_NEIGHBORS).fit(X, Y)
    model = SpotRetriever(N_NEIGHBORS).fit(X, sparse.csr_matrix(Y))
    assert sparse.issparse(model.targets_)
    np.testing.assert_allclose(model.predict(queries), dense.predict(queries), rtol=1e-5, atol=1e-7)


def test_memory_mapped_expression_predicts_the_same(spots, tmp_path):
    X, Y, queries = spots
    np.save(tmp_path / "y.npy", Y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    model = SpotRetriever(N_NEIGHBORS).fit(X, mapped)
    np.testing.assert_array_equal(
        model.predict(queries), SpotRetriever(N_NEIGHBORS).fit(X, Y).predict(queries)
    )
