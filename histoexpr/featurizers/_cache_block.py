"""A file of features: what is not as it was written is never read."""

import os
import struct

from ..data._hashing import DIGEST_BYTES, digest
from ..exceptions import InputError

_MAGIC = b"hxfeat1\n"
_HEAD = struct.Struct("<8s16sQQ16s")  # magic, name, number of rows, bytes of a row, checksum


class DamagedError(InputError):
    """A block is cut short, or was written to by someone else."""


def encode(name, rows):
    """The bytes of a block.

    Parameters
    ----------
    name : bytes, 16
        Of the featurizer.
    rows : dict of bytes, 16, to bytes, all of one length

    Returns
    -------
    bytes
        A head; the keys; the checksum of each row under its key; the rows.
    """
    width = len(next(iter(rows.values())))
    index = b"".join([*rows, *(_row_sum(name, key, row) for key, row in rows.items())])
    head = _HEAD.pack(_MAGIC, name, len(rows), width, _index_sum(name, len(rows), width, index))
    return b"".join([head, index, *rows.values()])


class Block:
    """A block in a file, whose index was read and is whole.

    Attributes
    ----------
    keys : list of bytes

    Raises
    ------
    FileNotFoundError
        If it is gone.
    DamagedError
        If it is not as it was written, or cannot be read.
    """

    def __init__(self, path, name):
        self._path, self._name = path, name
        with _opened(path) as file:
            head = _read(file, _HEAD.size)
            magic, own_name, n_rows, self._width, checksum = _HEAD.unpack(head)
            n_index = n_rows * 2 * DIGEST_BYTES
            size = _HEAD.size + n_index + n_rows * self._width
            if (magic, own_name) != (_MAGIC, name) or os.fstat(file.fileno()).st_size != size:
                raise DamagedError("its head does not fit the file")
            index = _read(file, n_index)
        if _index_sum(name, n_rows, self._width, index) != checksum:
            raise DamagedError("its index is not as it was written")
        parts = [index[i : i + DIGEST_BYTES] for i in range(0, n_index, DIGEST_BYTES)]
        self.keys, self._sums = parts[:n_rows], parts[n_rows:]
        self._row = {key: row for row, key in enumerate(self.keys)}
        self._start = _HEAD.size + n_index

    def read(self, keys):
        """Some of its rows: a dict of key to bytes; each is compared with its checksum."""
        rows = {}
        with _opened(self._path) as file:
            for key in keys:
                number = self._row[key]
                file.seek(self._start + number * self._width)
                row = _read(file, self._width)
                if _row_sum(self._name, key, row) != self._sums[number]:
                    raise DamagedError("a row is not as it was written")
                rows[key] = row
        return rows


def _opened(path):
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(str(error)) from error


def _read(file, n_bytes):
    try:
        data = file.read(n_bytes)
    except OSError as error:
        raise DamagedError(str(error)) from error
    if len(data) < n_bytes:
        raise DamagedError("it is cut short")
    return data


def _row_sum(name, key, row):
    return digest(name + key + row)


def _index_sum(name, n_rows, width, index):
    return digest(name + struct.pack("<QQ", n_rows, width) + index)
