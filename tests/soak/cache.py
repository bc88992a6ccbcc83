"""Eight processes on one cache of features, which is damaged and killed meanwhile."""

import tempfile

from cache_stress import stress

SECONDS = 180


def run(seconds=SECONDS):
    """As tests/featurizers/cache_stress.py, for longer."""
    with tempfile.TemporaryDirectory() as folder:
        found = stress(folder, n_processes=8, seconds=seconds)
    lost = found["wrong"] + found["failed"] + (not found["rows"])
    return {"tried": found["rows"], "lost": lost, **found}
