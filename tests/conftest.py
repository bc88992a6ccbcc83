"""What several tests share. Tests need neither network nor weights; those on real sections read
HISTOEXPR_SHARED and skip, saying so, without it."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# "ci": the same few examples each time. "fuzz" (`make fuzz`): new ones each time, again and again
# until HISTOEXPR_FUZZ_SECONDS a test are used up.
FUZZ_SECONDS = float(os.environ.get("HISTOEXPR_FUZZ_SECONDS", 0))
_COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("ci", max_examples=15, derandomize=True, **_COMMON)
settings.register_profile("fuzz", max_examples=100, **_COMMON)
settings.load_profile("fuzz" if FUZZ_SECONDS else "ci")

# joblib's "multiprocessing" forks as tests/processes.py does, from a process without threads.
os.environ["JOBLIB_START_METHOD"] = "forkserver"

# Files that the tests write are right: no other process has to read them first. The tests on
# damaged and hostile files (tests/fuzz, test_hostile_files.py, test_apart.py) take this back.
os.environ["HISTOEXPR_TRUST_FILES"] = "1"

# A test that computes features twice compares what was computed twice, not one array with itself.
os.environ["HISTOEXPR_FEATURE_CACHE_GB"] = "0"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Call a test of hypothesis again and again; pytest calls it once where no time is given."""
    if not (FUZZ_SECONDS and hasattr(pyfuncitem.obj, "hypothesis")):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < end:
        pyfuncitem.obj(**arguments)
    return True


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and parity files."""
    folder = os.environ.get("HISTOEXPR_SHARED")
    if not folder:
        pytest.skip("real data: set HISTOEXPR_SHARED to the folder that holds it")
    return Path(folder)


@pytest.fixture(scope="session")
def cohort():
    """A small synthetic cohort: three patients, one section each."""
    from histoexpr.datasets import make_spatial_expression

    return make_spatial_expression(
        n_patients=3, grid=(8, 8), n_genes=30, mpp=2.0, out_px=32, random_state=0
    )
