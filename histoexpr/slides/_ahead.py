"""Patches read in threads while a model is busy with those before them."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..data._images import SectionImage

_CHUNK_BYTES = 2**22  # of patches read at a time by a thread
_KEPT = 2  # chunks that stay in memory behind the one that was asked for last


class ReadAhead(SectionImage):
    """A slide whose squares are read before they are asked for.

    It stands in for the slide as the section image of a ``SpotPatches``. What is asked for out of
    turn is read then and there: the order of questions decides the speed, never what is returned.

    Parameters
    ----------
    slide : Slide
    n_threads : int or None
        None: one a processor, from 2 to 8.
    """

    def __init__(self, slide, n_threads=None):
        super().__init__(slide.size, slide.name)
        self.mpp = slide.mpp
        self._slide = slide
        self._n_threads = n_threads or min(max(os.cpu_count() or 2, 2), 8)
        self._pool, self._order, self._windows = None, np.empty((0, 2)), {}

    @contextlib.contextmanager
    def reading(self, centres, blocks):
        """Read ahead within this context, and stop after it.

        Parameters
        ----------
        centres : ndarray of shape (n, 2), dtype float64
            Around which squares will be asked for.
        blocks : list of ndarray of int64
            In which order: rows of `centres`, each at most once.
        """
        self._order = centres[np.concatenate([*blocks, np.empty(0, np.intp)])]
        self._pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="histoexpr-slide")
        try:
            yield
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool, self._order, self._windows = None, np.empty((0, 2)), {}

    def cut(self, centres, sizes, out_px, fills):
        for centre, size, fill in zip(centres, sizes.tolist(), fills):
            # A featurizer may look at each point with several fields of view.
            key = size, out_px, *fill.tolist()
            window = self._windows.get(key) or _Window(self, size, out_px, fill)
            place = window.find(centre)
            if place is None:
                yield from self._slide.cut(centre[None], np.array([size]), out_px, fill[None])
            else:
                self._windows[key] = window
                yield window.take(place)

    def pixels(self):
        return self._slide.pixels()

    def same_as(self, other):
        return self is other or self._slide.same_as(other)


class _Window:
    """Squares of one size: those asked for last, and those to come."""

    def __init__(self, ahead, size, out_px, fill):
        self._order, self._pool, self._slide = ahead._order, ahead._pool, ahead._slide
        self._size, self._out_px, self._fill = size, out_px, fill
        self._n_ahead = 2 * ahead._n_threads
        self._chunk = max(1, _CHUNK_BYTES // (3 * out_px**2))
        self._next = 0
        self._chunks = {}
        self._lock = threading.Lock()

    def find(self, centre):
        """Where a point comes next in the order; None if it does not."""
        if self._next < len(self._order) and (self._order[self._next] == centre).all():
            return self._next
        places = np.flatnonzero((self._order == centre).all(axis=1))
        if not len(places):
            return None
        return int(places[0])

    def take(self, place):
        """The square at this place of the order, while those after it are read."""
        self._next = place + 1
        chunk, row = divmod(place, self._chunk)
        n_chunks = -(-len(self._order) // self._chunk)
        with self._lock:
            last = min(chunk + self._n_ahead, n_chunks - 1)
            for i in [i for i in self._chunks if not chunk - _KEPT <= i <= last]:
                self._chunks.pop(i).cancel()
            for i in range(chunk, last + 1):
                if i not in self._chunks:
                    self._chunks[i] = self._pool.submit(self._read, i)
            future = self._chunks[chunk]
        return future.result()[row]

    def _read(self, chunk):
        centres = self._order[chunk * self._chunk : (chunk + 1) * self._chunk]
        sizes, fills = np.full(len(centres), self._size), np.tile(self._fill, (len(centres), 1))
        return list(self._slide.cut(centres, sizes, self._out_px, fills))
