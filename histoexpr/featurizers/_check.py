"""What may be given as ``featurizer=``."""

from sklearn.base import clone

from ..exceptions import InputTypeError
from ._timm import TimmFeaturizer


def check_featurizer(featurizer):
    """Turn what a method was given as ``featurizer`` into an object of its own.

    Parameters
    ----------
    featurizer : None, str or transformer
        None: X holds features. A str is the name of a timm model, with pretrained weights. A
        transformer of images (an object with ``fit`` and ``transform``) is cloned.

    Returns
    -------
    None or transformer, not fitted

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if featurizer is None:
        return None
    if isinstance(featurizer, str):
        return TimmFeaturizer(featurizer)
    transforms = hasattr(featurizer, "fit") and hasattr(featurizer, "transform")
    if isinstance(featurizer, type) or not transforms:
        raise InputTypeError(
            "featurizer must be None (X holds features), the name of a timm model such as "
            "'densenet121', or a transformer with fit and transform such as TimmFeaturizer() or "
            f"TextureFeaturizer(); got {featurizer!r}."
        )
    return clone(featurizer)
