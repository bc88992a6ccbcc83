"""Predictions of a slide, kept block by block until all are there."""

import logging
import shutil
from pathlib import Path

import numpy as np
from joblib.hashing import NumpyHasher

from ..data._checked_arrays import load_checked, save_checked
from ..exceptions import FileError, InputError
from ..utils import written_aside
from ..utils._reading import reading

logger = logging.getLogger(__name__)

_KEY_FILE = "key.txt"


class Blocks:
    """Rows of a matrix that come in blocks, in memory or in a folder that survives a kill.

    Parameters
    ----------
    blocks : list of ndarray of int64
        Rows of each block; together every row once.
    folder : Path or None
        None keeps them in memory.
    key : str
        What the predictions depend on. Blocks found under another key are thrown away.
    """

    def __init__(self, blocks, folder=None, key=""):
        self.blocks, self._key = blocks, key
        self._folder = None if folder is None else Path(folder)
        self._in_memory, self._whole = {}, set()  # numbers of those whose checksum was compared
        n_rows = sum(map(len, blocks))
        # Of each row: its block, and its place in the block.
        self._block, self._place = np.empty(n_rows, np.intp), np.empty(n_rows, np.intp)
        for number, rows in enumerate(blocks):
            self._block[rows], self._place[rows] = number, np.arange(len(rows))
        if self._folder is not None:
            self._prepare_folder()

    def beside(self, name):
        """The same blocks of another matrix, kept in the same place, and removed with this one."""
        folder = None if self._folder is None else self._folder / name
        return Blocks(self.blocks, folder, self._key)

    def _prepare_folder(self):
        key, key_file = self._key, self._folder / _KEY_FILE
        if self._folder.exists() and not (
            key_file.is_file() and key_file.read_bytes() == key.encode()
        ):
            logger.info("%s holds blocks of another prediction; starting over", self._folder)
            shutil.rmtree(self._folder)
        if not self._folder.exists():
            with written_aside(key_file) as aside:
                aside.write_text(key)

    def missing(self):
        """Numbers of the blocks that are not there yet."""
        return [i for i in range(len(self.blocks)) if not self.has(i)]

    def put(self, number, values):
        """Keep a block: (n_rows of it, n_columns), float32."""
        if self._folder is None:
            self._in_memory[number] = values
            return
        try:
            save_checked(self._path(number), values)
        except OSError as error:
            raise FileError(f"{error} {self.hint}") from error

    @property
    def hint(self):
        """What to do when something could not be written."""
        return f"Free some space and run again: what was predicted is kept in {self._folder}."

    def read(self, start, stop):
        """Rows [start, stop) of the whole: (stop - start, n_columns), float32."""
        return self.take(np.arange(start, stop))

    def take(self, rows):
        """Rows of the whole: (len(rows), n_columns), float32."""
        numbers = np.unique(self._block[rows])
        out = np.empty((len(rows), self.load(numbers[0]).shape[1]), np.float32)
        for number in numbers:
            mine = self._block[rows] == number
            out[mine] = self.load(number)[self._place[rows[mine]]]
        return out

    def remove(self):
        """Throw all away, now that the result is written."""
        if self._folder is not None:
            shutil.rmtree(self._folder)

    def has(self, number):
        """Whether a block is there, as it was written."""
        if self._folder is None:
            return number in self._in_memory
        if not self._path(number).exists():
            return False
        try:
            self.load(number)
        except InputError:
            logger.warning("%s is damaged; it is predicted again", self._path(number))
            return False
        return True

    def load(self, number):
        """A block: (n_rows of it, n_columns), float32."""
        if self._folder is None:
            return self._in_memory[number]
        path = self._path(number)
        with reading(repr(str(path)), "is damaged: remove it, and it is predicted again"):
            values = load_checked(path, check=number not in self._whole)
            self._whole.add(number)
            return values

    def _path(self, number):
        return self._folder / f"{number:06d}.npy"


def key_of(*parts):
    """A hash, the same in each process, of arrays, numbers, words and fitted estimators."""
    return _Hasher("sha1").hash(parts)


class _Hasher(NumpyHasher):
    """joblib's, for tensors too: a tensor pickles with the address of its memory."""

    def __init__(self, hash_name):
        super().__init__(hash_name, coerce_mmap=True)

    def save(self, obj):
        import torch

        if isinstance(obj, torch.Tensor):
            obj = ("tensor", str(obj.dtype), obj.detach().cpu().float().numpy())
        super().save(obj)
