"""Search over training spots, and expression from what is found."""

import operator
from numbers import Integral, Real

import faiss
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ..exceptions import InputError, InputTypeError
from ..preprocessing import ExpressionTargetMixin
from ..data import check_same_spots
from ..utils import fill_unset, unchanged_on_error
from ._weights import (
    inverse_distance_weights,
    linear_weights,
    neighbor_distances,
    softmax_weights,
    uniform_weights,
    weighted_expression,
)

_INDEXES = {
    "cosine": faiss.IndexFlatIP,
    "inner_product": faiss.IndexFlatIP,
    "l2": faiss.IndexFlatL2,
}
_WEIGHTS = {"uniform", "inverse_l1", "inverse_l2", "softmax", "linear"}
_BLOCK = 4096  # queries searched at a time: bounds memory, large enough for FAISS's BLAS path


class SpotRetriever(ExpressionTargetMixin, RegressorMixin, BaseEstimator):
    """Predicts expression as the weighted mean over the nearest training spots, by FAISS.

    It serves the methods of this library as ``retriever=``, with the embeddings they learn,
    and stands alone as a nearest-neighbour regressor on any features. A parameter left at None
    takes the value of the method's paper, or, alone, the value in brackets.

    Parameters
    ----------
    n_neighbors : int, default=None
        Spots each prediction is made of [200]. None is clipped to the number of training
        spots; an integer above it is an error.
    weights : {"uniform", "inverse_l1", "inverse_l2", "softmax", "linear"}, default=None
        "inverse_l1" and "inverse_l2" are 1 / d**power with d the L1 or L2 distance between the
        vectors as they are, not normalised, whatever `metric` searched. "softmax" is
        exp(-d / temperature) of the distances that `kneighbors` returns, "linear" 1 - d / Σd
        of them (not for "inner_product", whose distances may be negative) ["inverse_l2"].
    metric : {"cosine", "inner_product", "l2"}, default=None
        What "nearest" means in the search, which is exact ["cosine"].
    power : float, default=2.0
        For the inverse distances.
    temperature : float, default=0.1
        For "softmax".
    expression : ExpressionTransformer or None, default=None
        What is returned, when it is not what was embedded (of the same genes, unless it names
        its own): three of the papers embed
        expression normalised by spot and return it normalised by gene.

    Attributes
    ----------
    embeddings_ : ndarray of shape (n_spots, n_features), dtype float32
        The training spots' vectors.
    targets_ : ndarray of shape (n_spots, n_genes), dtype float32
        The training spots' expression, in `units_`.
    expression_ : ExpressionTransformer or None
        Fitted; None when the target was an array.
    genes_ : ndarray of shape (n_genes,), dtype str
    units_ : str
    n_features_in_ : int

    See Also
    --------
    sklearn.neighbors.KNeighborsRegressor : Without FAISS, and without these weights.
    """

    _defaults = {"n_neighbors": 200, "weights": "inverse_l2", "metric": "cosine"}

    _parameter_constraints = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "weights": [StrOptions(_WEIGHTS), None],
        "metric": [StrOptions(set(_INDEXES)), None],
        "power": [Interval(Real, 0, None, closed="neither")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "expression": [HasMethods(["fit", "transform"]), None],
    }

    def __init__(
        self,
        n_neighbors=None,
        *,
        weights=None,
        metric=None,
        power=2.0,
        temperature=0.1,
        expression=None,
    ):
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.power = power
        self.temperature = temperature
        self.expression = expression

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Index the training spots.

        Parameters
        ----------
        X : array-like of shape (n_spots, n_features)
            Features or embeddings.
        y : AnnData or array-like of shape (n_spots, n_genes) or (n_spots,)

        Returns
        -------
        SpotRetriever
            self.

        Raises
        ------
        ValueError
            If `n_neighbors` is larger than the number of spots, or X and y differ in length.
        """
        with unchanged_on_error(self):
            target, matrix = self._fit_target(y, self.expression)
            check_same_spots(X, target)
            # A copy: what is searched must not move when the caller's array does.
            self.embeddings_ = validate_data(self, X, dtype=np.float32, order="C", copy=True)
            self._resolve_n_neighbors(len(target), self.n_neighbors)
            self.targets_ = matrix
            self._build_index()
        return self

    def kneighbors(self, X, n_neighbors=None, return_distance=True):
        """The nearest training spots of each query, nearest first.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
        n_neighbors : int or None, default=None
            None is the estimator's own.
        return_distance : bool, default=True

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), dtype float32
            By `metric`: 1 - cosine similarity, minus the inner product, or the Euclidean
            distance. Only with ``return_distance=True``.
        neighbors : ndarray of shape (n_queries, n_neighbors), dtype int64
            Rows of the training data.

        Raises
        ------
        ValueError
            If `n_neighbors` is larger than the number of training spots.
        NotFittedError
            Before fit.
        """
        X = self._check_queries(X)
        k = self._resolve_n_neighbors(
            len(self.embeddings_), self.n_neighbors if n_neighbors is None else n_neighbors
        )
        blocks = [self._search(X[i : i + _BLOCK], k) for i in range(0, len(X), _BLOCK)]
        distances, neighbors = (np.concatenate(part) for part in zip(*blocks))
        return (distances, neighbors) if return_distance else neighbors

    def predict(self, X):
        """The weighted mean of the neighbours' expression.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)

        Returns
        -------
        ndarray of shape (n_queries, n_genes) or (n_queries,), dtype float32
            In `units_`.

        Raises
        ------
        ValueError
            If `n_neighbors` is larger than the number of training spots.
        NotFittedError
            Before fit.
        """
        X = self._check_queries(X)
        k = self._resolve_n_neighbors(len(self.embeddings_), self.n_neighbors)
        predicted = np.empty((len(X), self.targets_.shape[1]), dtype=np.float32)
        for start in range(0, len(X), _BLOCK):
            queries = X[start : start + _BLOCK]
            distances, neighbors = self._search(queries, k)
            weights = self._neighbor_weights(queries, distances, neighbors)
            predicted[start : start + _BLOCK] = weighted_expression(
                self.targets_, neighbors, weights
            )
        return self._shape_prediction(predicted)

    def neighbor_weights(self, X):
        """What each neighbour counts in the prediction of each query.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)

        Returns
        -------
        weights : ndarray of shape (n_queries, n_neighbors), dtype float32
            Rows sum to 1; columns as in `kneighbors`.
        """
        X = self._check_queries(X)
        distances, neighbors = self.kneighbors(X)
        return self._neighbor_weights(X, distances, neighbors)

    def _setting(self, name):
        value = getattr(self, name)
        return self._defaults[name] if value is None else value

    def _resolve_n_neighbors(self, n_spots, n_neighbors):
        if n_neighbors is None:
            return min(self._defaults["n_neighbors"], n_spots)
        n_neighbors = operator.index(n_neighbors)
        if n_neighbors < 1:
            raise InputError(f"n_neighbors={n_neighbors} must be at least 1.")
        if n_neighbors > n_spots:
            # FAISS would fill the rest with index -1, without a word.
            raise InputError(
                f"n_neighbors={n_neighbors} is larger than the number of training spots, "
                f"{n_spots}; choose at most {n_spots}, or None to clip the paper's value."
            )
        return n_neighbors

    def _check_queries(self, X):
        check_is_fitted(self)
        self._validate_params()  # they may have been set after fit
        return validate_data(self, X, dtype=np.float32, order="C", reset=False)

    def _build_index(self):
        self._index = _INDEXES[self._setting("metric")](self.embeddings_.shape[1])
        self._indexed_metric = self._setting("metric")
        self._index.add(self._searched(self.embeddings_))

    def _searched(self, vectors):
        if self._setting("metric") != "cosine":
            return vectors
        vectors = vectors.copy()
        faiss.normalize_L2(vectors)
        return vectors

    def _search(self, queries, k):
        # The metric may be set after fit, and a pickle carries no index.
        if getattr(self, "_indexed_metric", None) != self._setting("metric"):
            self._build_index()
        scores, neighbors = self._index.search(self._searched(queries), k)
        if not np.isfinite(scores).all() or (neighbors < 0).any():
            raise InputError(
                "distances overflow float32: the vectors reach "
                f"{max(np.abs(queries).max(), np.abs(self.embeddings_).max()):.3g}. Scale the "
                "features (sklearn.preprocessing.StandardScaler)."
            )
        metric = self._setting("metric")
        if metric == "inner_product":
            return -scores, neighbors
        # Rounding can leave what should be 0 a little below it; FAISS returns squares for l2.
        distances = np.maximum(1 - scores if metric == "cosine" else scores, 0)
        return (np.sqrt(distances) if metric == "l2" else distances), neighbors

    def _neighbor_weights(self, queries, distances, neighbors):
        weights = self._setting("weights")
        if weights == "uniform":
            return uniform_weights(distances)
        if weights == "linear":
            return linear_weights(distances)
        if weights == "softmax":
            return softmax_weights(distances, self.temperature)
        order = 1 if weights == "inverse_l1" else 2
        distances = neighbor_distances(queries, self.embeddings_, neighbors, order)
        return inverse_distance_weights(distances, self.power)

    def __getstate__(self):
        # The index is a copy of embeddings_ and is built again in milliseconds.
        state = super().__getstate__().copy()
        state.pop("_index", None)
        state.pop("_indexed_metric", None)
        return state


def check_retriever(retriever, default, n_spots):
    """A SpotRetriever of the estimator's own: a clone, its unset parameters the method's.

    Parameters
    ----------
    retriever : SpotRetriever or None
        What the user gave.
    default : SpotRetriever
        What the method's paper did; its `n_neighbors` is clipped to ``n_spots``.
    n_spots : int
        Training spots.

    Returns
    -------
    SpotRetriever

    Raises
    ------
    TypeError
        If ``retriever`` is something else.
    ValueError
        If the user's `n_neighbors` is larger than ``n_spots``.
    """
    if retriever is not None and not isinstance(retriever, SpotRetriever):
        raise InputTypeError(
            "retriever must be a histoexpr.SpotRetriever or None; got "
            f"{type(retriever).__name__}."
        )
    default = clone(default).set_params(n_neighbors=min(default.n_neighbors, n_spots))
    retriever = default if retriever is None else fill_unset(clone(retriever), default)
    retriever._validate_params()
    retriever._resolve_n_neighbors(n_spots, retriever.n_neighbors)
    return retriever
