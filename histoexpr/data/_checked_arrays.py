"""Arrays in files of NumPy, with a checksum behind them that tells when a bit has changed."""

import numpy as np

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
    values = np.load(path, mmap_mode="r")
    if check:
        with open(path, "rb") as file:
            file.seek(-DIGEST_BYTES, 2)
            if file.read() != _checksum(values):
                raise ValueError("it is not as it was written")
    return values


def _checksum(values):
    """16 bytes that its type, shape and numbers decide."""
    values = np.ascontiguousarray(values)
    return digest(f"{values.dtype.str}{values.shape}".encode() + digest(values))
