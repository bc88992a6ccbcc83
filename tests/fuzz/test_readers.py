"""Every file that the library reads, changed at random.

Each time a right result comes out, or an exception of this library's family: never a crash, a
hang, much memory (here, or in the process that reads first), or a change to a file.
"""

import os
import random
import resource
import shutil
import signal
import warnings

import pytest
from formats import OTHERS, SECTIONS, SINGLE, Zarr, check_section
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import changed

from histoexpr.exceptions import HistoexprError

FUZZING = bool(float(os.environ.get("HISTOEXPR_FUZZ_SECONDS", 0)))
SEEDS = st.integers(0, 2**63)
MOST_SECONDS, MOST_BYTES = 20, 2**30


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """A folder with right files of a kind."""
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", "0.125")
    monkeypatch.delenv("HISTOEXPR_TRUST_FILES")
    if request.param is Zarr:
        pytest.importorskip("spatialdata", reason="reading SpatialData needs the extra spatialdata")
    folder = tmp_path / "files"
    folder.mkdir()
    request.param().write(folder)
    return folder


def files_in(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def most_memory():
    """The most bytes that this process, and any of those it started, have taken so far."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return [1024 * resource.getrusage(who).ru_maxrss for who in whose]


def attempt(read, *args):
    """What is read, or None where it is refused in words; within bounds of time and memory."""

    def too_long(*_):
        raise AssertionError(f"it took more than {MOST_SECONDS} seconds of computing")

    before, before_apart = most_memory()
    signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(*args)
    except HistoexprError as error:
        assert 15 < len(str(error)) < 3000
        assert isinstance(error, (ValueError, TypeError, OSError, ImportError))
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        now, apart = most_memory()
        assert now - before < MOST_BYTES, f"it took {now - before:,} bytes"
        # A process starts with what its parent takes, as Linux counts it.
        assert apart <= max(now, before_apart, MOST_BYTES), f"apart, it took {apart:,} bytes"


def try_changed(folder, seed, attempt_it, names=None):
    """Change one of the files, read, see that no file was touched, and put it back."""
    rng = random.Random(seed)
    right = files_in(folder)
    paths = [path for path in right if names is None or path.name in names]
    path = rng.choice(paths)
    try:
        changed(path, rng)
        before = files_in(folder)
        attempt_it(path)
        assert files_in(folder) == before
    finally:
        path.write_bytes(right[path])


def of(kinds):
    """The folder of each kind, and how it is read."""
    parts = [pytest.param(kind, kind(), id=kind.__name__) for kind in kinds]
    return pytest.mark.parametrize("folder, kind", parts, indirect=["folder"])


def few(n):
    """So many examples in `make test`; in `make fuzz` the time decides."""
    return settings(max_examples=50 if FUZZING else n)


@of(SECTIONS)
@few(10)
@given(seed=SEEDS)
def test_sections(folder, kind, seed):
    def read(_):
        return attempt(lambda: check_section(*kind.read(folder)))

    try_changed(folder, seed, read, getattr(kind, "files", None))


@of([Zarr])
@few(4)
@given(seed=SEEDS)
@pytest.mark.filterwarnings("ignore")
def test_stores(folder, kind, seed):
    try_changed(folder, seed, lambda _: attempt(lambda: check_section(*kind.read(folder))))


@of(SINGLE)
@few(30)
@given(seed=SEEDS)
def test_pictures_and_slides(folder, kind, seed):
    try_changed(folder, seed, lambda path: attempt(kind.read, folder, path.name))


@of(OTHERS)
@few(10)
@given(seed=SEEDS)
def test_results(folder, kind, seed):
    try_changed(folder, seed, lambda _: attempt(kind.read, folder))
    shutil.rmtree(folder.parent / "maps", ignore_errors=True)
