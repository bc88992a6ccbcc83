"""Files that are either whole or not there."""

import contextlib
import os
import uuid
from pathlib import Path


@contextlib.contextmanager
def written_aside(path):
    """Give a temporary path beside ``path`` and move it there when the block succeeds.

    A reader never sees half a file: until the rename, ``path`` is what it was before.

    Parameters
    ----------
    path : str or Path
        Its folder is made when it does not exist.

    Yields
    ------
    Path
        Write here; it ends as ``path`` does, for writers that look at the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
