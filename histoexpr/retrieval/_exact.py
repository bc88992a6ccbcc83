"""Exact search, and the distances of given pairs: what every index is measured by."""

import faiss
import numpy as np

# Metrics, and whether FAISS's score for them is a similarity.
METRICS = {"cosine": True, "inner_product": True, "l2": False}

_SPOTS = 65536  # spots compared at a time where there is no index of them
_SPARE = 16  # spots on both sides of the last neighbour that may be as near
_ROUNDING = 6e-8  # of float32; in a product of vectors, times the root of their length
_EXACT = 256  # queries compared in float64 at a time


class FlatIndex:
    """Compares each query with all training spots.

    Parameters
    ----------
    embeddings : ndarray of shape (n_spots, n_features), dtype float32
    metric : {"cosine", "inner_product", "l2"}
    """

    recall = 1.0
    width = 1  # spots found for each neighbour that is asked for

    def __init__(self, embeddings, metric):
        self.metric = metric
        kind = faiss.IndexFlatIP if METRICS[metric] else faiss.IndexFlatL2
        self._index = kind(embeddings.shape[1])
        spots = searched(embeddings, metric)
        self._index.add(spots)
        self._longest = lengths(spots).max()
        self._unsure = _ROUNDING * embeddings.shape[1] ** 0.5

    def search(self, queries, k):
        """The k nearest spots of each query, nearest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features), dtype float32
        k : int

        Returns
        -------
        distances : ndarray of shape (n_queries, k), dtype float32
            As `SpotRetriever.kneighbors` has them.
        neighbors : ndarray of shape (n_queries, k), dtype int64
        """
        queries = searched(queries, self.metric)
        scores, neighbors = self._index.search(queries, min(k + _SPARE, self._index.ntotal))
        if k < self._index.ntotal:
            self._settle(queries, scores, neighbors, k)
        return as_distances(scores[:, :k], self.metric), neighbors[:, :k]

    def _settle(self, queries, scores, neighbors, k):
        """Choose the last neighbours in place, exactly, where rounding could decide who they are.

        Products of matrices in float32 differ in their last digits with what else is asked.
        """
        similar = METRICS[self.metric]
        sizes = lengths(queries)
        off = sizes * self._longest if similar else (sizes + self._longest) ** 2
        known = np.isfinite(scores).all(axis=1) & (neighbors >= 0).all(axis=1)  # no overflow
        with np.errstate(over="ignore", invalid="ignore"):
            near = np.abs(scores[:, k] - scores[:, k - 1]) <= self._unsure * off
        unsure = np.flatnonzero(known & near)
        last = slice(max(0, k - _SPARE), None)
        for start in range(0, len(unsure), _EXACT):
            rows = unsure[start : start + _EXACT]
            found = neighbors[rows, last]
            spots = self._index.reconstruct_batch(found.ravel()).reshape(*found.shape, -1)
            spots, own = spots.astype(np.float64), queries[rows, None].astype(np.float64)
            exact = -(spots * own).sum(axis=2) if similar else ((spots - own) ** 2).sum(axis=2)
            order = np.lexsort((found, exact))
            neighbors[rows, last] = np.take_along_axis(found, order, axis=1)


def searched(vectors, metric):
    """What FAISS is given: vectors of length 1 for "cosine", else the vectors themselves."""
    if metric != "cosine":
        return vectors
    vectors = np.array(vectors)
    faiss.normalize_L2(vectors)
    return vectors


def as_distances(scores, metric):
    """FAISS's scores as distances, the nearer the smaller: 1 - cosine, -q·x or Euclidean."""
    if metric == "inner_product":
        return -scores
    # Rounding can leave what should be 0 a little below it; FAISS returns squares for l2.
    distances = np.maximum(1 - scores if metric == "cosine" else scores, 0)
    return np.sqrt(distances) if metric == "l2" else distances


def exact_search(queries, embeddings, k, metric):
    """As `FlatIndex.search`, without the memory of an index: block by block of the spots."""
    queries = searched(queries, metric)
    kind = faiss.METRIC_INNER_PRODUCT if METRICS[metric] else faiss.METRIC_L2
    nearest = faiss.ResultHeap(len(queries), k, keep_max=METRICS[metric])
    for start in range(0, len(embeddings), _SPOTS):
        block = searched(embeddings[start : start + _SPOTS], metric)
        scores, rows = faiss.knn(queries, block, min(k, len(block)), kind)
        nearest.add_result(scores, rows + start)
    nearest.finalize()
    return as_distances(nearest.D, metric), nearest.I


def lengths(vectors):
    """Euclidean lengths of vectors; 1 for a vector of zeros. float32 (n_vectors,)."""
    norms = np.empty(len(vectors), dtype=np.float32)
    faiss.fvec_norms_L2(
        faiss.swig_ptr(norms), faiss.swig_ptr(vectors), vectors.shape[1], len(vectors)
    )
    norms[norms == 0] = 1
    return norms


def pair_distances(queries, embeddings, neighbors, metric, norms=None):
    """Distances from each query to chosen spots, without a copy of these spots' vectors.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), dtype float32
    embeddings : ndarray of shape (n_spots, n_features), dtype float32
    neighbors : ndarray of shape (n_queries, n_neighbors), dtype int64
        Rows of ``embeddings``; -1 is no spot.
    metric : {"cosine", "inner_product", "l2"}
    norms : ndarray of shape (n_spots,), dtype float32, default=None
        `lengths` of the embeddings; "cosine" needs them.

    Returns
    -------
    ndarray of shape (n_queries, n_neighbors), dtype float32
        As `FlatIndex.search` gives them; infinite where there is no spot.
    """
    scores = np.empty(neighbors.shape, dtype=np.float32)
    compare = faiss.fvec_inner_products_by_idx if METRICS[metric] else faiss.fvec_L2sqr_by_idx
    # Pointers do not keep arrays alive: each has a name.
    arrays = scores, searched(queries, metric), embeddings, np.ascontiguousarray(neighbors)
    compare(*map(faiss.swig_ptr, arrays), embeddings.shape[1], *neighbors.shape)
    if metric == "cosine":
        scores /= norms[neighbors]
    return as_distances(scores, metric)
