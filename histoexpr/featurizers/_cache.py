"""Features once: what a featurizer computed is kept, and found again by what it is of."""

import contextlib
import contextvars
import functools
import os
from numbers import Integral
from pathlib import Path

import numpy as np

from ..data import reading_order
from ..data._content import content_keys, is_told_by_reading
from ..exceptions import InputError, InputTypeError
from ._cache_folder import folder_store
from ._cache_memory import MemoryStore

MEMORY = "memory"
LIMIT_VARIABLE = "HISTOEXPR_FEATURE_CACHE_GB"
_MEMORY_BYTES, _FOLDER_BYTES = 2**29, 2**32
_PATCHES, _SPOTS = 1024, 2**14  # looked up at a time: in memory, and to be cut from images

_OFF = contextvars.ContextVar("histoexpr_uncached", default=False)


class FeatureCache:
    """Where a featurizer keeps its features, so that each patch is computed once.

    A feature is found by what decides it: the pixels (the checksum of the section image and the
    square that is cut, or the patch itself), the architecture, weights and settings of the
    featurizer, and the versions of what computes. It does not matter which spots stand beside
    it, so the folds of a cross-validation and the settings of a search share features.

    Parameters
    ----------
    folder : str, path or None, default=None
        Several processes, and later ones, share a folder; on one machine or, over a network,
        many. It is made when it does not exist. None keeps features in the memory of the process.
    max_bytes : int or None, default=None
        What they take at most; those not used for the longest time go first. None: 512 MiB in
        memory, 4 GiB in a folder.

    Raises
    ------
    ValueError
        If `max_bytes` is no int, or negative.
    TypeError
        If `folder` is no path.

    See Also
    --------
    clear_feature_cache : Forget what ``cache="memory"`` holds.

    Notes
    -----
    ``sklearn.base.clone`` gives the same object, so that the clones of a featurizer share it. A
    pickle holds the folder and the limit, no features: where a cache in memory is unpickled, it
    is empty, so processes (``n_jobs=2``) share features through a folder only. They share the
    work, too: none computes what another is just computing.

    What is in a folder was checked, row by row, before it is used; what is damaged is computed
    again, which a warning says once. A folder that is full or read-only costs nothing but the
    keeping, and a warning. Nothing that is read is ever executed.

    Examples
    --------
    >>> from histoexpr import FeatureCache, TimmFeaturizer
    >>> featurizer = TimmFeaturizer(cache=FeatureCache("features", max_bytes=10**9))
    """

    def __init__(self, folder=None, max_bytes=None):
        if not isinstance(folder, (str, os.PathLike, type(None))):
            raise InputTypeError(f"folder must be a path or None; got {folder!r}.")
        if max_bytes is not None and not (isinstance(max_bytes, Integral) and max_bytes >= 0):
            raise InputError(f"max_bytes must be an int, 0 or more; got {max_bytes!r}.")
        self.folder = None if folder is None else Path(folder).expanduser().absolute()
        self.max_bytes = max_bytes
        if folder is None:
            self._memory = MemoryStore(_MEMORY_BYTES if max_bytes is None else max_bytes)

    @property
    def n_bytes(self):
        """What the features take now, in bytes."""
        return self._store().n_bytes

    def clear(self):
        """Forget all features; of a folder, for all who use it."""
        self._store().clear()

    def _open(self):
        """Make the folder, or refuse it; see `FolderStore.open`."""
        if self.folder is not None:
            self._store().open()

    def _store(self):
        if self.folder is None:
            return self._memory
        max_bytes = _FOLDER_BYTES if self.max_bytes is None else self.max_bytes
        return folder_store(self.folder, max_bytes)

    def __sklearn_clone__(self):
        return self

    def __getstate__(self):
        folder = None if self.folder is None else str(self.folder)
        return {"folder": folder, "max_bytes": self.max_bytes}

    def __setstate__(self, state):
        self.__init__(**state)

    def __repr__(self):
        return "FeatureCache({folder!r}, max_bytes={max_bytes!r})".format(**self.__getstate__())


CACHE_CONSTRAINT = [str, os.PathLike, FeatureCache, None]


def clear_feature_cache():
    """Forget the features that ``cache="memory"`` keeps in this process.

    Notes
    -----
    They take at most 512 MiB, in each process. The environment variable
    ``HISTOEXPR_FEATURE_CACHE_GB`` sets another limit, in GiB; worker processes inherit it.
    """
    _memory().clear()


def check_cache(cache):
    """Make ready what a featurizer was given as ``cache``, at its fit.

    Parameters
    ----------
    cache : {"memory"}, str, path, FeatureCache or None

    Raises
    ------
    OSError
        If the folder cannot be made.
    ValueError
        If it holds something else.
    """
    found = _resolve(cache)
    if found is not None:
        found._open()


def features_once(cache, name, X, compute):
    """Features of images; only those that the cache does not have are computed.

    Parameters
    ----------
    cache : {"memory"}, str, path, FeatureCache or None
        None computes all.
    name : bytes or None
        The key of the featurizer; None for one whose features are not kept.
    X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
    compute : callable
        ``compute(X)`` gives the features of what is like `X`, (n, n_features) of float32.

    Returns
    -------
    ndarray of shape (n_spots, n_features), dtype float32
    """
    cache = None if name is None or _OFF.get() else _resolve(cache)
    if cache is None:
        return compute(X)
    store, told, features = cache._store(), is_told_by_reading(X), None
    for rows in _parts(X, _PATCHES if told else _SPOTS):
        block = _fill(store, name, np.asarray(X[rows]) if told else X[rows], compute)
        if len(block) == len(X):
            return block
        if features is None:
            features = np.empty((len(X), block.shape[1]), np.float32)
        features[rows] = block
    return features


@contextlib.contextmanager
def uncached():
    """Within this block no featurizer keeps, or finds, anything."""
    token = _OFF.set(True)
    try:
        yield
    finally:
        _OFF.reset(token)


def _parts(X, size):
    """Rows of X that are looked up together: slices of an array, else section by section."""
    if isinstance(X, np.ndarray):
        return [slice(i, i + _PATCHES) for i in range(0, len(X), _PATCHES)]
    order = reading_order(X)
    return [np.sort(order[i : i + size]) for i in range(0, len(X), size)]


def _fill(store, name, X, compute):
    keys = content_keys(X)
    if keys is None:
        return compute(X)
    row_of = {}  # the first of equal ones, section by section
    for row in reading_order(X).tolist():
        row_of.setdefault(keys[row], row)

    def compute_rows(missing):
        rows = np.sort([row_of[key] for key in missing])
        features = compute(X if len(rows) == len(X) else X[rows])
        features = np.ascontiguousarray(features, dtype=np.float32)
        return {keys[row]: own.tobytes() for row, own in zip(rows.tolist(), features)}

    found = store.fill(name, row_of, compute_rows)
    joined = bytearray().join(found[key] for key in keys)  # unlike bytes, it may be written to
    return np.frombuffer(joined, np.float32).reshape(len(keys), -1)


def _resolve(cache):
    if cache is None or isinstance(cache, FeatureCache):
        return cache
    return _memory() if cache == MEMORY else FeatureCache(cache)


@functools.cache
def _memory():
    """The cache of the process."""
    limit = os.environ.get(LIMIT_VARIABLE)
    try:
        return FeatureCache(max_bytes=None if limit is None else int(float(limit) * 2**30))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{LIMIT_VARIABLE} must be a number of GiB; got {limit!r}.") from error
