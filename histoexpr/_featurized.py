"""What every estimator with a ``featurizer=`` does with its X."""

import numpy as np
from sklearn.utils._param_validation import HasMethods

from ._spots import seeded
from .data import SpotFeatures, check_images
from .exceptions import InputError
from .featurizers import check_featurizer
from .utils._sklearn import check_array, own_refusals, validate_data


class FeaturizerMixin:
    """Take images, or features where there is no featurizer.

    A class has a parameter ``featurizer``, and sets ``featurizer_`` in ``fit``.
    """

    _parameter_constraints = {"featurizer": [str, HasMethods(["fit", "transform"]), None]}

    def _check_X(self, X, reset):
        if self.featurizer is not None:
            return check_images(X)
        if len(getattr(X, "shape", ())) == 4:
            raise InputError(
                f"X holds images, of shape {tuple(X.shape)}, but featurizer=None expects features "
                "of shape (n_spots, n_features): pass featurizer='densenet121' (or any timm "
                "name), or put a featurizer before this step."
            )
        checked = validate_data(self, X, dtype=np.float32, order="C", reset=reset)
        return SpotFeatures.of(X, checked) if isinstance(X, SpotFeatures) else checked

    def _fit_features(self, X, seed):
        """Fit the featurizer, which is frozen, and compute the features of the training images."""
        self.featurizer_ = seeded(self._check_featurizer(), seed)
        if self.featurizer_ is not None:
            with own_refusals():
                self.featurizer_.fit(X)
        return self._features(X)

    def _check_featurizer(self):
        return check_featurizer(self.featurizer)

    def _features(self, X):
        """The features of images; what a featurizer gives is not taken on trust."""
        if self.featurizer_ is None:
            return X
        with own_refusals():
            features = self.featurizer_.transform(X)
        features = check_array(features, input_name="features")
        if len(features) != len(X):
            raise InputError(
                f"featurizer={self.featurizer!r} gave {len(features)} rows of features for "
                f"{len(X)} images; it must give one for each."
            )
        return features

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.featurizer is None
        return tags
