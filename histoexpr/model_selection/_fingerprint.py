"""What a fit depends on, in words and as a key: two fits of one key are the same fit."""

import hashlib
import json
import marshal
from pathlib import Path
from types import FunctionType

import joblib
import numpy as np

from ..data import SpotFeatures
from ..featurizers._weights import hash_file

# These move no result.
_NO_EFFECT = {"verbose", "n_jobs", "cache", "checkpoint_dir", "store_weights_in_pickle"}
_LONG = 20  # items of a list that are worth reading


def describe(value):
    """An estimator, or what is given to one, in words that JSON can hold.

    Parameters
    ----------
    value : object
        Parameters without effect on results (``verbose``, ``n_jobs``, ...) are left out. A file
        of weights is named by its content, a long list or an array by its length and content.

    Returns
    -------
    dict, list, str, int, float, bool or None
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if hasattr(value, "get_params") and not isinstance(value, type):
        parameters = value.get_params(deep=False)
        shown = {k: _parameter(k, v) for k, v in parameters.items() if k not in _NO_EFFECT}
        return {"class": _name(type(value)), "parameters": shown}
    if isinstance(value, (list, tuple)) and len(value) <= _LONG:
        return [describe(item) for item in value]
    if isinstance(value, (list, tuple, np.ndarray)):
        items = np.asarray(value).ravel()
        first = [str(item) for item in items[:3]]
        return {"length": len(items), "first": first, "hash": joblib.hash(np.asarray(value))}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, FunctionType) and "<" in value.__qualname__:
        return _describe_local(value)
    if isinstance(value, (type, FunctionType)):
        return _name(value)
    return {"class": _name(type(value)), "hash": joblib.hash(value)}


def key_of(*parts):
    """A key of 32 hexadecimal digits for things that `describe` can tell apart."""
    text = json.dumps([describe(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def data_key(images, target, spatial):
    """A key for the spots: pixels or features, counts, and where they are.

    Section images that are read from files count by path and checksum.

    Parameters
    ----------
    images : SpotPatches, SpotFeatures or array-like
    target : SpotTarget
    spatial : ndarray of shape (n_spots, 2) or None
    """
    images = vars(images) if isinstance(images, SpotFeatures) else images
    if isinstance(images, np.ma.MaskedArray):  # which joblib cannot hash
        images = np.asarray(images)
    for image in getattr(images, "section_images", {}).values():
        image.content_key(0)  # remembered, and then in the pickle of an image, which is hashed
    counts = target.matrix
    if hasattr(counts, "indptr"):
        counts = [counts.shape, counts.data, counts.indices, counts.indptr]
    described = [target.genes, target.positions, target.section, target.patient]
    return joblib.hash([images, counts, described, target.cell_type, spatial])


def _parameter(name, value):
    if name == "checkpoint_path" and value is not None and Path(value).is_file():
        return {"file": Path(value).name, "hash": hash_file(value)}
    return describe(value)


def _describe_local(function):
    """A lambda, or a function made in another: its name does not tell what it does."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    code = hashlib.sha256(marshal.dumps(function.__code__)).hexdigest()
    return {"function": _name(function), "code": code, "values": describe(cells)}


def _name(thing):
    return f"{thing.__module__}.{thing.__qualname__}"
