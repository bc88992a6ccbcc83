"""Hundreds of kills: as tests/reliability/test_kills.py, at other moments, and more of them."""

import tempfile
from pathlib import Path

import joblib
import killing
import numpy as np
import runs
import test_kills
import writers

SEED = 1
OF_A_WRITER, OF_A_TRAINING, OF_A_BACKBONE = 30, 30, 8


def same(one, two):
    """Whether two trainings ended with the same weights, history and best epoch."""
    (weights, *rest), (found, *rest_found) = map(joblib.load, (one, two))
    return rest == rest_found and all(np.array_equal(found[k], v) for k, v in weights.items())


def kill_writer(name, folder, rng):
    test_kills.kill_writer(name, OF_A_WRITER, rng, folder)


def kill_training(kind, folder, rng):
    whole = folder / "whole"
    seconds = killing.finish(runs.train, kind, None, whole)
    out = test_kills.kill_training(runs.train, seconds / 2, OF_A_TRAINING, rng, folder, kind)
    assert same(whole, out), kind


def kill_backbone(folder, rng):
    whole = folder / "whole.npy"
    seconds = killing.finish(runs.fit_with_backbone, None, whole)
    test_kills.kill_training(runs.fit_with_backbone, seconds, OF_A_BACKBONE, rng, folder)
    assert np.array_equal(np.load(folder / "resumed.npy"), np.load(whole))


def run():
    """Kill every writer and every kind of training; an AssertionError is a loss."""
    rng, kills, lost = np.random.default_rng(SEED), {}, {}
    parts = {name: (OF_A_WRITER, kill_writer, name) for name in writers.WRITERS}
    parts |= {f"training, {k}": (OF_A_TRAINING, kill_training, k) for k in runs.SETTINGS}
    parts["training of a backbone"] = OF_A_BACKBONE, kill_backbone
    for name, (n_kills, kill, *which) in parts.items():
        kills[name] = n_kills
        with tempfile.TemporaryDirectory() as folder:
            try:
                kill(*which, Path(folder), rng)
            except Exception as error:
                lost[name] = repr(error)
    return {"tried": sum(kills.values()), "lost": len(lost), "what": lost, "kills": kills}
