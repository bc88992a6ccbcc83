"""Arrays in files of NumPy, with a checksum behind them that tells when a bit has changed."""

import numpy as np
from numpy.lib import format as npy

from ..utils import written_aside
from ._hashing import DIGEST_BYTES, digest


def save_checked(path, values):
    """Write an array, so that `load_checked` knows it again; `numpy.load` reads it, too.

    Parameters
    ----------
    path : path
    values : ndarray
    """
    with written_aside(path) as aside, open(aside, "wb") as file:
        np.save(file, values)
        file.write(_checksum(values))


def load_checked(path, check=True):
    """An array that `save_checked` wrote, mapped from its file.

    Parameters
    ----------
    path : path
    check : bool, default=True
        Whether to read all of it and compare the checksum.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If it is not as it was written.
    """
    with open(path, "rb") as file:  # once: another may be written under its name meanwhile
        if npy.read_magic(file) != (1, 0):
            raise ValueError("it is of another version of NumPy's format")
        shape, by_columns, dtype = npy.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        order = "F" if by_columns else "C"
        values = np.memmap(file, dtype, "r", offset=file.tell(), shape=shape, order=order)
        if check:
            file.seek(-DIGEST_BYTES, 2)
            if file.read() != _checksum(values):
                raise ValueError("it is not as it was written")
    return values


def _checksum(values):
    """16 bytes that its type, shape and numbers decide."""
    values = np.ascontiguousarray(values)
    return digest(f"{values.dtype.str}{values.shape}".encode() + digest(values))
