"""The same fits in other processes: the same bits with as many threads, 1e-5 with others."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5
# Each with another order of sets of str.
RUNS = {"first": ("1", "1"), "again": ("1", "2"), "two threads": ("2", "3")}


def predict_all(folder):
    """Fit each kind of model; write what it predicts."""
    import small_models

    images, features, adata = small_models.data()
    kinds = [(name, m, features) for name, m in small_models.of_features().items()]
    kinds += [(name, m, images) for name, m in small_models.of_images().items()]
    for name, model, X in kinds:
        np.save(Path(folder) / f"{name}.npy", model.fit(X, adata).predict(X))


def run():
    """Fit in three processes, and compare."""
    different, largest, n_models = [], 0.0, 0
    with tempfile.TemporaryDirectory() as root:
        for name, (threads, hashes) in RUNS.items():
            folder = Path(root) / name
            folder.mkdir()
            environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": hashes}
            code = f"import processes; processes.predict_all({str(folder)!r})"
            subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment,
                           check=True)  # fmt: skip
        for path in sorted((Path(root) / "first").glob("*.npy")):
            first, again, threads = (np.load(Path(root) / name / path.name) for name in RUNS)
            difference = float(np.abs(first - threads).max())
            n_models, largest = n_models + 1, max(largest, difference)
            if not np.array_equal(first, again) or difference > TOLERANCE:
                different.append(f"{path.stem}: {difference:.1e}")
    return {
        "tried": n_models,
        "lost": len(different),
        "different": different,
        "largest_difference_with_other_threads": largest,
    }
