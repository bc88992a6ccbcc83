"""Files that are either whole or not there."""

import contextlib
import os
import re
import time
import uuid
from pathlib import Path

from ..exceptions import FileError, HistoexprError, InputError, InputTypeError

_ABANDONED = re.compile(r"\.[0-9a-f]{32}\..+")
_ABANDONED_AFTER = 3600  # seconds in which a writer that lives has written again


@contextlib.contextmanager
def written_aside(path):
    """Give a temporary path beside ``path`` and move it there when the block succeeds.

    A reader never sees half a file: until the rename, ``path`` is what it was before. What was
    written has reached the disk before it takes the name, so a loss of power does not leave an
    empty file either.

    Parameters
    ----------
    path : str or Path
        Its folder is made when it does not exist. What writers that were killed left in the
        folder, an hour ago or earlier, is removed.

    Yields
    ------
    Path
        Write here; it ends as ``path`` does, for writers that look at the suffix.

    Raises
    ------
    OSError
        If it cannot be written, e.g. to a full disk; ``path`` is then as it was.
    ValueError, TypeError
        If ``path`` cannot name a file.
    """
    path = check_path(path)
    aside = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        yield aside
        to_disk(aside)
        os.replace(aside, path)
        to_disk(path.parent)
    except HistoexprError:
        raise
    except (OSError, RuntimeError) as error:  # HDF5 and torch meet a full disk by RuntimeError
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise FileError(
            f"{str(path)!r} cannot be written ({reason.rstrip(' .')}). Is the disk full, or the "
            "folder read-only?"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # of a folder that could not be made, for one
            aside.unlink(missing_ok=True)


def as_path(path):
    """A Path of what names a file or a folder; a TypeError where it names none."""
    try:
        return Path(path)
    except TypeError as error:
        raise InputTypeError(
            f"a file or folder is named by a str or a Path; got {path!r}."
        ) from error


def check_path(path):
    """A Path that names a file; a ValueError or TypeError where it cannot."""
    path = as_path(path)
    if not path.name or "\0" in str(path):
        raise InputError(f"{str(path)!r} cannot name a file; give the name of one.")
    return path


def to_disk(path):
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    if path.is_dir() and os.name != "posix":
        return  # only POSIX opens folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(folder):
    for entry in os.scandir(folder):
        if _ABANDONED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if time.time() - entry.stat().st_mtime > _ABANDONED_AFTER:
                    os.unlink(entry.path)
