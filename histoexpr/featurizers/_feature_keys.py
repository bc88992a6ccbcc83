"""What, besides the patch, decides a feature: as a key, the same in every process."""

import functools
import hashlib
import importlib.metadata
import json
from types import FunctionType

import numpy as np

from .._version import __version__
from ..utils._torch import resolve_device

_OWN = __name__.partition(".")[0]
_DECODERS = ("pillow", "tifffile", "imagecodecs", "openslide-python")
_NAMED = ("torch", "timm")  # packages whose functions their version tells


def timm_key(featurizer):
    """The key of a fitted TimmFeaturizer; None where its features are not to be kept.

    What was trained with a method is not: the weights are those of one fit, and so are features.
    """
    if featurizer.trainable or featurizer.trained_:
        return None
    return _key(
        featurizer,
        _NAMED,
        architecture=featurizer._spec.architecture,
        model_args=featurizer._spec.model_args,
        weights=featurizer.weights_hash_,
        data_config=featurizer.data_config_,
        pooling=featurizer.pooling,
        precision=featurizer.precision_,
        device=resolve_device(featurizer.device).type,
    )


def texture_key(featurizer):
    """The key of a fitted TextureFeaturizer."""
    return _key(
        featurizer,
        ("scikit-image", "scipy", "numpy"),
        features=featurizer.features,
        distances=np.asarray(featurizer.distances),
        levels=featurizer.levels,
    )


def context_key(context, featurizer):
    """The key of a fitted ContextFeaturizer for the field of view of one of its featurizers."""
    inner = getattr(featurizer, "_feature_key", lambda: None)()
    return None if inner is None else _key(context, (), turns=context.turns, inner=inner.hex())


def _key(featurizer, packages, **decides):
    """16 bytes; None for a class that is not ours, or for what has no name for good."""
    kind = type(featurizer)
    if kind.__module__.partition(".")[0] != _OWN:
        return None  # it may do anything
    decides |= {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "versions": [__version__, *map(_version, (*packages, *_DECODERS))],
    }
    try:
        text = json.dumps(decides, sort_keys=True, default=_plain)
    except TypeError:
        return None
    return hashlib.sha256(text.encode()).digest()[:16]


def _plain(value):
    """What JSON does not know, in words that mean the same tomorrow."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "<")
    if isinstance(value, (type, FunctionType)) and "<" not in name:
        if module.partition(".")[0] in _NAMED:
            return f"{module}.{name}"
    raise TypeError(value)


@functools.cache
def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
