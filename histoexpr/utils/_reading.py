"""Files that anyone may have written: what their readers raise, and what they may unfold to."""

import contextlib
import json
import math
import os
from pathlib import Path

from ..exceptions import HistoexprError, InputError
from ._validation import name_some

LIMIT_VARIABLE = "HISTOEXPR_MAX_DECODED_GB"
_DEFAULT_GB = 8.0
_OF_TEXT = 8  # bytes that a table takes in memory, for each of its text


@contextlib.contextmanager
def reading(what, problem="cannot be read; is it cut short?"):
    """Whatever a reader of another library raises becomes a ValueError that says of what."""
    try:
        yield
    except HistoexprError:
        raise
    except Exception as error:  # gzip, pandas, pyarrow, h5py, zarr, codecs: each has its own types
        reason = (str(error) or type(error).__name__)[:500]
        raise InputError(f"{what} {problem} ({reason})") from error


def most_bytes():
    """What one file may unfold to in memory, in bytes.

    Raises
    ------
    ValueError
        If the environment variable ``HISTOEXPR_MAX_DECODED_GB`` is no number.
    """
    return gib_of(LIMIT_VARIABLE, _DEFAULT_GB)


def gib_of(variable, default):
    """An environment variable that is a number of GiB, in bytes."""
    text = os.environ.get(variable, default)
    try:
        n_bytes = float(text) * 2**30
    except ValueError:
        n_bytes = math.nan
    if math.isnan(n_bytes):
        raise InputError(f"{variable} must be a number of GiB; got {text!r}.")
    return n_bytes


def check_decoded(n_bytes, what, instead=""):
    """Refuse, before anything is decoded, what would take too much memory.

    Parameters
    ----------
    n_bytes : int
        That it would take.
    what : str
        What the message calls it.
    instead : str, default=""
        A further sentence: what else can be done.

    Raises
    ------
    ValueError
    """
    limit = most_bytes()
    if n_bytes > limit:
        raise InputError(
            f"{what} would take {_gib(n_bytes)} GiB in memory; a file may take {_gib(limit)}. If "
            f"you trust it, set the environment variable {LIMIT_VARIABLE} to more."
            f"{instead and ' '}{instead}"
        )


def read_text(file, path):
    """All of an open file of text, as bytes; refused where its table would not fit in memory."""
    chunks, total = [], 0
    while chunk := file.read(2**20):
        total += len(chunk)
        check_decoded(_OF_TEXT * total, f"the text of {str(path)!r}")
        chunks.append(chunk)
    return b"".join(chunks)


def read_json(path):
    """The object in a JSON file, a dict.

    Raises
    ------
    ValueError
        If the file is no JSON, or holds something else.
    """
    with reading(repr(str(path)), "is not a JSON object"):
        with open(path, "rb") as file:
            found = json.loads(read_text(file, path))
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
        return found


def read_parquet(path, columns=None):
    """A table in a Parquet file, as a DataFrame.

    Parameters
    ----------
    path : path
    columns : list of str or None, default=None
        Those to read, if they are there. None is all.

    Raises
    ------
    ValueError
        If it cannot be read, or would take too much memory.
    """
    import pyarrow.parquet

    with reading(repr(str(path))):
        if Path(path).is_dir():
            raise InputError(f"{str(path)!r} is a folder; one Parquet file is needed.")
        with pyarrow.parquet.ParquetFile(path) as file:
            there = file.schema_arrow.names
            if len(set(there)) < len(there):
                raise InputError(f"{str(path)!r} has columns of one name: {name_some(there)}.")
            wanted = there if columns is None else [name for name in there if name in columns]
            _check_parquet(file.metadata, len(wanted), path)
            table = file.read(columns=wanted)
            frame = table.to_pandas()
            # pandas wrote them there; pyarrow brings them back in later versions only
            frame.attrs = json.loads((table.schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
            return frame


def check_parquet(path):
    """Refuse a Parquet file whose table would take too much memory.

    Raises
    ------
    ValueError
        If it would, or cannot be read.
    """
    import pyarrow.parquet

    with reading(repr(str(path))):
        stated = pyarrow.parquet.read_metadata(path)
        _check_parquet(stated, stated.num_columns, path)


def _check_parquet(stated, n_columns, path):
    n_bytes = sum(stated.row_group(i).total_byte_size for i in range(stated.num_row_groups))
    # Many equal rows take no room in the file, but 8 bytes a cell in memory.
    n_bytes = max(n_bytes, 8 * stated.num_rows * max(1, n_columns))
    check_decoded(n_bytes, f"the table in {str(path)!r}")


def check_sparse(adata):
    """The AnnData, if the indices of its sparse matrices stay within their bounds.

    Compiled code believes them: with others it reads and writes beyond the arrays.
    """
    import scipy.sparse

    parts = (adata.layers, adata.obsm, adata.varm, adata.obsp, adata.varp)
    raw = [] if adata.raw is None else [adata.raw.X]
    for matrix in (adata.X, *raw, *(matrix for part in parts for matrix in part.values())):
        if scipy.sparse.issparse(matrix) and hasattr(matrix, "check_format"):
            try:
                matrix.check_format(full_check=True)
            except ValueError as error:
                raise InputError(f"a sparse matrix in it is damaged ({error})") from error
    return adata


def _gib(n_bytes):
    return f"{n_bytes / 2**30:.3g}"
