"""The training spots' expression where it is: dense in memory, sparse, or mapped from a file."""

import numpy as np
import scipy.sparse

from .._types import SpotTarget
from ..utils._sklearn import check_array


def as_target(y):
    """A SpotTarget of expression that is to stay sparse or in its file; other ``y`` as it is.

    Parameters
    ----------
    y : object
        Stays sparse: a sparse matrix. Stays in its file: a memmap of shape (n_spots, n_genes),
        float32, row by row.

    Raises
    ------
    ValueError
        If it is empty, or holds NaN or infinity.
    """
    if not (scipy.sparse.issparse(y) or _is_mapped(y)):
        return y
    matrix = check_array(y, accept_sparse="csr", input_name="y")
    genes = np.array([f"x{i}" for i in range(matrix.shape[1])])
    return SpotTarget(matrix=y if _is_mapped(y) else matrix, genes=genes)


def keep(matrix):
    """The expression a retriever keeps: a mapped one itself, of any other a float32 copy."""
    if _is_mapped(matrix):
        return matrix
    if scipy.sparse.issparse(matrix):
        return scipy.sparse.csr_array(matrix, dtype=np.float32, copy=True)
    return check_array(matrix, dtype=np.float32, order="C", copy=True, input_name="y")


def _is_mapped(y):
    return (
        isinstance(y, np.memmap)
        and y.ndim == 2
        and y.dtype == np.float32
        and y.flags.c_contiguous
    )
