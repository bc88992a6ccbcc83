"""What a model says of itself: in the manifest of its file, and on its card."""

import re

import numpy as np
from sklearn.base import BaseEstimator

from .._inside import find_training_patches, parts_of
from ._checks import LOCAL
from ._classes import listed_name, own_name

_LONGEST = 300  # characters of a parameter


def describe(model):
    """A model in words and numbers, as JSON holds them.

    Parameters
    ----------
    model : estimator
        Fitted or not; what is not known is None or empty.

    Returns
    -------
    dict
        ``class``, ``steps`` (of a Pipeline), ``parameters``, ``genes``, ``units``, ``patches``
        (``shape`` in pixels, ``mpp`` and ``width_um`` of the median spot), ``backbones`` (name,
        architecture, SHA-256 of the weights, whether they were trained) and ``training``
        (``n_spots``, ``sections``, ``patients``, ``held_out``).
    """
    final = final_step(model)
    genes = getattr(final, "genes_", None)
    return {
        "class": name_of(model),
        "steps": [name_of(step) for _, step in getattr(model, "steps", [])],
        "parameters": _parameters(model),
        "genes": None if genes is None else [str(gene) for gene in genes],
        "units": getattr(final, "units_", None),
        "patches": _patches(model),
        "backbones": _backbones(model),
        "training": _training(final),
    }


def final_step(model):
    """The last step of a Pipeline, or the model itself."""
    return model.steps[-1][1] if hasattr(model, "steps") else model


def name_of(thing):
    """The name of an object's class, as a file has it."""
    return listed_name(type(thing)) or own_name(type(thing))


def _parameters(model):
    parameters = model.get_params(deep=True)
    return {
        name: _in_words(parameters[name])
        for name in sorted(parameters)
        if not isinstance(parameters[name], BaseEstimator)
        and name.rpartition("__")[2] not in ("steps", *LOCAL)
    }


def _in_words(value):
    if value is None or type(value) in (bool, int, str):
        return value
    text = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))  # the same text for the same model
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _patches(model):
    trained, _ = find_training_patches(model)
    if trained is None:
        return None
    mpp = None if trained.mpp is None else trained.mpp[1]
    return {"shape": list(trained.shape), "mpp": mpp, "width_um": trained.width_um}


def _backbones(model):
    found = []
    for part in parts_of(model):
        if getattr(part, "weights_hash_", None) is None:
            continue
        backbone = {
            "name": part.model_name,
            "architecture": part._spec.architecture,
            "weights_sha256": part.weights_hash_,
            "trained": part.trained_,
        }
        if backbone not in found:
            found.append(backbone)
    return found


def _training(final):
    known = getattr(final, "fitted_on_", {})
    trainer = getattr(final, "trainer_", None)
    held_out = getattr(trainer, "validation_groups_", ())
    return {
        **{name: known.get(name) for name in ("n_spots", "sections", "patients")},
        "held_out": np.asarray(held_out, dtype=str).tolist(),
    }
