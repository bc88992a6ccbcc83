"""A thousand times: fit, predict, throw away. Memory stays flat, predictions the same."""

import warnings

import numpy as np
import small_models
from memory import Watch
from sklearn.base import clone

CYCLES, WARM_UP = 1000, 100


def run(cycles=CYCLES, warm_up=WARM_UP):
    """Fit and predict with one kind of model after the other."""
    warnings.simplefilter("ignore")
    images, features, adata = small_models.data()
    models = [(model, features) for model in small_models.of_features().values()]
    models += [(model, images) for model in small_models.of_images().values()]
    first, different, watch = {}, 0, Watch(warm_up)
    for cycle in range(cycles):
        turn, kind = divmod(cycle, len(models))
        model, X = models[kind]
        # Other spots each turn, until after seven they are the same again.
        rows = np.flatnonzero(np.arange(len(X)) % 7 != turn % 7)
        predicted = clone(model).fit(X[rows], adata[rows]).predict(X)
        before = first.setdefault((kind, turn % 7), predicted)
        different += not np.array_equal(before, predicted)
        watch.look()
    memory = watch.found()
    return {
        "tried": cycles,
        "lost": different + memory["grew_too_much"],
        "kinds_of_model": len(models),
        "different_predictions": different,
        **memory,
    }
