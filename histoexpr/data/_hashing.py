"""Hashes of pixels."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

DIGEST_BYTES = 16  # of the 32 of SHA-256
_MOST_THREADS = 8
_WORTH_THREADS = 2**23  # bytes


def digest(data):
    """The hash of bytes, or of a contiguous array: 16 bytes."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def hash_each(array, rows):
    """Hash some rows of an array, each by its bytes.

    Parameters
    ----------
    array : ndarray of shape (n, ...)
    rows : ndarray of shape (n_rows,), dtype int64

    Returns
    -------
    ndarray of shape (n_rows, 16), dtype uint8
    """
    import torch

    def hash_part(part):
        return b"".join(digest(np.ascontiguousarray(array[row])) for row in part)

    n_threads = min(torch.get_num_threads(), _MOST_THREADS)
    if n_threads == 1 or len(rows) * array[:1].nbytes < _WORTH_THREADS:
        found = hash_part(rows)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            found = b"".join(pool.map(hash_part, np.array_split(rows, n_threads)))
    return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)


def is_frozen(array):
    """Whether nobody can write to the memory of an array any more, through none of its views."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)
