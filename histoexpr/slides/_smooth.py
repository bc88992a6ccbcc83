"""A Gaussian over neighbouring spots."""

import numpy as np
import scipy.sparse
from scipy.spatial import cKDTree

_REACH = 3  # standard deviations


class Smoothed:
    """Rows of a matrix as weighted means of the rows of spots near by.

    Parameters
    ----------
    source : Blocks
    centres : ndarray of shape (n_spots, 2), dtype float64
        In micrometres.
    sigma : float
        Standard deviation of the Gaussian, in micrometres; spots within three of it count. Where
        there is no tissue there are no spots, and nothing is taken for it.
    """

    def __init__(self, source, centres, sigma):
        self._source, self._centres, self._sigma = source, centres, sigma
        self._tree = cKDTree(centres)

    def read(self, start, stop):
        """Rows [start, stop): (stop - start, n_genes), float32."""
        near = cKDTree(self._centres[start:stop]).sparse_distance_matrix(
            self._tree, _REACH * self._sigma, output_type="coo_matrix"
        )
        rows, cols = near.row, near.col
        weights = np.exp(-((near.data / self._sigma) ** 2) / 2)
        used, place = np.unique(cols, return_inverse=True)
        weights = scipy.sparse.csr_matrix((weights, (rows, place)), (stop - start, len(used)))
        weights = weights.multiply(1 / weights.sum(axis=1)).tocsr()
        return (weights @ self._source.take(used)).astype(np.float32)
