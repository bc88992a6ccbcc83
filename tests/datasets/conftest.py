"""What the tests of readers share: a drawn section, and its folder as Space Ranger writes it."""

import pytest
from drawn import draw, write_visium


@pytest.fixture(scope="module")
def drawn():
    return draw()


@pytest.fixture
def outs(tmp_path, drawn):
    return write_visium(tmp_path / "S1", drawn)
