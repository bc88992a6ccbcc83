"""Models are saved and loaded again and again: the same bits, and memory stays flat."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import small_models
from memory import Watch

import histoexpr

CYCLES, WARM_UP = 600, 60


def run(cycles=CYCLES, warm_up=WARM_UP):
    """Save, load and predict with one kind of model after the other."""
    warnings.simplefilter("ignore")
    images, features, adata = small_models.data()
    models = [(m.fit(features, adata), features) for m in small_models.of_features().values()]
    models += [(m.fit(images, adata), images) for m in small_models.of_images().values()]
    expected = [model.predict(X) for model, X in models]
    different, watch = 0, Watch(warm_up)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.histoexpr"
        for cycle in range(cycles):
            kind = cycle % len(models)
            model, X = models[kind]
            histoexpr.save(model, path)
            predicted = histoexpr.load(path).predict(X)
            different += not np.array_equal(predicted, expected[kind])
            watch.look()
    memory = watch.found()
    lost = different + memory["grew_too_much"]
    return {"tried": cycles, "lost": lost, "kinds_of_model": len(models), **memory}
