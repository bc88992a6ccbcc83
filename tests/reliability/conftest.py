"""With HISTOEXPR_FUZZ_SECONDS each property test goes on for so long, with new examples."""

import time

import pytest
from contract import FUZZ_SECONDS


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Call a test again and again; pytest calls it once where no time is given."""
    if not (FUZZ_SECONDS and hasattr(pyfuncitem.obj, "hypothesis")):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < end:
        pyfuncitem.obj(**arguments)
    return True


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """What takes "text" for a path writes here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
