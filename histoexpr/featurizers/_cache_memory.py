"""Features kept in memory: rows of bytes under keys, the least recently used forgotten first."""

import os
import threading
from collections import OrderedDict

_ENTRY_BYTES = 200  # that Python takes for an entry besides the features


class _Lock:
    """A lock of the process; a child does not inherit it held by a thread that it lacks."""

    def __init__(self):
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self):
        self._lock = threading.RLock()

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


LOCK = _Lock()  # of all stores: held while they look up and put away, never while one computes


class MemoryStore:
    """Features in this process.

    Parameters
    ----------
    max_bytes : int
        What it takes at most.
    """

    def __init__(self, max_bytes):
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._rows = OrderedDict()

    def fill(self, name, keys, compute):
        """The features of some keys; what is not there is computed, in one go.

        Parameters
        ----------
        name : bytes
            Of the featurizer.
        keys : iterable of bytes
        compute : callable
            ``compute(keys)`` returns a dict of key to the bytes of its features.

        Returns
        -------
        dict of bytes to bytes
        """
        found = self.get(name, keys)
        missing = [key for key in keys if key not in found]
        if missing:
            new = compute(missing)
            self.put(name, new)
            found.update(new)
        return found

    def get(self, name, keys):
        """Those of the keys that are there: a dict of key to bytes."""
        found = {}
        with LOCK:
            for key in keys:
                row = self._rows.get(name + key)
                if row is not None:
                    self._rows.move_to_end(name + key)
                    found[key] = row
        return found

    def put(self, name, rows):
        """Keep a dict of key to bytes, as far as there is room."""
        with LOCK:
            for key, row in rows.items():
                if name + key not in self._rows:
                    self.n_bytes += len(row) + _ENTRY_BYTES
                self._rows[name + key] = row
            while self.n_bytes > self.max_bytes:
                self.n_bytes -= len(self._rows.popitem(last=False)[1]) + _ENTRY_BYTES

    def clear(self):
        """Forget everything."""
        with LOCK:
            self._rows.clear()
            self.n_bytes = 0
