"""What the property tests share."""

import pytest


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """What takes "text" for a path writes here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
