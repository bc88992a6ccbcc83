"""Search over training spots, and expression from what is found."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..data import check_same_spots
from ..exceptions import InputError
from ..preprocessing import ExpressionTargetMixin
from ..utils import unchanged_on_error
from ..utils._sklearn import Estimator, check_is_fitted, validate_data
from ._exact import METRICS
from ._expression import as_target, keep
from ._index import N_QUERIES, ApproximateIndex, build_index, check_index, spread
from ._weights import (
    inverse_distance_weights,
    linear_weights,
    neighbor_distances,
    softmax_weights,
    uniform_weights,
    weighted_expression,
)

_WEIGHTS = {"uniform", "inverse_l1", "inverse_l2", "softmax", "linear"}
_BLOCK = 4096  # queries searched at a time: bounds memory, large enough for FAISS's BLAS path
_PROPOSED = 2**22  # spots that an index may propose at a time, for all queries of a block


class SpotRetriever(ExpressionTargetMixin, RegressorMixin, Estimator):
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
        What "nearest" means in the search ["cosine"].
    power : float, default=2.0
        For the inverse distances.
    temperature : float, default=0.1
        For "softmax".
    expression : ExpressionTransformer or None, default=None
        What is returned, when it is not what was embedded (of the same genes, unless it names
        its own): three of the papers embed
        expression normalised by spot and return it normalised by gene.
    index : {"flat", "hnsw", "ivf", "ivf_pq"} or str, default=None
        "flat" compares each query with all training spots and is exact. The others look at a
        part of them, and serve from about 100,000 spots on: "hnsw" follows a graph, "ivf" and
        "ivf_pq" look into clusters, the latter at codes of 4 bits a dimension and then, of the
        best, at codes of 8: the fastest. What they find is ordered by the vectors themselves,
        so distances and weights are exact. Below 1,000 spots they are "flat". Any other string
        is one for ``faiss.index_factory``, such as "IVF1024,Flat", of the vectors as `metric`
        compares them ["flat"].
    recall : float, default=0.95
        The share of the exact neighbours that an approximate index is to find: it searches as
        long as that takes on queries known at fit (see `fit`). A warning says when it cannot.

    Attributes
    ----------
    embeddings_ : ndarray of shape (n_spots, n_features), dtype float32
        The training spots' vectors.
    targets_ : ndarray, CSR array or memmap of shape (n_spots, n_genes), dtype float32
        The training spots' expression, in `units_`: sparse or in its file if it was given so.
    recall_ : float
        The share of the exact neighbours that the index finds; 1 for "flat".
    expression_ : ExpressionTransformer or None
        Fitted; None when the target was an array.
    genes_ : ndarray of shape (n_genes,), dtype str
    units_ : str
    n_features_in_ : int

    See Also
    --------
    sklearn.neighbors.KNeighborsRegressor : Without FAISS, and without these weights.

    Notes
    -----
    Parameters may be changed after fit; `metric`, `index` and `recall` build the index again. A
    pickle holds an approximate index, and rebuilds an exact one, which takes milliseconds.

    A model written by ``joblib.dump(model, path)`` and read by ``joblib.load(path,
    mmap_mode="r")`` leaves vectors and expression in the file, from where the system reads the
    rows that predictions are made of: only the index is held in memory.
    """

    _defaults = {"n_neighbors": 200, "weights": "inverse_l2", "metric": "cosine", "index": "flat"}

    _parameter_constraints = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "weights": [StrOptions(_WEIGHTS), None],
        "metric": [StrOptions(set(METRICS)), None],
        "power": [Interval(Real, 0, None, closed="neither")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "expression": [HasMethods(["fit", "transform"]), None],
        "index": [str, None],
        "recall": [Interval(Real, 0, 1, closed="right")],
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
        index=None,
        recall=0.95,
    ):
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.power = power
        self.temperature = temperature
        self.expression = expression
        self.index = index
        self.recall = recall

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, queries=None):
        """Index the training spots.

        Parameters
        ----------
        X : array-like of shape (n_spots, n_features)
            Features or embeddings.
        y : AnnData, array-like or sparse matrix of shape (n_spots, n_genes) or (n_spots,)
            Sparse expression stays sparse. A float32 memmap is used from its file, which must
            stay as it is; everything else is copied.
        queries : array-like of shape (n_queries, n_features), default=None
            Vectors such as will be searched for; an approximate index is made for them and its
            recall measured on them. The methods of this library give embeddings of training
            images. None: the training spots themselves, which are easier to find than spots
            that images are to find.

        Returns
        -------
        SpotRetriever
            self.

        Raises
        ------
        ValueError
            If `n_neighbors` is larger than the number of spots, X and y differ in length, or
            FAISS cannot make the `index` of so many spots and features.
        """
        with unchanged_on_error(self):
            target, matrix = self._fit_target(as_target(y), self.expression)
            check_same_spots(X, target)
            # A copy: what is searched must not move when the caller's array does.
            self.embeddings_ = validate_data(self, X, dtype=np.float32, order="C", copy=True)
            self._check_size(len(target))
            self.targets_ = matrix
            self._queries = None
            if queries is not None:
                queries = validate_data(self, queries, dtype=np.float32, order="C", reset=False)
                self._queries = np.array(spread(queries, N_QUERIES))
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
        found = [self._search(X[rows], k) for rows in self._blocks(X, k)]
        distances, neighbors = (np.concatenate(part) for part in zip(*found))
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
        for rows in self._blocks(X, k):
            distances, neighbors = self._search(X[rows], k)
            weights = self._neighbor_weights(X[rows], distances, neighbors)
            predicted[rows] = weighted_expression(self.targets_, neighbors, weights)
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
        if not isinstance(n_neighbors, Integral) or n_neighbors < 1:
            raise InputError(
                f"n_neighbors must be a whole number of spots, at least 1; got {n_neighbors!r}."
            )
        if n_neighbors > n_spots:
            # FAISS would fill the rest with index -1, without a word.
            raise InputError(
                f"n_neighbors={n_neighbors} is larger than the number of training spots, "
                f"{n_spots}; choose at most {n_spots}, or None to clip the paper's value."
            )
        return int(n_neighbors)

    def _check_queries(self, X):
        check_is_fitted(self)
        self._validate_params()  # they may have been set after fit
        return validate_data(self, X, dtype=np.float32, order="C", reset=False)

    def _check_size(self, n_spots):
        """Refuse what so many training spots cannot give."""
        self._resolve_n_neighbors(n_spots, self.n_neighbors)
        check_index(self._setting("index"), n_spots, self._setting("metric"))

    @staticmethod
    def _own_expression(matrix):
        return keep(matrix)

    def _build_index(self):
        self._index = build_index(
            self._setting("index"),
            self.embeddings_,
            self._setting("metric"),
            self.embeddings_ if self._queries is None else self._queries,
            self._resolve_n_neighbors(len(self.embeddings_), self.n_neighbors),
            self.recall,
        )
        self.recall_ = self._index.recall
        self._indexed = self._index_settings()

    def _index_settings(self):
        return [self._setting("index"), self._setting("metric"), self.recall]

    def _blocks(self, X, k):
        """Slices of queries that are searched at a time."""
        size = max(1, min(_BLOCK, int(_PROPOSED / (k * self._ready_index().width))))
        return [slice(start, start + size) for start in range(0, len(X), size)]

    def _ready_index(self):
        # Parameters may be set after fit, and a pickle carries no exact index.
        if not hasattr(self, "_index") or self._indexed != self._index_settings():
            self._build_index()
        return self._index

    def _search(self, queries, k):
        distances, neighbors = self._ready_index().search(queries, k)
        if not np.isfinite(distances).all() or (neighbors < 0).any():
            raise InputError(
                "distances overflow float32: the vectors reach "
                f"{max(np.abs(queries).max(), np.abs(self.embeddings_).max()):.3g}. Scale the "
                "features (sklearn.preprocessing.StandardScaler)."
            )
        return distances, neighbors

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
        state = super().__getstate__().copy()
        index = state.pop("_index", None)
        if isinstance(index, ApproximateIndex):
            state["_index_bytes"], state["_index_rest"] = index.get_state()
        return state

    def __setstate__(self, state):
        state = dict(state)
        index = state.pop("_index_bytes", None), state.pop("_index_rest", None)
        super().__setstate__(state)
        if index[0] is not None:
            self._index = ApproximateIndex.from_state(*index, self.embeddings_)
