"""SpotRetriever against plain NumPy, and its refusals."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.neighbors import KNeighborsRegressor

from histoexpr import SpotRetriever
from histoexpr.retrieval import check_retriever
from histoexpr.retrieval import _retriever as retriever_module
from histoexpr.retrieval import _weights as weights_module

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 8)).astype(np.float32)
Y = rng.random((60, 5)).astype(np.float32)
Q = rng.normal(size=(13, 8)).astype(np.float32)


def brute_force_distances(metric):
    if metric == "l2":
        return np.linalg.norm(Q[:, None] - X[None], axis=2)
    if metric == "inner_product":
        return -Q @ X.T
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (Q, X)]
    return 1 - unit[0] @ unit[1].T


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_kneighbors_is_exact(metric):
    distances, neighbors = SpotRetriever(7, metric=metric).fit(X, Y).kneighbors(Q)
    expected = brute_force_distances(metric)
    np.testing.assert_array_equal(neighbors, np.argsort(expected, axis=1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights, order", [("inverse_l1", 1), ("inverse_l2", 2)])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_inverse_distance_weights(weights, order, power):
    retriever = SpotRetriever(7, weights=weights, power=power).fit(X, Y)
    neighbors = retriever.kneighbors(Q, return_distance=False)
    for query, found, got in zip(Q, neighbors, retriever.predict(Q)):
        w = 1 / np.linalg.norm(X[found] - query, ord=order, axis=1) ** power
        np.testing.assert_allclose(got, w @ Y[found] / w.sum(), rtol=1e-4)


def test_softmax_weights_follow_the_distances():
    retriever = SpotRetriever(9, weights="softmax", temperature=0.3, metric="l2").fit(X, Y)
    distances, neighbors = retriever.kneighbors(Q)
    w = np.exp(-distances / 0.3)
    w /= w.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(retriever.neighbor_weights(Q), w, rtol=1e-4)
    expected = np.einsum("qk,qkg->qg", w, Y[neighbors])
    np.testing.assert_allclose(retriever.predict(Q), expected, rtol=1e-4)


def test_uniform_weights_are_scikit_learns_knn():
    ours = SpotRetriever(5, weights="uniform", metric="l2").fit(X, Y).predict(Q)
    theirs = KNeighborsRegressor(5).fit(X, Y).predict(Q)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("weights", ["inverse_l1", "inverse_l2"])
def test_a_query_on_a_training_spot_returns_it(weights):
    retriever = SpotRetriever(5, weights=weights).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(retriever.predict(X[:4]), Y[:4], rtol=1e-6)


def test_tiny_distances_do_not_overflow():
    near = X[:6] * 1e-30
    retriever = SpotRetriever(3, weights="inverse_l2", power=4.0, metric="l2").fit(near, Y[:6])
    assert np.isfinite(retriever.predict(near + 1e-31)).all()


def test_zero_vectors_are_found_without_nan():
    with_zero = np.vstack([X, np.zeros((1, 8), np.float32)])
    retriever = SpotRetriever(10).fit(with_zero, np.vstack([Y, Y[:1]]))
    predicted = retriever.predict(np.zeros((2, 8), np.float32))
    assert np.isfinite(predicted).all()


def test_blocks_do_not_change_the_result(monkeypatch):
    retriever = SpotRetriever(20, weights="inverse_l1").fit(X, Y)
    whole, found = retriever.predict(Q), retriever.kneighbors(Q)
    monkeypatch.setattr(retriever_module, "_BLOCK", 4)
    monkeypatch.setattr(weights_module, "_GATHER_BYTES", 1)
    np.testing.assert_allclose(retriever.predict(Q), whole, rtol=1e-5)
    np.testing.assert_array_equal(retriever.kneighbors(Q)[1], found[1])


def test_paper_k_is_clipped_and_a_larger_one_refused():
    assert SpotRetriever().fit(X, Y).kneighbors(Q)[1].shape == (13, 60)
    with pytest.raises(ValueError, match="n_neighbors=61 .* number of training spots, 60"):
        SpotRetriever(61).fit(X, Y)
    fitted = SpotRetriever(3).fit(X, Y)
    with pytest.raises(ValueError, match="n_neighbors=61"):
        fitted.kneighbors(Q, n_neighbors=61)
    with pytest.raises(ValueError, match="n_neighbors=99"):
        fitted.set_params(n_neighbors=99).predict(Q)


def test_parameters_may_change_after_fit():
    retriever = SpotRetriever(5, metric="cosine").fit(X, Y)
    retriever.set_params(n_neighbors=9, metric="l2", weights="softmax")
    fresh = SpotRetriever(9, metric="l2", weights="softmax").fit(X, Y)
    np.testing.assert_array_equal(retriever.predict(Q), fresh.predict(Q))


def test_pickle_carries_no_index_and_predicts_the_same():
    retriever = SpotRetriever(5).fit(X, Y)
    state = pickle.dumps(retriever)
    assert b"faiss" not in state
    np.testing.assert_array_equal(pickle.loads(state).predict(Q), retriever.predict(Q))


def test_returned_expression_may_differ_from_the_embedded(cohort):
    from histoexpr import ExpressionTransformer

    _, adata = cohort
    vectors = rng.normal(size=(len(adata), 6)).astype(np.float32)
    retriever = SpotRetriever(4, expression=ExpressionTransformer(normalize="gene"))
    retriever.fit(vectors, adata)
    expected = ExpressionTransformer(normalize="gene").fit_transform(adata)
    np.testing.assert_allclose(retriever.targets_, expected)
    assert retriever.units_ == retriever.expression_.units_


def test_the_callers_arrays_are_left_alone():
    before = X.copy(), Y.copy(), Q.copy()
    SpotRetriever(5).fit(X, Y).predict(Q)
    for array, copy in zip((X, Y, Q), before):
        np.testing.assert_array_equal(array, copy)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="X has 60 spots and y has 59"):
        SpotRetriever(3).fit(X, Y[:59])


def test_check_retriever_fills_what_is_unset_and_leaves_the_users_object():
    default = SpotRetriever(200, weights="inverse_l1", metric="l2")
    users = SpotRetriever(weights="uniform")
    own = check_retriever(users, default, n_spots=50)
    assert (own.n_neighbors, own.weights, own.metric) == (50, "uniform", "l2")
    assert clone(users).get_params() == users.get_params() and users.n_neighbors is None
    with pytest.raises(ValueError, match="n_neighbors=51"):
        check_retriever(SpotRetriever(51), default, n_spots=50)
    with pytest.raises(TypeError, match="SpotRetriever or None; got KNeighborsRegressor"):
        check_retriever(KNeighborsRegressor(), default, n_spots=50)


def test_a_refused_refit_keeps_the_earlier_fit():
    retriever = SpotRetriever(5).fit(X, Y)
    before = retriever.predict(Q)
    for bad in ((X[:, :3], Y[:10]), (X[:4], Y[:4, :3])):
        with pytest.raises(ValueError):
            retriever.fit(*bad)
        np.testing.assert_array_equal(retriever.predict(Q), before)


def test_the_callers_array_may_change_after_fit():
    own = X.copy()
    retriever = SpotRetriever(5).fit(own, Y)
    before = retriever.predict(Q)
    own[:] = 0
    np.testing.assert_array_equal(retriever.predict(Q), before)


@pytest.mark.parametrize("k", [0, -1, "3", 1.5])
def test_bad_numbers_of_neighbors_are_refused(k):
    with pytest.raises(ValueError, match="n_neighbors must be a whole number"):
        SpotRetriever(5).fit(X, Y).kneighbors(Q, n_neighbors=k)


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_spots_that_are_as_near_do_not_depend_on_what_else_is_asked(metric):
    rng = np.random.default_rng(0)
    # So much alike that float32 barely tells them apart, and differently in products of matrices
    # of other sizes.
    spots, queries = (
        (1 + 0.1 * rng.normal(size=(n, 64))).astype(np.float32) for n in (2000, 4000)
    )
    retriever = SpotRetriever(42, metric=metric).fit(spots, spots[:, :3])
    whole = np.sort(retriever.kneighbors(queries)[1])
    parts = [retriever.kneighbors(queries[i : i + 100])[1] for i in range(0, 4000, 100)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), whole)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["inner_product", "l2"])
def test_overflow_is_refused_where_there_are_more_spots_than_neighbors(
    metric, monkeypatch
):
    rng = np.random.default_rng(0)
    spots = (1e25 * rng.normal(size=(300, 8))).astype(np.float32)
    retriever = SpotRetriever(5, metric=metric).fit(spots, spots[:, :2] / 1e25)
    # FAISS names no spot then (-1), and would look it up before its vectors all the same.
    kind = type(retriever._index._index)
    monkeypatch.setattr(kind, "reconstruct_batch", lambda *args: pytest.fail("looked up"))
    with pytest.raises(ValueError, match="overflow float32"):
        retriever.kneighbors(spots[:40])


def test_numpy_integers_are_numbers_of_neighbors():
    assert SpotRetriever(5).fit(X, Y).kneighbors(Q, np.int64(3))[1].shape == (13, 3)


@pytest.mark.parametrize("name, value", [("weights", "banana"), ("metric", "euclid")])
def test_parameters_set_after_fit_are_checked(name, value):
    retriever = SpotRetriever(5).fit(X, Y).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"'{name}' parameter of SpotRetriever"):
        retriever.predict(Q)


def test_vectors_beyond_float32_are_refused():
    huge = X * 1e25
    with pytest.raises(ValueError, match="distances overflow float32"):
        SpotRetriever(5, metric="l2").fit(huge, Y).predict(huge)


def test_linear_weights():
    retriever = SpotRetriever(4, weights="linear").fit(X, Y)
    distances, _ = retriever.kneighbors(Q)
    w = 1 - distances / distances.sum(axis=1, keepdims=True)
    expected = w / w.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(retriever.neighbor_weights(Q), expected, rtol=1e-4)
    np.testing.assert_allclose(SpotRetriever(1, weights="linear").fit(X, Y).predict(X[:3]), Y[:3])
