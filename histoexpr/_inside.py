"""What is inside a fitted model: its parts, and the record of its training patches."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .featurizers import ContextFeaturizer, TrainingPatches


def find_training_patches(model):
    """The record of the training patches in a fitted estimator, at any depth.

    Parameters
    ----------
    model : estimator
        Fitted.

    Returns
    -------
    trained : TrainingPatches or None
    before : list of transformer
        What changes images before they come to the estimator that keeps the record.
    """
    trained, before, _ = find_featurizer(model)
    return trained, before


def find_featurizer(model):
    """As `find_training_patches`, and the featurizer that keeps the record, or None."""
    own = _own_record(model)
    if own is not None:
        return own, [], model
    inner = _estimators_in(model)
    for number, estimator in enumerate(inner):
        trained, before, featurizer = find_featurizer(estimator)
        if trained is not None:
            earlier = inner[:number] if isinstance(model, Pipeline) else []
            return trained, earlier + before, featurizer
    return None, [], None


def _own_record(model):
    record = vars(model).get("training_patches_")
    if isinstance(record, TrainingPatches):
        return record
    if isinstance(model, ContextFeaturizer) and hasattr(model, "featurizers_"):
        record = getattr(model.featurizers_[0], "training_patches_", None)
        if record is not None and record.mpp is not None:
            wider = model.fields_of_view[0]  # than the patches it is given
            record = replace(record, mpp=tuple(side / wider for side in record.mpp))
        return record
    return None


def _estimators_in(model):
    """The estimators in an estimator, a Pipeline's in their order; fitted ones first."""
    if isinstance(model, Pipeline):
        found = model.named_steps.values()
    else:
        names = sorted(vars(model), key=lambda name: not name.endswith("_"))
        found = map(vars(model).get, names)
    return [estimator for estimator in found if isinstance(estimator, BaseEstimator)]


def parts_of(thing, seen=None):
    """All objects of this library and of scikit-learn in a fitted model, each once."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (torch.nn.Module, np.ndarray)):
        return
    seen.add(id(thing))
    if isinstance(thing, dict):
        inside = thing.values()
    elif isinstance(thing, (list, tuple)):
        inside = thing
    elif type(thing).__module__.partition(".")[0] in ("histoexpr", "sklearn"):
        yield thing
        inside = getattr(thing, "__dict__", {}).values()
    else:
        return
    for part in inside:
        yield from parts_of(part, seen)
