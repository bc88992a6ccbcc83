"""The space an approximate index searches in: the directions that tell spots apart to queries."""

import numpy as np

from ._exact import METRICS

_SHARE = 0.98  # of the variance of the scores, which the directions kept must hold
_RIDGE = 0.1  # of the queries' mean variance, for directions that the few known ones do not show
_FAR = 100.0  # how far out queries are moved, in root mean squares of the spots' lengths
_SAMPLE = 16384  # spots that the directions are chosen on
_BLOCK = 16384  # spots mapped at a time


class QuerySpace:
    """Maps spots and queries so that the spots nearest to a query are those it scores best.

    All three metrics rank the spots of a query by an inner product: of vectors of length 1 for
    "cosine", of (x, -|x|²/2) with (q, 1) for "l2". But images and spots are embedded into
    different corners of one space: spots differ mostly in directions where queries never point,
    and an index that groups spots by their distance from each other groups them by what no
    query asks. So spots are stretched, direction by direction, by how far the queries reach
    there, and queries are shrunk by as much, which leaves the inner products as they are [1]_.
    Of the directions, those with the largest share in the variance of the products are kept and
    turned at random, so that each holds as much as the next: an index spends the same number of
    bits on each. What was left out is made up for by comparing the vectors themselves.

    Queries are then moved far out: the spots nearest to such a point, by Euclidean distance,
    are those with the largest inner product. So every index may search by Euclidean distance,
    for which they all are made.

    Parameters
    ----------
    metric : {"cosine", "inner_product", "l2"}
    center : ndarray of shape (n_features,), dtype float64
        Taken off spots and queries.
    spot_map, query_map : ndarray of shape (n_lifted, n_dims), dtype float64
        ``n_lifted`` is n_features, and one more for "l2".
    spot_offset : ndarray of shape (n_dims,), dtype float64
        Added to mapped spots, so that their mean is 0.

    References
    ----------
    .. [1] R. Guo, S. Kumar, K. Choromanski, D. Simcha, "Quantization based fast inner product
       search", AISTATS 2016: errors weighted by the second moment of the queries.
    """

    def __init__(self, metric, center, spot_map, query_map, spot_offset):
        self.metric = metric
        self.center = center
        self.spot_map = spot_map
        self.query_map = query_map
        self.spot_offset = spot_offset

    @classmethod
    def fit(cls, embeddings, queries, metric):
        """The space for these spots, and for queries such as these.

        Parameters
        ----------
        embeddings : ndarray of shape (n_spots, n_features), dtype float32
        queries : ndarray of shape (n_queries, n_features), dtype float32
        metric : {"cosine", "inner_product", "l2"}
        """
        sample = embeddings[:: -(-len(embeddings) // _SAMPLE)].astype(np.float64)
        center = sample.mean(axis=0) if metric == "l2" else np.zeros(sample.shape[1])
        space = cls(metric, center, None, None, None)
        spots, queries = space._lift_spots(sample), space._lift_queries(queries)
        stretch, shrink = _roots(queries.T @ queries / len(queries))
        scatter = np.atleast_2d(np.cov(spots.T, bias=True))
        variances, directions = np.linalg.eigh(stretch @ scatter @ stretch)
        held = np.cumsum(variances[::-1]) >= _SHARE * variances.sum()
        n_dims = min(8 * (held.argmax() // 8 + 1), len(held))
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n_dims, n_dims)))
        directions = directions[:, -n_dims:] @ turn
        length = np.sqrt(max(variances[-n_dims:].sum(), 0)) or 1.0
        space.spot_map = stretch @ directions / length
        space.query_map = shrink @ directions
        space.spot_offset = -spots.mean(axis=0) @ space.spot_map
        return space

    @property
    def n_dims(self):
        """Directions kept."""
        return self.spot_map.shape[1]

    def map_spots(self, embeddings):
        """Where training spots lie: ndarray of shape (n_spots, n_dims), dtype float32."""
        mapped = np.empty((len(embeddings), self.n_dims), dtype=np.float32)
        for start in range(0, len(embeddings), _BLOCK):
            rows = slice(start, start + _BLOCK)
            mapped[rows] = self._lift_spots(embeddings[rows]) @ self.spot_map + self.spot_offset
        return mapped

    def map_queries(self, queries):
        """Where to search: ndarray of shape (n_queries, n_dims), dtype float32."""
        # In float64: a place that is then rounded does not depend on what else is asked.
        return (_FAR * _unit(self._lift_queries(queries) @ self.query_map)).astype(np.float32)

    def _lift_spots(self, vectors):
        vectors = self._prepare(vectors)
        if METRICS[self.metric]:
            return vectors
        return np.column_stack([vectors, -(vectors**2).sum(axis=1) / 2])

    def _lift_queries(self, vectors):
        vectors = self._prepare(vectors)
        if METRICS[self.metric]:
            return vectors
        return np.column_stack([vectors, np.ones(len(vectors))])

    def _prepare(self, vectors):
        vectors = vectors.astype(np.float64) - self.center
        return _unit(vectors) if self.metric == "cosine" else vectors


def _unit(vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _roots(second_moment):
    """The symmetric root of a second moment, a little added in all directions; its inverse."""
    variances, directions = np.linalg.eigh(second_moment)
    variances = np.maximum(variances, 0)
    variances += _RIDGE * variances.mean() or 1.0
    root = np.sqrt(variances)
    return (directions * root) @ directions.T, (directions / root) @ directions.T
