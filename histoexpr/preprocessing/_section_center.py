"""Take from features what a whole section has in common: its stain, its scanner, its day."""

from numbers import Real

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval

from .. import _keys
from ..data import SpotFeatures, carried
from ..data._slide_parts import section_sum
from ..utils._sklearn import Estimator, check_is_fitted, validate_data


class SectionCenterer(TransformerMixin, Estimator):
    """Subtract from features the mean over their section.

    A stain shifts the features of all spots of a section alike; a regressor trained on one
    patient would read the shift as a change of expression.

    Parameters
    ----------
    prior_spots : float, default=30
        The mean of a section is drawn towards the training mean as if that many spots of it
        had been seen: a few spots alone are hardly centred.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,), dtype float64
        The mean over the training spots.
    n_features_in_ : int

    Notes
    -----
    Sections are those that X carries (SpotFeatures); an array names none, and the training mean
    is subtracted. What a section's spots become depends on which of them are given: predict
    whole sections.
    """

    _parameter_constraints = {"prior_spots": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, prior_spots=30):
        self.prior_spots = prior_spots

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Take the mean of the training spots.

        Parameters
        ----------
        X : SpotFeatures or array-like of shape (n_spots, n_features)
        y : ignored

        Returns
        -------
        SectionCenterer
            self.
        """
        self.mean_ = validate_data(self, X, dtype=np.float64).mean(axis=0)
        return self

    def transform(self, X):
        """Subtract.

        Parameters
        ----------
        X : SpotFeatures or array-like of shape (n_spots, n_features)

        Returns
        -------
        SpotFeatures, or ndarray of shape (n_spots, n_features), dtype float64
        """
        check_is_fitted(self)
        section = carried(X, _keys.SECTION)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        if section is None:
            return features - self.mean_
        centred = np.empty_like(features)
        for name in np.unique(section):
            rows = section == name
            total, n_spots = section_sum(self, name, features[rows])
            total = total + self.prior_spots * self.mean_
            centred[rows] = features[rows] - total / (n_spots + self.prior_spots)
        return SpotFeatures.of(X, centred)
