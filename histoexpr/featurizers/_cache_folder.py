"""Features kept in a folder that several processes, and later ones, share.

A block of features is a file that is written aside, moved to its name and never changed: whoever
reads sees all of it or nothing, and there is no lock to be left behind. SQLite would need locks
that network folders do not keep.
"""

import contextlib
import functools
import logging
import os
import re
import time
import uuid
import warnings
from collections import defaultdict

from ..exceptions import FileError, InputError
from ..utils import name_some, written_aside
from ._cache_block import Block, DamagedError, encode
from ._cache_memory import LOCK, MemoryStore
from ._claims import Claims

logger = logging.getLogger(__name__)

_MARK = "CACHEDIR.TAG"  # tells backup programs to leave the folder out
_MARK_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Features of histoexpr, computed once. The folder may be removed at any time.
"""
_CLAIMS = "claims"
_BLOCK = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}\.features")
_ASIDE = re.compile(rf"\.[0-9a-f]{{32}}\.({_BLOCK.pattern}|{re.escape(_MARK)})")
_ABANDONED = 3600  # seconds after which a file written aside belongs to a process that was killed
_SMALL, _MANY = 2**20, 16  # bytes of a block, and blocks, that are worth to be made one
# Rows are computed, and written, so many at a time, or what takes so many seconds; towards the end
# fewer, so that processes which share the work end together.
_LEAST_ROWS, _FIRST_ROWS, _MOST_ROWS, _SECONDS = 16, 64, 1024, 10.0
_POLL, _PATIENCE = 0.05, 60.0  # seconds
_SPARE_BYTES = 2**28


@functools.cache
def folder_store(folder, max_bytes):
    """The one FolderStore of the process for a folder: what it knows and said is known once."""
    return FolderStore(folder, max_bytes)


class FolderStore:
    """Features in a folder.

    Parameters
    ----------
    folder : Path
    max_bytes : int
        What the blocks take at most; those not used for the longest time are removed first.
    """

    def __init__(self, folder, max_bytes):
        self.folder, self.max_bytes = folder, max_bytes
        self._blocks = {}  # file name: Block, or None for one that is not to be read
        self._where = defaultdict(dict)  # name of a featurizer: {key: file name}
        self._said = set()
        self._claims = Claims(folder / _CLAIMS)
        self._unwritten = MemoryStore(_SPARE_BYTES)

    def open(self):
        """Make the folder, or make sure that it is ours.

        Raises
        ------
        OSError
            If it cannot be made.
        ValueError
            If it holds something else.

        Warns
        -----
        UserWarning
            If it cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            names = os.listdir(self.folder)
        except OSError as error:
            raise FileError(
                f"The cache folder {str(self.folder)!r} cannot be made or opened: {error}. Give "
                "one that can be written to, or cache='memory', or cache=None."
            ) from error
        mark = self.folder / _MARK
        if _MARK in names and mark.read_bytes() == _MARK_TEXT.encode():
            return
        foreign = [n for n in names if n not in (_MARK, _CLAIMS) and not _is_ours(n)]
        if foreign:
            raise InputError(
                f"cache={str(self.folder)!r} is no folder of features: it holds "
                f"{name_some(sorted(foreign))}. Give a new or an empty one."
            )
        try:
            with written_aside(mark) as aside:
                aside.write_bytes(_MARK_TEXT.encode())
        except OSError as error:
            self._say_unwritten(error)

    def fill(self, name, keys, compute):
        """As of MemoryStore, but what other processes compute meanwhile is taken from them."""
        found, last_new = self.get(name, keys), time.monotonic()
        in_time = _FIRST_ROWS
        while missing := [key for key in keys if key not in found]:
            most = min(in_time, max(len(missing) // 4, _FIRST_ROWS))
            with self._claims.held(name, missing, most) as claimed:
                if time.monotonic() > last_new + _PATIENCE:
                    claimed = missing[:most]  # who holds them is stopped, or too slow
                new = self.get(name, claimed)  # what another finished since we looked
                rest = [key for key in claimed if key not in new]
                if rest:
                    started = time.monotonic()
                    computed = compute(rest)
                    speed = len(rest) / max(time.monotonic() - started, 1e-6)
                    in_time = int(min(max(speed * _SECONDS, _LEAST_ROWS), _MOST_ROWS))
                    self.put(name, computed)
                    new.update(computed)
            if not claimed:
                time.sleep(_POLL)
                new = self.get(name, missing)
            if new:
                found.update(new)
                last_new = time.monotonic()
        return found

    def get(self, name, keys):
        """Those of the keys that are there and whole: a dict of key to bytes."""
        found = self._unwritten.get(name, keys)
        with LOCK:
            self._look(name)
            wanted = defaultdict(list)
            for key in keys:
                if key in self._where[name] and key not in found:
                    wanted[self._where[name][key]].append(key)
            for file, own in wanted.items():
                with self._dropped_if_damaged(file, name):
                    found.update(self._blocks[file].read(own))
                with contextlib.suppress(OSError):
                    os.utime(self.folder / file)  # used now: among the last to go
        return found

    def put(self, name, rows):
        """Keep a dict of key to bytes, as far as there is room; never an error."""
        with LOCK:
            try:
                small = self._small_blocks(name)
                together = {**self._rows_of(small, name), **rows}
                n_rows = max(1, self.max_bytes // 4 // len(next(iter(rows.values()))))
                keys = list(together)
                for start in range(0, len(keys), n_rows):
                    part = {key: together[key] for key in keys[start : start + n_rows]}
                    self._write(name, encode(name, part))
                self._remove(small)
            except OSError as error:
                self._say_unwritten(error)
                self._unwritten.put(name, rows)

    def clear(self):
        """Remove all blocks."""
        with LOCK:
            self._unwritten.clear()
            self._remove([file for file, _ in self._files() if _BLOCK.fullmatch(file)])

    @property
    def n_bytes(self):
        """What the blocks take now."""
        return sum(status.st_size for _, status in self._files())

    def _look(self, name):
        """Take note of the blocks of a featurizer that came or went."""
        prefix = name.hex()
        try:
            files = {file for file in os.listdir(self.folder) if _BLOCK.fullmatch(file)}
        except OSError:
            files = set()
        for file in self._blocks.keys() - files:
            self._forget(file)
        for file in files - self._blocks.keys():
            if file.startswith(prefix):
                with self._dropped_if_damaged(file, name):
                    block = self._blocks[file] = Block(self.folder / file, name)
                    self._where[name].update(dict.fromkeys(block.keys, file))

    @contextlib.contextmanager
    def _dropped_if_damaged(self, file, name):
        """Remove a block that turns out to be damaged; one that is gone is none."""
        try:
            yield
        except FileNotFoundError:
            self._forget(file)
        except DamagedError as error:
            self._forget(file)
            self._blocks[file] = None
            self._remove([file])
            self._say(
                "damaged",
                f"Features kept in {str(self.folder)!r} are damaged ({file}: {error}). They are "
                "not used but computed again. Further damage is not reported.",
            )

    def _forget(self, file):
        block = self._blocks.pop(file, None)
        where = self._where[bytes.fromhex(file[:32])]
        for key in block.keys if block else ():
            if where.get(key) == file:
                del where[key]

    def _write(self, name, block):
        if len(block) > self.max_bytes:
            return
        self._make_room(len(block))
        with written_aside(self.folder / f"{name.hex()}-{uuid.uuid4().hex}.features") as aside:
            aside.write_bytes(block)

    def _make_room(self, n_bytes):
        files = sorted(self._files(), key=lambda pair: pair[1].st_mtime_ns)
        left = sum(status.st_size for _, status in files)
        for file, status in files:
            abandoned = file[0] == "." and status.st_mtime < time.time() - _ABANDONED
            if abandoned or (left + n_bytes > self.max_bytes and file[0] != "."):
                self._remove([file])
                left -= status.st_size

    def _files(self):
        """Names and status of the blocks, and of what is, or was, being written aside."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if _is_ours(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((entry.name, entry.stat()))
        return found

    def _small_blocks(self, name):
        """Blocks that are to become one with the next, so that they do not become too many."""
        prefix = name.hex()
        small = [f for f, s in self._files() if f.startswith(prefix) and s.st_size < _SMALL]
        return small if len(small) >= _MANY else []

    def _rows_of(self, files, name):
        rows = {}
        self._look(name)
        for file in files:
            block = self._blocks.get(file)
            if block is not None:
                with self._dropped_if_damaged(file, name):
                    rows.update(block.read(block.keys))
        return rows

    def _remove(self, files):
        for file in files:
            with contextlib.suppress(OSError):
                os.unlink(self.folder / file)

    def _say_unwritten(self, error):
        self._say(
            "unwritten",
            f"Features cannot be kept in {str(self.folder)!r}: {error}. They are computed, and "
            "kept in the memory of this process only. Free some space there, make it writable, "
            "or give another folder as cache=.",
        )

    def _say(self, what, message):
        if what not in self._said:
            self._said.add(what)
            warnings.warn(message, stacklevel=2)


def _is_ours(file):
    return bool(_BLOCK.fullmatch(file) or _ASIDE.fullmatch(file))
