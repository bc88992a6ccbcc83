"""How the members of the ensemble are combined, and what errors that makes."""

from itertools import product

import numpy as np
import pandas as pd

from .. import _keys
from ..calibration import ConformalIntervals, SpreadModel
from ..data import carried, neighborhood
from ..metrics import score_table

SEARCHES = [
    {"n_neighbors": k, "weights": "softmax", "metric": "cosine", "temperature": temperature}
    for k, temperature in product((200, 100, 50), (0.1, 0.03, 0.3))
]
RANKS = [(2, 3), (2, 4, 8), (2, 4, 8, 16)]
MIXING = [0.3, 0.5, 0.7]
SMOOTHING = [0.0, 0.3, 0.5, 0.7, 1.0]
# What carries to a new patient is little and coarse; of one that was seen, more can be said.
NEW = {"search": SEARCHES[0], "ranks": (2, 3), "mixing": 0.7, "smoothing": 0.7}
KNOWN = {"search": SEARCHES[0], "ranks": (2, 4, 8, 16), "mixing": 0.5, "smoothing": 0.5}

# A choice departs from its default only for a gain above this share of the score: less is noise
# where two or three groups are left out.
_WORTHWHILE = 0.02


class Combination:
    """Search, ranks, mixing and smoothing, chosen on spots left out, and the errors there.

    Parameters
    ----------
    defaults : dict
        NEW or KNOWN: what the choices are when nothing is clearly better.
    members_tell : bool, default=True
        Whether what was left out says how far members carry: if not (no patient could be left
        out), ranks and mixing stay at their defaults.

    Attributes
    ----------
    settings_ : dict
        ``search`` (parameters of SpotRetriever), ``ranks`` (components of the linear head),
        ``mixing`` (its share) and ``smoothing`` (standard deviation in pitches).
    cv_scores_ : DataFrame
        Mean PCC on the groups left out: a row for each choice that was tried.
    spread_ : SpreadModel
    intervals_ : ConformalIntervals
    """

    def __init__(self, defaults, members_tell=True):
        self.defaults = defaults
        self.members_tell = members_tell

    def fit(self, predictions, features, measured, section, groups):
        """Choose one after the other, then measure the errors.

        Parameters
        ----------
        predictions : list of ndarray of shape (n_spots, n_genes)
            Of members that have not seen the spots: one for each of SEARCHES, then of RANKS.
        features : SpotFeatures or ndarray
            Of the spots; for their places.
        measured : ndarray of shape (n_spots, n_genes)
        section, groups : ndarray of shape (n_spots,) or None
            What is scored alone, and what was left out together.

        Returns
        -------
        ndarray of shape (n_spots, n_genes), dtype float64
            The predictions as chosen.
        """
        self.settings_, tried = {}, []

        def choose(name, values, make, free=True):
            # Made one at a time, and the chosen one again: they are large.
            scores = [_score(measured, make(value), section, groups) for value in values]
            tried.extend((name, str(value), s) for value, s in zip(values, scores))
            usual, best = values.index(self.defaults[name]), int(np.argmax(scores))
            worthwhile = scores[best] - scores[usual] > _WORTHWHILE * abs(scores[best])
            self.settings_[name] = chosen = values[best if free and worthwhile else usual]
            return make(chosen)

        of_ranks, tell = predictions[len(SEARCHES) :], self.members_tell
        found = choose("search", SEARCHES, lambda each: predictions[SEARCHES.index(each)])
        linear = choose("ranks", RANKS, lambda each: of_ranks[RANKS.index(each)], tell)
        mixed = choose("mixing", MIXING, lambda share: _mix(found, linear, share), tell)
        smoothed = choose("smoothing", SMOOTHING, lambda sigma: _smooth(mixed, features, sigma))
        self.cv_scores_ = pd.DataFrame(tried, columns=["setting", "value", "mean_pcc"])
        residual = measured - smoothed
        self.spread_ = SpreadModel().fit(smoothed, residual)
        spread = self.spread_.predict(smoothed)
        self.intervals_ = ConformalIntervals().fit(residual, spread, groups)
        return smoothed

    def predict(self, members, features):
        """Combine the predictions of members, the mean over several of them.

        Parameters
        ----------
        members : list of Members
        features : SpotFeatures or ndarray of shape (n_spots, n_features)

        Returns
        -------
        ndarray of shape (n_spots, n_genes), dtype float64
        """
        search, ranks = [self.settings_["search"]], [self.settings_["ranks"]]
        found, linear = predict_mean(members, features, search, ranks)
        mixed = _mix(found, linear, self.settings_["mixing"])
        return _smooth(mixed, features, self.settings_["smoothing"])


def predict_mean(members, features, searches=SEARCHES, ranks=RANKS):
    """The mean over members of what each predicts; see Members.predict."""
    made = [each.predict(features, searches, ranks) for each in members]
    return [np.mean(alike, axis=0) for alike in zip(*made)]


def _mix(found, linear, share):
    return (1 - share) * found + share * linear


def _smooth(predicted, features, sigma):
    """Gaussian mean over neighbouring spots of a section, sigma in pitches."""
    spatial = carried(features, _keys.SPATIAL)
    if not sigma or spatial is None:
        return predicted
    return neighborhood(spatial, carried(features, _keys.SECTION), sigma) @ predicted


def _score(measured, predicted, section, groups):
    """PCC per gene and section, the mean over sections of a group, then over groups."""
    means = score_table(measured, predicted, section).mean(axis=1)
    if section is not None and groups is not None:
        group_of = pd.Series(groups, index=section.astype(str)).groupby(level=0).first()
        means = means.groupby(group_of.reindex(means.index).to_numpy()).mean()
    return float(np.nan_to_num(means.mean()))
