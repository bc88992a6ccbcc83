"""Patches of different stain and scanner brought to the colours of the training images."""

from numbers import Integral
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image, ImageFilter
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from .. import _keys
from ..data import SpotPatches, check_images
from ..exceptions import InputError
from ..utils._sklearn import Estimator, check_is_fitted, check_random_state
from ._stain_math import METHODS, MIN_TISSUE, find_tissue, find_white, recolour, to_light

LATTICE, TILE = 64, 4  # an image is measured on 64 x 64 squares of 4 x 4 px
NODES = 33  # of the colour table, in each channel
PATCH = "patch"


class StainNormalizer(TransformerMixin, Estimator):
    """Bring images of different stain and scanner to the colours of the training images.

    What a stain looks like is measured on each section image as a whole: then a section keeps its
    contrast between pale and dark tissue, and a patch's result depends on no other patch.

    Parameters
    ----------
    method : {"reinhard", "macenko", "vahadane"}, default="reinhard"
        - "reinhard": mean and standard deviation of tissue in the space l, alpha, beta [1]_;
        - "macenko": haematoxylin and eosin as the extremes of the plane that the optical
          densities of tissue span, and their concentrations [2]_;
        - "vahadane": both stains by sparse non-negative factorisation [3]_.
    scope : {"section", "patch"}, default="section"
        Where the colours to be replaced are measured. "section": once on the section image that
        a patch is cut from. "patch": on each patch alone, as done for patches that come without
        an image; that also evens out the differences between tissues, and misjudges patches that
        show little of a stain.
    standardize_white : bool, default=True
        Make the glass white first, each channel divided by its 95th percentile in the image; of a
        patch alone, which may show no glass, all channels by that of the brightest. If not, 255
        counts as white.
    n_patches : int, default=200
        Training patches drawn at random for the reference where it is measured on patches.
    random_state : int, RandomState or None, default=None
        Decides that draw.

    Attributes
    ----------
    reference_ : ndarray of shape (2, 3) or (2, 4), dtype float64
        The colours that images are brought to. "reinhard", (2, 3): mean and standard deviation of
        l, alpha and beta (natural logarithms, white is 0). The others, (2, 4): for haematoxylin
        and eosin the optical density (natural logarithm) of red, green and blue, a vector of
        length 1, and the 99th percentile of the concentration.
    n_measured_ : int
        Section images, or patches, that the reference is the median of.

    Notes
    -----
    `transform` reads nothing: it returns a ``SpotPatches`` whose patches are normalised when they
    are read. A section image is measured when its first patch is, once a process: on a lattice of
    4,096 squares of 4 x 4 px, at the resolution of the patches. Its colours then go through a
    table of 33³ colours (Pillow), on average within half a grey level of the formula.

    Tissue is what has a mean optical density of at least 0.15 and is not grey, which leaves out
    glass, ink and fiducials. Below 0.05 only white is standardised, in between the change sets in
    gradually. No contrast and no amount of stain is changed more than threefold. An image without
    tissue is returned as it is; so is, unless the method is "reinhard", one of a single colour.

    The reference is the median of the statistics of the training images, so that one odd section
    does not move it; with one training section, that section keeps its colours but for its white.
    The published pipelines normalise each patch to one chosen image (GR2ST, Reinhard) or each
    image with its luminosity alone standardised (stInfer, Vahadane). Departures: white is
    standardised in each channel, since the glass of legacy arrays is lilac; concentrations are
    non-negative least squares in all methods, so that the sparsity that finds the stains does not
    bleach pale tissue.

    References
    ----------
    .. [1] Reinhard et al. (2001), Color transfer between images.
    .. [2] Macenko et al. (2009), A method for normalizing histology slides for quantitative
       analysis.
    .. [3] Vahadane et al. (2016), Structure-preserving color normalization and sparse stain
       separation for histological images.

    Examples
    --------
    >>> from histoexpr import StainNormalizer
    >>> from histoexpr.datasets import make_spatial_expression
    >>> images, _ = make_spatial_expression(2, grid=(4, 4), random_state=0)
    >>> normal = StainNormalizer("macenko").fit_transform(images)
    >>> normal.shape == images.shape, normal[0].dtype
    (True, dtype('uint8'))
    """

    _parameter_constraints = {
        "method": [StrOptions(set(METHODS))],
        "scope": [StrOptions({_keys.SECTION, PATCH})],
        "standardize_white": ["boolean"],
        "n_patches": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        method="reinhard",
        *,
        scope=_keys.SECTION,
        standardize_white=True,
        n_patches=200,
        random_state=None,
    ):
        self.method = method
        self.scope = scope
        self.standardize_white = standardize_white
        self.n_patches = n_patches
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Measure the colours of the training images.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8
        y : ignored

        Returns
        -------
        StainNormalizer
            self.

        Raises
        ------
        ValueError
            If X holds no images, nothing in them is tissue, or they are normalised already.
        """
        X = self._check(X)
        names = list(X.section_images) if self.scope == _keys.SECTION else []
        if names:
            whole = True
            samples = (_sample(X[X.section == name]) for name in names)
        else:
            whole = False
            n_drawn = min(self.n_patches, len(X))
            drawn = check_random_state(self.random_state).permutation(len(X))[:n_drawn]
            samples = (X[int(row)].reshape(-1, 3) for row in np.sort(drawn))
        method = METHODS[self.method]
        found = [_measure(pixels, method, self.standardize_white, whole) for pixels in samples]
        statistics = [statistic for _, statistic in found if statistic is not None]
        if not statistics:
            what = f"{len(found)} {'section images' if whole else 'patches'}"
            raise InputError(
                f"There is no stain to learn from in {what}: none shows {MIN_TISSUE} pixels of "
                "tissue (darker than glass and not grey)"
                + ("." if self.method == "reinhard" else " in two colours.")
                + " Are the images H&E in RGB, and the patches on tissue?"
            )
        self.reference_ = method.average(np.stack(statistics))
        self.n_measured_ = len(statistics)
        self._stain_map = _StainMap(
            self.method, self.reference_, self.scope, self.standardize_white
        )
        return self

    def transform(self, X):
        """Normalise patches when they are read.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8

        Returns
        -------
        SpotPatches of shape (n_spots, height, width, 3)
            The same spots. Patches without tissue, and sections without it, are as they were.

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            If X holds no images, or they are normalised already.
        """
        check_is_fitted(self)
        return self._check(X).map(self._stain_map)

    def _check(self, X):
        """A SpotPatches whose section images show the colours of its patches."""
        X = check_images(X)
        X = X if isinstance(X, SpotPatches) else SpotPatches.from_arrays(X)
        if self.scope == _keys.SECTION and X.is_mapped and X.section_images:
            raise InputError(
                "The patches of X are changed when they are read, perhaps normalised already, so "
                "their section images do not show their colours. Pass X as it was built, or use "
                f"scope={PATCH!r}."
            )
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


class _StainMap:
    """Normalises patches that are being read; keeps what it has measured in this process."""

    def __init__(self, method, reference, scope, standardize_white):
        self.method = method
        self.reference = reference
        self.scope = scope
        self.standardize_white = standardize_white
        self._tables = WeakKeyDictionary()

    def __call__(self, patches, spots):
        out = np.empty_like(patches)
        images = spots.section_images if self.scope == _keys.SECTION else {}
        for name in np.unique(spots.section):
            mine = np.flatnonzero(spots.section == name)
            if name not in images:
                for row in mine:
                    out[row] = self._apply_alone(patches[row])
                continue
            for crop in np.unique(spots.crop_px[mine]):
                rows = mine[spots.crop_px[mine] == crop]
                tables = self._find_tables(images[str(name)], spots[rows])
                out[rows] = _look_up(patches[rows], *tables) if tables else patches[rows]
        return out

    def _apply_alone(self, patch):
        pixels = patch.reshape(-1, 3)
        white, source = self._measure(pixels, whole=False)
        if source is None:
            return patch
        return _to_uint8(self._recolour(to_light(pixels, white), source)).reshape(patch.shape)

    def _find_tables(self, image, spots):
        """For a section image at the resolution of these spots: what makes white of the glass, by
        channel, and what changes the stain. None where nothing is to be changed."""
        known = self._tables.setdefault(image, {})
        key = (int(spots.crop_px[0]), spots.shape[1])
        if key not in known:
            white, source = self._measure(_sample(spots), whole=True)
            known[key] = None
            if source is not None:
                levels = _to_uint8(to_light(np.arange(256)[:, None], white))
                nodes = np.linspace(0, 1, NODES)
                blue, green, red = np.meshgrid(nodes, nodes, nodes, indexing="ij")  # red runs first
                light = to_light(np.stack([red, green, blue], axis=-1).reshape(-1, 3), 1)
                table = self._recolour(light, source).astype(np.float32)
                known[key] = levels.T.ravel().tolist(), ImageFilter.Color3DLUT(NODES, table)
        return known[key]

    def _measure(self, pixels, whole):
        return _measure(pixels, METHODS[self.method], self.standardize_white, whole)

    def _recolour(self, light, source):
        change = METHODS[self.method].change
        return recolour(light, lambda tissue: change(tissue, source, self.reference))

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_tables"}

    def __setstate__(self, state):
        self.__dict__.update(state, _tables=WeakKeyDictionary())

    def __repr__(self):
        return f"<stain normalisation by {self.method!r}>"


def _sample(spots):
    """Pixels (n, 3) all over the section image of the spots, at the resolution of the patches."""
    (image,) = spots.section_images.values()
    size = max(1, round(TILE * int(spots.crop_px[0]) / spots.shape[1]))
    steps = (np.arange(LATTICE) + 0.5) / LATTICE
    x, y = np.meshgrid(steps * image.size[0], steps * image.size[1])
    squares = SpotPatches.from_images(
        image, np.column_stack([x.ravel(), y.ravel()]), patch_size=f"{size}px", out_px=TILE
    )
    return np.asarray(squares).reshape(-1, 3)


def _measure(pixels, method, standardize_white, whole):
    """Colour of the glass (3,), and the statistic of tissue, or None where there is none."""
    white = np.full(3, 255.0)
    if standardize_white:
        white = find_white(pixels)
        if not whole:
            white = np.full(3, white.max())
    light = to_light(pixels, white)
    light = light[find_tissue(light)]
    return white, method.measure(light) if len(light) >= MIN_TISSUE else None


def _look_up(patches, levels, table):
    """All patches through the tables at once, as one tall image."""
    image = Image.fromarray(np.ascontiguousarray(patches).reshape(-1, *patches.shape[2:]))
    return np.asarray(image.point(levels).filter(table)).reshape(patches.shape)


def _to_uint8(light):
    return np.rint(255 * light).astype(np.uint8)
