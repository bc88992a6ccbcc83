"""Indexes that do not look at all spots: which there are, how they are made, searched and kept."""

import re
import warnings
from bisect import bisect_left

import faiss
import numpy as np

from ..exceptions import InputError
from ._exact import METRICS, FlatIndex, exact_search, lengths, pair_distances, searched
from ._query_space import QuerySpace

NAMES = ("flat", "hnsw", "ivf", "ivf_pq")

_FEW = 1000  # spots below which every name means "flat": there is nothing to gain
_POINTS = 40  # spots a cluster is found from; FAISS complains below 39
N_QUERIES = 1024  # that an approximate index is made for, and kept to make another
_EXAMPLES = 256  # of them, that recall is measured on
_ROUNDS = 10  # of k-means: more move the clusters, but find no neighbour more
_WIDTHS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16)  # spots proposed for each neighbour that is asked for
_LEFT = 0.25  # of them, where finer codes have chosen
_MOST_EFFORT = 8192  # the longest list of candidates that a search in a graph keeps


class ApproximateIndex:
    """A FAISS index that proposes spots, and the spots' vectors, which decide.

    Parameters
    ----------
    index : faiss.Index
        Of all training spots.
    embeddings : ndarray of shape (n_spots, n_features), dtype float32
    metric : {"cosine", "inner_product", "l2"}
    space : QuerySpace or None
        In which ``index`` searches; None: as FAISS itself would, by ``metric``.
    width : float, default=1
        Spots proposed for each neighbour that is asked for. Where ``index`` keeps finer codes
        (FAISS's "Refine"), these choose among them first.
    recall : float or None, default=None
        As `tune` measured it.
    """

    def __init__(self, index, embeddings, metric, space, width=1, recall=None):
        self.index = index
        self.embeddings = embeddings
        self.metric = metric
        self.space = space
        self.width = width
        self.recall = recall
        self._norms = lengths(embeddings) if metric == "cosine" else None

    def search(self, queries, k):
        """As `FlatIndex.search`: what is found may lack a near spot, but never a spot."""
        distances, neighbors = self._propose(queries, k)
        # A graph may not reach k spots, nor the lists that are looked into hold as many.
        short = np.flatnonzero(~np.isfinite(distances[:, -1]))
        if short.size:
            exact = exact_search(queries[short], self.embeddings, k, self.metric)
            distances[short], neighbors[short] = exact
        return distances, neighbors

    def tune(self, queries, k, target):
        """Search as long as it takes to find a share of the nearest spots.

        Half of what may be missed is left to spots that are not proposed although all lists are
        looked into, as the index knows them roughly; that decides `width`. Then as few
        lists are looked into, or as short a way is gone in a graph, as the target allows.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features), dtype float32
        k : int
        target : float
            Share of the ``k`` nearest spots.
        """
        nearest = exact_search(queries, self.embeddings, k, self.metric)[1]
        farthest = self._compare(queries, nearest).max(axis=1, keepdims=True)

        def recall(effort):
            self._set_effort(effort)
            return (self._propose(queries, k)[0] <= farthest).mean()

        efforts = self._efforts()
        for width in _WIDTHS:
            self._set_width(width)
            if recall(efforts[-1]) >= (1 + target) / 2:
                break
        enough = bisect_left(efforts, target, key=recall)
        self.recall = float(recall(efforts[min(enough, len(efforts) - 1)]))

    def get_state(self):
        """The index in FAISS's own format, uint8, and the rest but the embeddings, a dict."""
        rest = {name: getattr(self, name) for name in ("metric", "width", "recall")}
        rest["space"] = None if self.space is None else dict(vars(self.space))
        return faiss.serialize_index(self.index), rest

    @classmethod
    def from_state(cls, index, rest, embeddings):
        """What `get_state` was called of."""
        index = faiss.deserialize_index(np.asarray(index))
        if index.ntotal != len(embeddings):
            raise InputError(
                f"the index is of {index.ntotal} spots, but embeddings_ of {len(embeddings)}."
            )
        space = None if rest["space"] is None else QuerySpace(**rest["space"])
        return cls(index, embeddings, **{**rest, "space": space})

    def _propose(self, queries, k):
        """The best of what FAISS proposes; infinitely far where that is less than k spots."""
        if self.space is None:
            mapped = searched(queries, self.metric)
        else:
            mapped = self.space.map_queries(queries)
        proposed = self.index.search(mapped, min(int(k * self._compared), len(self.embeddings)))[1]
        distances = self._compare(queries, proposed)
        if proposed.shape[1] > k:
            best = np.argpartition(distances, k - 1, axis=1)[:, :k]
            distances, proposed = _taken(best, distances, proposed)
        return _taken(np.argsort(distances, axis=1, kind="stable"), distances, proposed)

    def _compare(self, queries, neighbors):
        return pair_distances(queries, self.embeddings, neighbors, self.metric, self._norms)

    @property
    def _compared(self):
        """Spots whose vectors are compared for each neighbour that is asked for."""
        return max(1, _LEFT * self.width) if self._refines else self.width

    @property
    def _refines(self):
        return isinstance(self.index, faiss.IndexRefine)

    def _set_width(self, width):
        self.width = width
        if self._refines:
            self.index.k_factor = width / self._compared

    def _efforts(self):
        """What a search may be told to spend, from little to all there is."""
        lists = faiss.try_extract_index_ivf(self.index)
        most = min(_MOST_EFFORT, len(self.embeddings)) if lists is None else lists.nlist
        return np.unique(np.geomspace(1, most, 64).astype(int)).tolist()

    def _set_effort(self, effort):
        if self._knob is not None:
            faiss.ParameterSpace().set_index_parameter(self.index, self._knob, effort)

    @property
    def _knob(self):
        """What FAISS calls the effort of this index; None where there is no choice."""
        space = faiss.ParameterSpace()
        space.initialize(self.index)
        ranges = space.parameter_ranges
        names = {ranges.at(i).name for i in range(ranges.size())}
        return next((name for name in ("nprobe", "efSearch") if name in names), None)


def check_index(index, n_spots, metric):
    """Refuse an index that FAISS does not know, or that has more clusters than there are spots.

    Parameters
    ----------
    index : str
        One of `NAMES`, or a factory string.
    n_spots : int
    metric : {"cosine", "inner_product", "l2"}

    Raises
    ------
    ValueError
        With what FAISS says.
    """
    if index in NAMES:
        return
    try:
        made = faiss.index_factory(64, index, _faiss_metric(metric))
    except RuntimeError as error:
        # Other complaints may be about this width: they come again with the vectors.
        if "could not parse" in str(error):
            raise _refused(index, error) from error
        return
    lists = faiss.try_extract_index_ivf(made)
    if lists is not None and not 1 <= lists.nlist <= n_spots:
        raise InputError(
            f"index={index!r} makes {lists.nlist} clusters of {n_spots} training spots; a cluster "
            f"needs about {_POINTS} spots to be found. Choose fewer, or 'ivf', which chooses."
        )


def build_index(index, embeddings, metric, queries, k, recall):
    """Make an index of the training spots.

    Parameters
    ----------
    index : str
        One of `NAMES`, or a factory string.
    embeddings : ndarray of shape (n_spots, n_features), dtype float32
    metric : {"cosine", "inner_product", "l2"}
    queries : ndarray of shape (n_queries, n_features), dtype float32
        Such as will be searched for.
    k : int
        Neighbours that will be searched for.
    recall : float
        Share of them that is to be found.

    Returns
    -------
    FlatIndex or ApproximateIndex

    Raises
    ------
    ValueError
        If FAISS does not know the index, or cannot make it of these vectors.
    """
    if index == "flat" or (index in NAMES and len(embeddings) < _FEW):
        return FlatIndex(embeddings, metric)
    # The space is made for some queries, the recall measured on others.
    queries = spread(queries, N_QUERIES)
    space = QuerySpace.fit(embeddings, queries[::2], metric) if index in NAMES else None
    examples = np.ascontiguousarray(queries[min(1, len(queries) - 1) :: 2])
    try:
        made = _make(index, embeddings, metric, space)
    except RuntimeError as error:
        raise _refused(index, error) from error
    approximate = ApproximateIndex(made, embeddings, metric, space)
    approximate.tune(spread(examples, _EXAMPLES), k, recall)
    if approximate.recall < recall:
        warnings.warn(
            f"index={index!r} finds {approximate.recall:.1%} of the {k} nearest spots whatever "
            f"the effort, less than recall={recall:g}.",
            stacklevel=5,
        )
    return approximate


def spread(array, n):
    """At most ``n`` rows of an array, evenly spread over it."""
    return array if len(array) <= n else array[np.linspace(0, len(array) - 1, n).astype(int)]


def _make(index, embeddings, metric, space):
    if space is None:
        made = faiss.index_factory(embeddings.shape[1], index, _faiss_metric(metric))
        vectors = searched(embeddings, metric)
    else:
        made = faiss.index_factory(space.n_dims, _factory(index, len(embeddings), space.n_dims))
        vectors = space.map_spots(embeddings)
        lists = faiss.try_extract_index_ivf(made)
        if lists is not None:
            lists.cp.max_points_per_centroid, lists.cp.niter = _POINTS, _ROUNDS
    made.train(vectors)
    made.add(vectors)
    return made


def _factory(name, n_spots, n_dims):
    """The factory string that a name stands for."""
    clusters = max(1, min(int(4 * n_spots**0.5), n_spots // _POINTS))
    return {
        "hnsw": "HNSW32",
        "ivf": f"IVF{clusters},SQ8",
        "ivf_pq": f"IVF{clusters},PQ{n_dims}x4fs,Refine(SQ8)",
    }[name]


def _faiss_metric(metric):
    return faiss.METRIC_INNER_PRODUCT if METRICS[metric] else faiss.METRIC_L2


def _taken(columns, *arrays):
    return [np.take_along_axis(array, columns, axis=1) for array in arrays]


def _refused(index, error):
    reason = re.sub(r"^Error in .* at \S+:\d+: ", "", str(error))
    return InputError(
        f"index={index!r} is refused by FAISS: {reason}. Choose one of {', '.join(NAMES)}, or a "
        "factory string that FAISS can make of these vectors, such as 'IVF1024,Flat', 'HNSW32' "
        "or 'IVF1024,PQ64x4fs'."
    )
