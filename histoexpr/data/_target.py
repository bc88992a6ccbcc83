"""The one door through which an AnnData enters the library."""

import numpy as np
import scipy.sparse

from .. import _keys
from .._types import SpotTarget
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ..utils._validation import as_array

_MOST_POSITION = 2**53


def unpack_target(y, cell_type_key=_keys.CELL_TYPE):
    """Take an AnnData or an array apart into arrays with names.

    Parameters
    ----------
    y : AnnData of shape (n_spots, n_genes), array-like of shape (n_spots, n_genes) or (n_spots,)
        An AnnData holds raw counts in ``X``; its ``obs`` may hold ``section``, ``patient``,
        ``cell_type`` and the grid coordinates ``array_col`` and ``array_row``. An array is
        expression in the user's own units; the columns of a DataFrame are its genes.
    cell_type_key : str, default="cell_type"
        The column of ``obs`` with the cell types.

    Returns
    -------
    SpotTarget

    Raises
    ------
    ValueError
        If there are no spots or no genes, gene names repeat, an array holds NaN or infinity,
        the section is missing for some spots or holds several patients, or grid coordinates
        are missing, negative or not
        whole numbers for some.
    TypeError
        If ``y`` is neither an AnnData nor an array of numbers.
    """
    if isinstance(y, SpotTarget):
        return y
    if hasattr(y, "obs") and hasattr(y, "var_names"):
        return _unpack_adata(y, cell_type_key)
    return _unpack_array(y)


def _unpack_adata(adata, cell_type_key):
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise InputError(
            f"adata has {adata.n_obs} spots and {adata.n_vars} genes; at least one of each is "
            "needed. Did a filter or a section name remove everything?"
        )
    genes = adata.var_names.to_numpy().astype(str)
    _check_unique(genes, "adata.var_names")
    matrix = adata.X
    if matrix is None:
        raise InputError("adata.X is empty; it must hold the raw counts.")
    if hasattr(matrix, "to_memory"):  # backed AnnData
        matrix = matrix.to_memory()
    if scipy.sparse.issparse(matrix):
        matrix = scipy.sparse.csr_matrix(matrix)  # not csr_array, which scanpy mistakes
        if not matrix.has_canonical_format:
            # SciPy would put it in order in place, in arrays that are the caller's.
            matrix = matrix.copy()
            matrix.sum_duplicates()
    else:
        matrix = np.asarray(matrix)
    section, patient = _sections(adata.obs), _column(adata.obs, _keys.PATIENT)
    check_one_patient_a_section(section, patient)
    return SpotTarget(
        matrix=matrix,
        genes=genes,
        from_adata=True,
        positions=_positions(adata.obs),
        section=section,
        patient=patient,
        cell_type=_column(adata.obs, cell_type_key),
    )


def _unpack_array(y):
    if scipy.sparse.issparse(y):
        raise InputTypeError(
            f"y is a sparse array of type {type(y).__name__}; wrap counts in an AnnData "
            "(anndata.AnnData(counts)) or call .toarray() on expression."
        )
    if y is None:
        raise InputError(
            "requires y to be passed, but the target y is None: pass the AnnData of the spots."
        )
    matrix = as_array(y, "y")
    if matrix.dtype == object:
        try:
            matrix = matrix.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"y must be an AnnData or an array of numbers; got {type(y).__name__}."
            ) from error
    if matrix.dtype.kind not in "biuf":
        raise InputError(
            f"y must be an AnnData or an array of real numbers; got {type(y).__name__} of dtype "
            f"{matrix.dtype}. Complex data not supported."
        )
    if matrix.ndim not in (1, 2) or matrix.size == 0:
        raise InputError(
            f"y must have shape (n_spots, n_genes) or (n_spots,) with at least one of each; "
            f"got {matrix.shape}."
        )
    if not np.isfinite(matrix).all():
        raise InputError(
            "Input y contains NaN or infinity: drop or fill those spots before fit."
        )
    one_dimensional = matrix.ndim == 1
    matrix = matrix[:, None] if one_dimensional else matrix
    genes = np.array([str(name) for name in getattr(y, "columns", [])])
    if genes.size:
        _check_unique(genes, "the columns of y")
    else:
        genes = np.array([f"x{i}" for i in range(matrix.shape[1])])
    return SpotTarget(matrix=matrix, genes=genes, one_dimensional=one_dimensional)


def _check_unique(genes, what):
    names, times = np.unique(genes, return_counts=True)
    if (times > 1).any():
        raise InputError(
            f"{what} name {name_some(names[times > 1])} more than once: a gene must have one "
            "column. Sum the columns, or call adata.var_names_make_unique()."
        )


def _column(obs, key):
    """A column of ``obs`` as str, or None; a missing value in it becomes MISSING."""
    if key not in obs or obs[key].isna().all():
        return None
    # NaN, None and pandas' NA would each become another word.
    return obs[key].astype(object).where(obs[key].notna(), _keys.MISSING).to_numpy().astype(str)


def _sections(obs):
    section = _column(obs, _keys.SECTION)
    if section is not None and (section == _keys.MISSING).any():
        raise InputError(
            f"adata.obs[{_keys.SECTION!r}] is missing for {int((section == _keys.MISSING).sum())} "
            f"of {len(obs)} spots: everything is done section by section. Fill it, or drop those "
            "spots."
        )
    return section


def check_one_patient_a_section(section, patient):
    """Refuse a section name that stands for sections of several patients."""
    if section is None or patient is None:
        return
    pairs = np.unique(np.column_stack([section, patient]), axis=0)
    names, patients = np.unique(pairs[:, 0], return_counts=True)
    if (patients > 1).any():
        raise InputError(
            f"sections {name_some(names[patients > 1])} hold spots of more than one patient: a "
            "section is one piece of tissue. Name sections uniquely, e.g. patient + section."
        )


def _positions(obs):
    present = [key for key in (_keys.ARRAY_COL, _keys.ARRAY_ROW) if key in obs]
    if not present:
        return None
    if len(present) == 1:
        raise InputError(
            f"adata.obs has {present[0]!r} alone; grid positions need both "
            f"{_keys.ARRAY_COL!r} and {_keys.ARRAY_ROW!r} (drop both if they are not known)."
        )
    values = obs[present].astype(object)
    return check_positions(values.where(values.notna(), np.nan), len(obs))


def check_positions(positions, n_spots):
    """Grid coordinates as whole, non-negative numbers.

    Parameters
    ----------
    positions : array-like of shape (n_spots, 2)
        (array_col, array_row).
    n_spots : int

    Returns
    -------
    ndarray of shape (n_spots, 2), dtype int64

    Raises
    ------
    ValueError
        If the shape differs, or a value is missing, negative, above 2**53 or not a whole number.
    """
    try:
        values = np.asarray(positions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"positions must be whole numbers; got others ({error}).") from error
    if values.shape != (n_spots, 2):
        raise InputError(
            f"positions must have shape ({n_spots}, 2), (array_col, array_row) a spot; "
            f"got {values.shape}."
        )
    # NaN compares as False; beyond 2**53 float64 skips whole numbers.
    bad = ~((values >= 0) & (values <= _MOST_POSITION) & (values == np.round(values)))
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        raise InputError(
            "positions must be whole numbers of at least 0, and at most 2**53; "
            f"{int(bad.any(axis=1).sum())} spots are not, the first at row {row}: "
            f"{values[row].tolist()}. Shift or round the grid coordinates, or drop those spots."
        )
    return values.astype(np.int64)
