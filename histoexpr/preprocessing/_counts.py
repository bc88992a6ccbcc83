"""Count matrices, sparse or dense: checking them, and scaling rows with scanpy."""

import warnings

import numpy as np
import scipy.sparse

from ..exceptions import InputError


def check_values(matrix, *, counts=True, whole=True):
    """Refuse values that cannot be raw counts.

    Parameters
    ----------
    matrix : ndarray or sparse matrix of shape (n_spots, n_genes)
    counts : bool, default=True
        Whether counts are needed; else any finite value passes.
    whole : bool, default=True
        Whether counts must be whole numbers.

    Raises
    ------
    ValueError
        If a value is NaN, infinite, negative or not whole.
    """
    values = matrix.data if scipy.sparse.issparse(matrix) else matrix
    if values.size == 0:
        return
    # min and max carry NaN along and need no array of the matrix's size
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            "counts hold NaN or infinity. After joining sections with different genes, fill "
            "what is missing with 0, or keep the genes they share."
        )
    if not counts:
        return
    if low < 0:
        raise InputError(
            f"counts hold negative values (down to {low:g}): raw counts are needed, not "
            "scaled or centred expression. Pass adata with raw counts in X."
        )
    if whole and values.dtype.kind == "f" and not _all_whole(values):
        raise InputError(
            f"counts hold values that are not whole numbers (the largest is {high:g}): they "
            "look already normalised or logged. Pass raw counts, or normalize=None, "
            "log=None to use them as they are, or check_counts=False for corrected counts."
        )


def _all_whole(values):
    # in blocks, to spare the memory of a second matrix
    step = max(1, 2**22 // max(1, values[0].size))
    blocks = (values[i : i + step] for i in range(0, len(values), step))
    return all((block == np.rint(block)).all() for block in blocks)


def dense_columns(matrix, columns):
    """A float32 copy of some columns, C-contiguous; the others never become dense."""
    if scipy.sparse.issparse(matrix):
        return matrix[:, columns].astype(np.float32).toarray(order="C")
    return np.take(matrix, columns, axis=1).astype(np.float32, order="C")


def row_sums(matrix, columns):
    """Sum of some columns for each row, without a copy of them; float32."""
    chosen = np.zeros(matrix.shape[1])
    chosen[columns] = 1
    return np.asarray(matrix @ chosen).ravel().astype(np.float32)


def scale_rows(matrix, target_sum):
    """Scale each row of a dense float32 matrix to a sum; a row of zeros stays one.

    May work in place: pass a matrix of your own.
    """
    import scanpy as sc
    from anndata import AnnData

    adata = AnnData(np.ascontiguousarray(matrix))
    with warnings.catch_warnings():
        # rows without counts stay zero, which is what is wanted
        warnings.filterwarnings("ignore", message="Some cells have zero counts")
        sc.pp.normalize_total(adata, target_sum=target_sum)
    return adata.X


def section_rows(target):
    """Rows of each section of a SpotTarget; all of them when it names no sections."""
    if target.section is None:
        return [slice(None)]
    return [np.flatnonzero(target.section == name) for name in np.unique(target.section)]
