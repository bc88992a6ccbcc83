"""With HISTOEXPR_FUZZ_SECONDS each test here goes on for so long, with new examples."""

import os
import time

import pytest

SECONDS = float(os.environ.get("HISTOEXPR_FUZZ_SECONDS", 0))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Call a test again and again; pytest calls it once where no time is given."""
    if not SECONDS:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pyfuncitem.obj(**arguments)
    return True
