"""Folds inside the training spots: what is chosen in a fit is chosen on groups left out."""

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from . import _keys
from ._spots import held_out_groups
from .exceptions import InputError


def training_folds(target, n_splits, seed, spatial=None):
    """Folds that leave out whole groups of the training spots.

    Patients when there are several; else sections; else, of one section, blocks of neighbouring
    spots (an adjacent spot is no independent one); without positions, random spots.

    Parameters
    ----------
    target : SpotTarget
        With what is known of sections, patients and positions.
    n_splits : int
        The most folds; with fewer groups, one is left out at a time.
    seed : int
        Decides blocks and random spots.
    spatial : ndarray of shape (n_spots, 2) or None, default=None
        (x, y) of the spot centres in pixels, for blocks where the target has no positions.

    Returns
    -------
    list of (train, test), pairs of ndarray of int64
        Rows of the target.

    Raises
    ------
    ValueError
        If there are fewer than two spots.
    """
    n_spots = len(target)
    if n_spots < 2:
        raise InputError(
            f"n_samples={n_spots}: at least 2 spots are needed, one to learn from and one to "
            "choose settings on."
        )
    groups = held_out_groups(target)
    if groups is None or len(np.unique(groups)) < 2:
        places = spatial if target.positions is None else target.positions
        groups = _blocks(places, n_splits, seed)
    if groups is None:
        folds = KFold(min(n_splits, n_spots), shuffle=True, random_state=seed)
        return list(folds.split(np.zeros(n_spots)))
    n_splits = min(n_splits, len(np.unique(groups)))
    return list(GroupKFold(n_splits).split(np.zeros(n_spots), groups=groups))


def _blocks(positions, n_blocks, seed):
    """A block of neighbouring spots for each spot; None where there are not enough places."""
    places = 0 if positions is None else len(np.unique(positions, axis=0))
    if places < max(n_blocks, 2):
        return None
    from sklearn.cluster import KMeans  # few fits need it, and it takes long to load

    return KMeans(n_blocks, n_init=1, random_state=seed).fit_predict(positions.astype(float))


def known_patient_folds(target, n_splits):
    """Folds that leave out sections while their patient's other sections stay.

    Parameters
    ----------
    target : SpotTarget
    n_splits : int
        The most folds.

    Returns
    -------
    patients : ndarray of str
        Those with two sections or more; spots without a name are nobody's.
    folds : list of (train, test), pairs of ndarray of int64
        Together the tests are all spots of these patients; empty when there are none.
    """
    if target.patient is None or target.section is None:
        return np.array([], dtype=str), []
    fold, patients = np.full(len(target), -1), []
    for patient in np.unique(target.patient):
        mine = target.patient == patient
        sections = np.unique(target.section[mine])
        if len(sections) < 2 or patient == _keys.MISSING:
            continue
        patients.append(str(patient))
        # Section after section into fold after fold: two of a patient are never all in one.
        fold[mine] = np.searchsorted(sections, target.section[mine]) % n_splits
    folds = [
        (np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(fold.max() + 1)
    ]
    return np.array(patients, dtype=str), folds
