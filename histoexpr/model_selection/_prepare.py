"""Estimators and what they are fitted on: images, or features that several of them share."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import get_tags

from .. import _keys
from .._featurized import FeaturizerMixin
from .._spots import seeded
from ..data import SpotFeatures, SpotPatches, check_images
from ..exceptions import InputError
from ..featurizers import (
    ContextFeaturizer,
    NeighborFeatures,
    TextureFeaturizer,
    TimmFeaturizer,
    check_featurizer,
)
from ..methods import ExpressionTargetRegressor
from ..utils._validation import as_array


def holds_features(images):
    """Whether X has rows of features, not images."""
    if isinstance(images, SpotPatches):
        return False
    return len(images.shape if hasattr(images, "shape") else as_array(images, "X").shape) == 2


def with_places(images, features, target, spatial):
    """Features that know of their spots what the images or the AnnData know.

    Parameters
    ----------
    images : SpotPatches, SpotFeatures or array-like
    features : array-like of shape (n_spots, n_features)
    target : SpotTarget
        Completed by the images.
    spatial : ndarray of shape (n_spots, 2) or None

    Returns
    -------
    SpotFeatures
    """
    own = getattr(images, _keys.SPATIAL, None)
    return SpotFeatures(
        features,
        spatial=spatial if own is None else own,
        positions=target.positions,
        section=target.section,
        patient=target.patient,
    )


def shared_featurizer(featurizer, methods):
    """The featurizer for what takes features: the one given, else the first that a method has.

    Parameters
    ----------
    featurizer : str, transformer or None
    methods : dict of str to Method

    Returns
    -------
    transformer or None
    """
    if featurizer is not None:
        return check_featurizer(featurizer)
    own = (_own_featurizer(method.estimator) for method in methods.values())
    return next((each for each in own if each is not None), None)


def prepare(name, estimator, *, images, featurizer, expression, random_state):
    """A clone to be fitted, and the featurizer of its X.

    Parameters
    ----------
    name : str
        For the message.
    estimator : estimator
        What it leaves at None is filled in: ``expression``, ``random_state``.
    images : SpotPatches, SpotFeatures or array-like
    featurizer : transformer or None
        For an estimator that takes features.
    expression : ExpressionTransformer
    random_state : int

    Returns
    -------
    estimator : estimator
    featurizer : transformer or None
        None: X is the images as they are.

    Raises
    ------
    ValueError
        If the estimator takes features, and there is no featurizer to compute them.
    """
    model = seeded_as_one(clone(estimator), random_state)
    fill_expression(model, expression)
    if holds_features(images):
        return model, None
    own = _own_featurizer(model)
    if featurizer is not None:
        featurizer = seeded(clone(featurizer), random_state)
    if takes_features(model):
        if featurizer is None:
            raise InputError(
                f"{name} takes features, but X holds images of shape {tuple(images.shape)}: give "
                "benchmark a featurizer (featurizer='densenet121', TimmFeaturizer(...), "
                "TextureFeaturizer()), or X as SpotFeatures."
            )
        if not getattr(featurizer, "trainable", False):
            return model, featurizer
        if "featurizer" in model.get_params(deep=False):
            return model.set_params(featurizer=featurizer), None
        return model, featurizer.set_params(trainable=False)
    if own is None or getattr(own, "trainable", False):
        return model, None
    return model.set_params(featurizer=None), seeded(own, random_state)


def takes_features(model):
    """Whether X of an estimator is features, not images: what meets X first says so."""
    if hasattr(model, "steps"):
        return takes_features(model.steps[0][1])
    if isinstance(model, ExpressionTargetRegressor):
        return takes_features(model.regressor)
    if hasattr(model, "estimator"):
        return takes_features(model.estimator)
    return get_tags(model).input_tags.two_d_array


def learns(featurizer):
    """Whether features depend on the spots of fit, and so have to be computed for each fold."""
    if isinstance(featurizer, (TimmFeaturizer, TextureFeaturizer)):
        return False
    if isinstance(featurizer, (ContextFeaturizer, NeighborFeatures)):
        inner = check_featurizer(featurizer.featurizer)
        return inner is not None and learns(inner)
    return get_tags(featurizer).requires_fit


def compute_features(featurizer, images, train):
    """Features of all spots by a featurizer that is fitted on the training spots.

    Parameters
    ----------
    featurizer : transformer
    images : SpotPatches or uint8 array of shape (n_spots, height, width, 3)
    train : ndarray of shape (n_train,), dtype int64, or None
        None for one that learns nothing.

    Returns
    -------
    ndarray of shape (n_spots, n_features), dtype float32
    """
    images = check_images(images)
    fitted = clone(featurizer).fit(images if train is None else images[train])
    return np.asarray(fitted.transform(images), dtype=np.float32)


def seeded_as_one(model, random_state):
    """Seed what is unseeded, and leave to an estimator with a seed what is inside it."""
    parameters = model.get_params(deep=False)
    if "random_state" in parameters:
        unset = parameters["random_state"] is None
        return model.set_params(random_state=random_state) if unset else model
    for inner in [step for _, step in getattr(model, "steps", ())] or parameters.values():
        if hasattr(inner, "get_params") and not isinstance(inner, type):
            seeded_as_one(inner, random_state)
    return model


def fill_expression(model, expression, replace=False):
    """Give the estimator that meets the AnnData an expression, where it has none."""
    owner = model
    while "expression" not in owner.get_params(deep=False):
        if hasattr(owner, "steps"):
            owner = owner.steps[-1][1]
        elif hasattr(owner, "estimator"):
            owner = owner.estimator
        else:
            return  # an estimator of someone else's, which may do without
    if replace or owner.expression is None:
        owner.set_params(expression=clone(expression))


def _own_featurizer(model):
    """A clone of what an estimator has as ``featurizer``, a name as it would take it; or None."""
    if isinstance(model, FeaturizerMixin):
        return model._check_featurizer()
    return check_featurizer(model.get_params(deep=False).get("featurizer"))
