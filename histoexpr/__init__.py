"""histoexpr: gene expression from tissue images, as scikit-learn estimators.

Everything public is reachable from here and loaded at first use, so that
``import histoexpr`` costs nothing.
"""

import importlib

from ._version import __version__

_SUBMODULES = {
    "calibration",
    "data",
    "datasets",
    "exceptions",
    "featurizers",
    "io",
    "methods",
    "metrics",
    "model_selection",
    "nn",
    "plotting",
    "preprocessing",
    "report",
    "retrieval",
    "slides",
    "testing",
    "training",
    "utils",
}

_HOME = {
    "SpotFeatures": "data",
    "SpotPatches": "data",
    "finer_grid": "data",
    "open_slide": "data",
    "ExpressionTransformer": "preprocessing",
    "PatchAugment": "preprocessing",
    "SectionCenterer": "preprocessing",
    "StainNormalizer": "preprocessing",
    "ContextFeaturizer": "featurizers",
    "FeatureCache": "featurizers",
    "NeighborFeatures": "featurizers",
    "TextureFeaturizer": "featurizers",
    "TimmFeaturizer": "featurizers",
    "Trainer": "training",
    "SpotRetriever": "retrieval",
    "BaseExpressionRegressor": "base",
    "ContrastiveEnsemble": "methods",
    "ExpressionTargetRegressor": "methods",
    "GR2ST": "methods",
    "LinearProbe": "methods",
    "MclSTExp": "methods",
    "Reg2ST": "methods",
    "STco": "methods",
    "StInfer": "methods",
    "load": "io",
    "save": "io",
    "predict_slide": "slides",
}

__all__ = sorted(_SUBMODULES | set(_HOME)) + ["__version__"]


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
