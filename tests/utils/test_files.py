"""Files that are either whole or not there."""

import os
import time

import pytest

from histoexpr.exceptions import InputError
from histoexpr.utils import written_aside


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "made" / "scores.csv"
    with written_aside(path) as aside:
        aside.write_text("old")
    with written_aside(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
        assert (aside.parent, aside.suffix, aside.name[0]) == (path.parent, ".csv", ".")
    assert path.read_text() == "new" and names(path.parent) == ["scores.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, ZeroDivisionError])
def test_a_block_that_fails_changes_nothing_and_leaves_nothing(tmp_path, error):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    with pytest.raises(error), written_aside(path) as aside:
        aside.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["scores.csv"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("HDF5")])
def test_what_cannot_be_written_is_an_oserror_that_names_the_file(tmp_path, error):
    path = tmp_path / "scores.csv"
    says = r"scores\.csv' cannot be written \((No space|HDF5)"
    with pytest.raises(OSError, match=says) as caught:
        with written_aside(path):
            raise error
    assert caught.value.__cause__ is error and names(tmp_path) == []


def test_places_that_cannot_hold_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for path in (tmp_path / "file" / "scores.csv", tmp_path / "folder"):
        with pytest.raises(OSError, match="cannot be written"), written_aside(path) as aside:
            aside.write_text("new")
    assert names(tmp_path) == ["file", "folder"] and names(tmp_path / "folder") == ["inside"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    with written_aside(tmp_path / "killed.csv") as aside:
        mark = aside.name
        aside.write_text("x")
    (tmp_path / "killed.csv").unlink()
    others = [".hidden", "own.csv", mark.replace("killed", "of a writer at work")]
    for name in (mark, *others):
        (tmp_path / name).write_text("x")
        an_hour_ago = time.time() - 3601
        if name != others[2]:
            os.utime(tmp_path / name, (an_hour_ago, an_hour_ago))
    with written_aside(tmp_path / "scores.csv") as aside:
        aside.write_text("new")
    assert names(tmp_path) == sorted([*others, "scores.csv"])
