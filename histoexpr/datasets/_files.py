"""Files of tables and counts, that anyone may have written: read, or refused by name."""

import bz2
import gzip
import io
import lzma

import anndata
import pandas as pd

from ..utils._hdf5 import opened_h5
from ..utils._reading import check_decoded, check_sparse, read_text, reading

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_KIND = "feature_types"  # 10x Genomics' column
_OF_ROW, _OF_VALUE = 8, 16  # bytes that a sparse matrix takes


def open_unpacked(path):
    """A file, read through what its suffix says it is packed with."""
    return _OPENERS.get(path.suffix.lower(), open)(path, "rb")


def read_table(path, **options):
    """A table of text, packed or not, as pandas reads it.

    Parameters
    ----------
    path : Path
    **options
        Of `pandas.read_csv`.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        If it cannot be read, or would take too much memory.
    """
    with reading(repr(str(path))), open_unpacked(path) as file:
        return pd.read_csv(io.BytesIO(read_text(file, path)), **options)


def read_h5ad(path):
    """An AnnData file, whole and of bounded size; a ValueError that names it otherwise."""
    with reading(repr(str(path)), "cannot be read as AnnData; is it cut short?"):
        with opened_h5(path):
            return check_sparse(anndata.read_h5ad(path))


def read_10x_h5(path):
    """Counts as Space Ranger writes them in one file."""
    import scanpy

    with opened_h5(path):
        counts = check_sparse(scanpy.read_10x_h5(path, gex_only=False))
    if _KIND not in counts.var:  # version 2
        return counts
    return counts[:, counts.var[_KIND] == "Gene Expression"].copy()


def read_10x_mtx(folder):
    """Counts as Space Ranger writes them in three files."""
    import scanpy

    for path in folder.glob("*.tsv*"):
        with open_unpacked(path) as file:
            read_text(file, path)
    for path in folder.glob("*.mtx*"):
        n_rows, n_columns, n_values = _sizes_of_mtx(path)
        n_bytes = _OF_ROW * (n_rows + n_columns) + _OF_VALUE * n_values
        check_decoded(n_bytes, f"the matrix in {str(path)!r}")
    return check_sparse(scanpy.read_10x_mtx(folder, make_unique=False))


def _sizes_of_mtx(path):
    with open_unpacked(path) as file:
        line = b"%"
        while line.startswith(b"%"):
            line = file.readline(2**16)
    rows, columns, values = (int(word) for word in line.split())
    return rows, columns, values
