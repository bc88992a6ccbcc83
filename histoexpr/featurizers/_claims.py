"""Which process computes what, where several share a folder of features."""

import contextlib
import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Claims:
    """Says to other processes what this one is about to compute, so that they do something else.

    A claim is a lock on one byte of a file, which need not be there; the system takes it back
    when the process ends, however it ends. Claims save work and decide nothing: where there are
    none (Windows, some network folders, a folder that is read-only), everything is free.

    Parameters
    ----------
    path : Path
        The file; made when it is first needed.
    """

    def __init__(self, path):
        self._path = path
        self._file = None

    @contextlib.contextmanager
    def held(self, name, keys, most):
        """Hold some keys that no other process holds.

        Parameters
        ----------
        name : bytes, at least 8
            Of the featurizer.
        keys : list of bytes, at least 8 each
            Of what it is to compute.
        most : int
            How many to hold at most.

        Yields
        ------
        list of bytes
            From the front of `keys`; from their end, where another process is at the front.
        """
        file = self._open()
        if file is None:
            yield keys[:most]
            return
        byte = {key: _byte(name, key) for key in keys}
        front_is_free, taken = _take(file, byte[keys[0]]), []
        try:
            for key in keys if front_is_free else reversed(keys):
                if len(taken) == most:
                    break
                if _take(file, byte[key]):
                    taken.append(key)
            yield taken
        finally:
            with contextlib.suppress(OSError):
                for key in taken:
                    fcntl.lockf(file, fcntl.LOCK_UN, 1, byte[key])

    def _open(self):
        if self._file is None and fcntl is not None:
            # It stays open: closing any handle of a file gives up all locks of the process on it.
            with contextlib.suppress(OSError):
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        return self._file


def _byte(name, key):
    first, second = (int.from_bytes(part[:8], "little") for part in (name, key))
    return (first ^ second) >> 2  # of the 2^63 that a file may have


def _take(file, byte):
    """Whether the byte is free, and now ours."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):  # the two ways to say: another's
        return False
    except OSError:  # there are no locks in this folder
        return True
    return True
