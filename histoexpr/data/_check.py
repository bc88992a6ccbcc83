"""What may stand for images, and whether images and expression are of the same spots."""

import dataclasses

import numpy as np

from .. import _keys
from ..exceptions import InputError
from ..utils._sklearn import num_samples
from . import _patch_checks as checks
from ._features import SpotFeatures
from ._patches import SpotPatches
from ._target import check_one_patient_a_section


def check_images(X, patch_shape=None):
    """Validate what may stand for images: a ``SpotPatches``, or an array of patches.

    Parameters
    ----------
    X : SpotPatches or array-like of shape (n_spots, height, width, channels), dtype uint8
        Grey, (n_spots, height, width) or with one channel, is repeated to three channels; RGBA
        is laid on white.
    patch_shape : tuple (height, width) or None, default=None
        What the patches must measure, in pixels; None takes any size.

    Returns
    -------
    SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        ``X`` itself where nothing had to be converted.

    Raises
    ------
    ValueError
        If there are no patches, they differ in size, or their size, dtype or channel count is
        another.
    """
    if not isinstance(X, SpotPatches):
        X = checks.check_patch_array(X)
    elif len(X) == 0:
        raise InputError("X holds no spots (a SpotPatches of length 0).")
    found = tuple(X.shape[1:3])
    if patch_shape not in (None, found):
        raise InputError(
            f"the patches are {found[0]} x {found[1]} px, but fit saw {patch_shape[0]} x "
            f"{patch_shape[1]} px: their scale would differ. Cut them with the same patch_size "
            "and out_px."
        )
    return X


def reading_order(images):
    """The rows of images, section by section, so that each section image is opened once.

    Parameters
    ----------
    images : SpotPatches or ndarray of shape (n_spots, height, width, 3)

    Returns
    -------
    ndarray of shape (n_spots,), dtype int64
    """
    if not isinstance(images, SpotPatches):
        return np.arange(len(images))
    return np.argsort(images._source, kind="stable")


def carried(X, name):
    """What X knows of its spots, e.g. ``section``: None for plain arrays and data frames.

    A data frame may have a *feature* of that name, so only types that are ours are asked.
    """
    return getattr(X, name) if isinstance(X, (SpotPatches, SpotFeatures)) else None


def completed(target, X):
    """A SpotTarget with the section, patient and positions that only X knows."""
    known = {
        name: carried(X, name)
        for name in (_keys.SECTION, _keys.PATIENT, "positions")
        if getattr(target, name) is None
    }
    whole = dataclasses.replace(target, **known)
    check_one_patient_a_section(whole.section, whole.patient)
    return whole


def check_same_spots(X, target):
    """Refuse an X and a target that are not row by row the same spots.

    Parameters
    ----------
    X : SpotPatches, SpotFeatures or array-like
        Arrays know nothing of their spots but the number.
    target : SpotTarget

    Raises
    ------
    ValueError
        If lengths differ, or section, patient or positions of a row.
    """
    n_spots = num_samples(X)
    if n_spots != len(target):
        raise InputError(
            f"X has {n_spots} spots and y has {len(target)}: row i of both must be the same "
            "spot. Subset both with the same index before fit or score."
        )
    for name in (_keys.SECTION, _keys.PATIENT, "positions"):
        of_X, of_target = carried(X, name), getattr(target, name)
        if of_X is None or of_target is None or np.array_equal(of_X, of_target):
            continue
        if name == _keys.SECTION and set(of_X.tolist()) == {checks.ONE_SECTION}:
            if len(np.unique(of_target)) == 1:
                continue  # patches of one section may go without its name
            raise InputError(
                f"X names no sections, but y.obs has {len(np.unique(of_target))}: give the "
                "SpotPatches section=, so that a section is seen as one."
            )
        row = np.flatnonzero((of_X != of_target).reshape(n_spots, -1).any(axis=1))[0]
        raise InputError(
            f"the rows of X and y are not the same spots: row {row} has {name} {of_X[row]} in X "
            f"and {of_target[row]} in y.obs. Subset and order both alike."
        )
