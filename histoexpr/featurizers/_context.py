"""Features with context: several fields of view, turns and flips, neighbouring spots."""

import functools
from numbers import Integral, Real

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, Options
from tqdm.auto import tqdm

from .. import _keys
from ..data import carried, check_images, field_of_view, neighborhood, reading_order
from ..exceptions import InputError
from ..utils import unchanged_on_error
from ..utils._sklearn import Estimator, check_array, check_is_fitted, own_refusals
from ._cache import CACHE_CONSTRAINT, check_cache, features_once, uncached
from ._check import check_featurizer
from ._feature_keys import context_key

_BLOCK = 256  # patches held at a time, in all their turns


class ContextFeaturizer(TransformerMixin, Estimator):
    """Let a featurizer see more of the tissue than one patch in one orientation.

    Its features for each field of view stand one after the other; each is the mean over turns
    and mirror images of the patch, since tissue has no up and down.

    Parameters
    ----------
    featurizer : str or transformer, default="densenet121"
        Images to features; a str is the name of a timm model. It is fitted for each field of
        view, and never trained with a method.
    fields_of_view : tuple of float, default=(1.0, 2.0)
        Sides of the squares that are seen, in sides of the patches given. All but 1 need the
        section images, see `data.field_of_view`.
    turns : {1, 4, 8}, default=4
        1: patches as they are; 4: their quarter turns; 8: those of the mirror image, too.
    cache : {"memory"}, str, path, FeatureCache or None, default="memory"
        Where the features of each field of view are kept: see TimmFeaturizer. What `featurizer`
        says of a cache does not count: turned patches are in none.
    verbose : int, default=0
        From 1 on, a progress bar over patches.

    Attributes
    ----------
    featurizers_ : list of transformer
        One a field of view, fitted.

    See Also
    --------
    NeighborFeatures : What lies around a spot as the features of the spots there.

    Examples
    --------
    >>> import histoexpr
    >>> images, adata = histoexpr.datasets.make_spatial_expression(grid=(4, 4), random_state=0)
    >>> texture = histoexpr.TextureFeaturizer().fit_transform(images)
    >>> context = histoexpr.ContextFeaturizer(histoexpr.TextureFeaturizer())
    >>> context.fit_transform(images).shape[1] == 2 * texture.shape[1]
    True
    """

    _parameter_constraints = {
        "featurizer": [str, HasMethods(["fit", "transform"])],
        "fields_of_view": ["array-like"],
        "turns": [Options(Integral, {1, 4, 8})],
        "cache": CACHE_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        featurizer="densenet121",
        *,
        fields_of_view=(1.0, 2.0),
        turns=4,
        cache="memory",
        verbose=0,
    ):
        self.featurizer = featurizer
        self.fields_of_view = fields_of_view
        self.turns = turns
        self.cache = cache
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit a clone of the featurizer for each field of view.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        y : ignored

        Returns
        -------
        ContextFeaturizer
            self.

        Raises
        ------
        ValueError
            If X holds no images, or cannot be seen in a field of view asked for.
        """
        X = check_images(X)
        if not len(self.fields_of_view):
            raise InputError("fields_of_view is empty; give at least one, e.g. (1.0, 2.0).")
        check_cache(self.cache)
        with unchanged_on_error(self), own_refusals():
            self.featurizers_ = [
                check_featurizer(self.featurizer).fit(field_of_view(X, factor))
                for factor in self.fields_of_view
            ]
        return self

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
            Read in blocks: all of X is never in memory.

        Returns
        -------
        ndarray of shape (n_spots, n_features_out), dtype float32

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            If X is not of the kind seen at fit.
        """
        check_is_fitted(self)
        X = check_images(X)
        fields = [
            features_once(
                self.cache,
                context_key(self, featurizer),
                field_of_view(X, factor),
                functools.partial(self._see, featurizer),
            )
            for featurizer, factor in zip(self.featurizers_, self.fields_of_view)
        ]
        return np.concatenate(fields, axis=1)

    def _see(self, featurizer, X):
        """Mean features over the turns of each patch."""
        order, total = reading_order(X), self.turns * len(X)
        parts = []
        with (
            own_refusals(),
            uncached(),
            tqdm(total=total, desc="Features", unit="patch", disable=not self.verbose) as bar,
        ):
            for start in range(0, len(X), _BLOCK):
                patches = np.asarray(X[order[start : start + _BLOCK]])
                summed = 0.0
                for turned in _turned(patches, self.turns):
                    summed = summed + check_array(featurizer.transform(turned), dtype=np.float64)
                    bar.update(len(patches))
                parts.append((summed / self.turns).astype(np.float32))
        features = np.concatenate(parts)
        in_order = np.empty_like(features)
        in_order[order] = features
        return in_order

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _turned(patches, turns):
    """Patches (n, height, width, 3) in 1, 4 or 8 orientations."""
    mirrored = [patches, patches[:, :, ::-1]] if turns == 8 else [patches]
    for images in mirrored:
        for quarter in range(min(turns, 4)):
            yield np.ascontiguousarray(np.rot90(images, quarter, axes=(1, 2)))


class NeighborFeatures(TransformerMixin, Estimator):
    """Add to the features of each spot the mean features of the spots around it.

    Parameters
    ----------
    featurizer : str, transformer or None, default=None
        Images to features; None: X holds features, as SpotFeatures, which know their places.
    sigma : float, default=1.0
        Width of the Gaussian mean in units of the distance between neighbouring spots.

    Attributes
    ----------
    featurizer_ : transformer or None

    Notes
    -----
    The neighbours are those of the X that `transform` is given: predict whole sections.
    """

    _parameter_constraints = {
        "featurizer": [str, HasMethods(["fit", "transform"]), None],
        "sigma": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, featurizer=None, *, sigma=1.0):
        self.featurizer = featurizer
        self.sigma = sigma

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the featurizer.

        Parameters
        ----------
        X : SpotPatches, or SpotFeatures without a featurizer
        y : ignored

        Returns
        -------
        NeighborFeatures
            self.
        """
        with unchanged_on_error(self), own_refusals():
            featurizer = check_featurizer(self.featurizer)
            self.featurizer_ = None if featurizer is None else featurizer.fit(X)
        return self

    def transform(self, X):
        """Features of each spot, then the mean of its neighbours'.

        Parameters
        ----------
        X : SpotPatches, or SpotFeatures without a featurizer
            With the places of the spots (``spatial``).

        Returns
        -------
        ndarray of shape (n_spots, 2 * n_features), dtype float32

        Raises
        ------
        ValueError
            If X does not know where its spots are.
        """
        check_is_fitted(self)
        spatial = carried(X, _keys.SPATIAL)
        if spatial is None:
            raise InputError(
                f"X ({type(X).__name__}) does not say where its spots are, so they have no "
                "neighbours: pass SpotPatches or SpotFeatures with spatial=."
            )
        with own_refusals():
            features = X if self.featurizer_ is None else self.featurizer_.transform(X)
        features = check_array(features, dtype=np.float32)
        around = neighborhood(spatial, carried(X, _keys.SECTION), self.sigma, itself=False)
        return np.concatenate([features, (around @ features).astype(np.float32)], axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.featurizer is None
        return tags
