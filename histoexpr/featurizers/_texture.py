"""Features without weights: what the stain and the texture of a patch measure."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from joblib import Parallel, delayed
from scipy import ndimage
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval
from tqdm.auto import tqdm

from ..data import check_images, reading_order
from ..exceptions import InputError
from ..utils import check_n_jobs, import_optional
from ..utils._sklearn import Estimator, check_is_fitted
from ..utils._validation import as_array
from ._cache import CACHE_CONSTRAINT, check_cache, features_once
from ._feature_keys import texture_key
from ._training_patches import TrainingPatches

GROUPS = ("stain", "cooccurrence", "lbp", "nuclei")
STAINS = ("haematoxylin", "eosin")
PERCENTILES = (5, 25, 50, 75, 95)
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
LBP_POINTS = 8
LBP_RADIUS = 2
SCALES = (0.7, 1.4, 2.8, 5.6)  # pixels
NUCLEI = (
    "covered", "otsu_contrast", "number", "mean_area", "std_area", "mean_elongation",
    "std_elongation",
)  # fmt: skip
MIN_AREA = 6  # pixels; smaller is a speck
# The least span of density that a patch is stretched from: glass stays flat, noise stays noise.
LEAST_SPAN = 0.03


class TextureFeaturizer(TransformerMixin, Estimator):
    """Stain densities, textures and nuclei of each patch, by scikit-image; no weights.

    Meant for work offline and as a baseline. A patch's features depend on that patch alone.

    Parameters
    ----------
    features : tuple of str, default=("stain", "cooccurrence", "lbp", "nuclei")
        Groups of features, measured after colour deconvolution [1]_:

        - "stain": mean, standard deviation and percentiles of the optical density of
          haematoxylin and of eosin, in scikit-image's units;
        - "cooccurrence": grey-level co-occurrence properties [2]_ of both at each of
          ``distances``, mean and standard deviation over four angles (the latter tells aligned
          fibres);
        - "lbp": histogram of uniform local binary patterns [3]_ of haematoxylin;
        - "nuclei": what Otsu's threshold on haematoxylin separates: share, contrast, number,
          area and shape; and the variance of both stains by scale.

        All but "stain" are computed on each patch's own range from the 1st to the 99th
        percentile, so that a paler stain does not change them much.
    distances : tuple of int, default=(1, 3, 6)
        Distances in pixels of the co-occurrences.
    levels : int, default=16
        Grey levels of the co-occurrences, 2 to 256.
    batch_size : int, default=64
        Patches read and worked on at once; bounds the memory, does not change the result.
    n_jobs : int, default=None
        Threads over batches, as in joblib.
    cache : {"memory"}, str, path, FeatureCache or None, default="memory"
        Where features are kept, so that each patch is measured once: see TimmFeaturizer.
    verbose : int, default=0
        From 1 on, a progress bar over batches.

    Attributes
    ----------
    patch_shape_ : tuple of int
        Height and width of the patches in fit, in pixels: textures of other sizes or scales do
        not compare.
    training_patches_ : TrainingPatches
        Their scale, spacing and colours.
    n_features_out_ : int

    See Also
    --------
    TimmFeaturizer : Features of a trained network.

    Notes
    -----
    Lengths are in pixels of the patch: give all patches the same µm per pixel. Needs the extra
    ``texture`` (scikit-image).

    References
    ----------
    .. [1] Ruifrok and Johnston (2001), Quantification of histochemical staining by color
       deconvolution.
    .. [2] Haralick et al. (1973), Textural features for image classification.
    .. [3] Ojala et al. (2002), Multiresolution gray-scale and rotation invariant texture
       classification with local binary patterns.

    Examples
    --------
    >>> import numpy as np
    >>> from histoexpr import TextureFeaturizer
    >>> patches = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    >>> TextureFeaturizer(features=("stain",)).fit_transform(patches).shape
    (4, 14)
    """

    _parameter_constraints = {
        "features": [tuple, list],
        "distances": ["array-like"],
        "levels": [Interval(Integral, 2, 256, closed="both")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "cache": CACHE_CONSTRAINT,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        features=GROUPS,
        *,
        distances=(1, 3, 6),
        levels=16,
        batch_size=64,
        n_jobs=None,
        cache="memory",
        verbose=0,
    ):
        self.features = features
        self.distances = distances
        self.levels = levels
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.cache = cache
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters and note the size of the patches.

        Parameters
        ----------
        X : SpotPatches, or ndarray of shape (n_spots, height, width, 3), dtype uint8
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not of that form, a group of features is not known, or a distance does not
            fit into a patch.
        """
        X = check_images(X)
        unknown = [name for name in self.features if name not in GROUPS]
        if unknown or len(self.features) == 0 or len(set(self.features)) < len(self.features):
            raise InputError(
                f"features must be one or more of {GROUPS}, each once; got {self.features!r}."
            )
        distances = as_array(self.distances, "distances")
        smallest = min(X.shape[1:3])
        if (
            distances.ndim != 1
            or distances.size == 0
            or distances.dtype.kind not in "iu"
            or distances.min() < 1
            or distances.max() >= smallest
            or len(np.unique(distances)) < distances.size
        ):
            raise InputError(
                f"distances must be different whole numbers of pixels, at least 1 and less than "
                f"the patch's side of {smallest}; got {self.distances!r}."
            )
        check_cache(self.cache)
        check_n_jobs(self.n_jobs)
        self.patch_shape_ = tuple(int(n) for n in X.shape[1:3])
        self.training_patches_ = TrainingPatches.of(X)
        self.n_features_out_ = len(self.get_feature_names_out())
        return self

    def transform(self, X):
        """Measure each patch.

        Parameters
        ----------
        X : SpotPatches, or ndarray of shape (n_spots, height, width, 3), dtype uint8
            Read batch by batch: all of X is never in memory.

        Returns
        -------
        ndarray of shape (n_spots, n_features_out_), dtype float32

        Raises
        ------
        ValueError
            If X is not of that form, or its patches are not of the size seen in fit, or of a far
            other scale.
        ImportError
            If scikit-image is not installed.
        """
        check_is_fitted(self)
        check_n_jobs(self.n_jobs)
        X = check_images(X, self.patch_shape_)
        self.training_patches_.check_scale(X)
        import_optional("skimage", extra="texture", purpose="TextureFeaturizer")
        return features_once(self.cache, self._feature_key(), X, self._compute_features)

    _feature_key = texture_key

    def _compute_features(self, X):
        order = reading_order(X)
        starts = tqdm(
            range(0, len(X), self.batch_size),
            desc="Textures",
            unit="batch",
            disable=not self.verbose,
        )
        # Patches are cut here, in one thread and just ahead of the workers.
        parts = Parallel(n_jobs=self.n_jobs, prefer="threads", pre_dispatch="n_jobs")(
            delayed(self._measure)(np.asarray(X[order[start : start + self.batch_size]]))
            for start in starts
        )
        features = np.empty((len(X), self.n_features_out_), dtype=np.float32)
        features[order] = np.concatenate(parts)
        return features

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of ``transform``.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's sake: images have no feature names.

        Returns
        -------
        ndarray of shape (n_features_out_,), dtype object
        """
        check_is_fitted(self, "patch_shape_")
        names = []
        for group in self.features:
            names += getattr(self, f"_{group}_names")()
        return np.array(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False
        tags.requires_fit = True
        return tags

    def _measure(self, patches):
        """Features of one batch: (n, height, width, 3) uint8 -> (n, n_features) float32."""
        from skimage.color import rgb2hed

        # scikit-image computes in the precision it is given; float32 halves the memory.
        density = rgb2hed(patches.astype(np.float32) / np.float32(255))[..., : len(STAINS)]
        density = np.ascontiguousarray(np.moveaxis(density, -1, 0))  # (stain, n, height, width)
        low, high = np.percentile(density, (1, 99), axis=(2, 3), keepdims=True)
        span = np.maximum(high - low, LEAST_SPAN)
        scaled = np.clip((density - low) / span, 0, 1).astype(np.float32)
        parts = [getattr(self, f"_{group}")(density, scaled) for group in self.features]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _stain_names(self):
        kinds = ["mean", "std", *(f"p{p:02d}" for p in PERCENTILES)]
        return [f"stain_{stain}_{kind}" for stain in STAINS for kind in kinds]

    def _stain(self, density, scaled):
        stats = [density.mean((2, 3)), density.std((2, 3))]
        stats += list(np.percentile(density, PERCENTILES, axis=(2, 3)))
        return np.stack(stats, axis=-1).transpose(1, 0, 2).reshape(density.shape[1], -1)

    def _cooccurrence_names(self):
        return [
            f"cooccurrence_{stain}_{kind}_{name}_{distance}px"
            for stain in STAINS
            for kind in ("mean", "std")
            for name in PROPERTIES
            for distance in self.distances
        ]

    def _cooccurrence(self, density, scaled):
        from skimage.feature import graycomatrix, graycoprops

        grey = np.minimum(scaled * self.levels, self.levels - 1).astype(np.uint8)
        n = grey.shape[1]
        parts = []
        for stain in grey:
            matrices = [
                graycomatrix(
                    patch, self.distances, ANGLES, levels=self.levels, symmetric=True, normed=True
                )
                for patch in stain
            ]
            # graycoprops reduces over the levels: lay all patches side by side as more angles.
            matrices = np.concatenate(matrices, axis=3)
            values = np.stack([graycoprops(matrices, name) for name in PROPERTIES])
            values = values.reshape(len(PROPERTIES), len(self.distances), n, len(ANGLES))
            for value in (values.mean(-1), values.std(-1)):
                parts.append(value.transpose(2, 0, 1).reshape(n, -1))
        return np.concatenate(parts, axis=1)

    def _lbp_names(self):
        return [f"lbp_{STAINS[0]}_{code}" for code in range(LBP_POINTS + 2)]

    def _lbp(self, density, scaled):
        from skimage.feature import local_binary_pattern

        grey = np.rint(scaled[0] * 255).astype(np.uint8)
        codes = [local_binary_pattern(p, LBP_POINTS, LBP_RADIUS, "uniform") for p in grey]
        bins = LBP_POINTS + 2
        counts = [np.bincount(c.ravel().astype(np.intp), minlength=bins) for c in codes]
        return np.stack(counts) / grey[0].size

    def _nuclei_names(self):
        scales = [f"nuclei_{stain}_scale_{s:g}px" for stain in STAINS for s in SCALES]
        return [f"nuclei_{name}" for name in NUCLEI] + scales

    def _nuclei(self, density, scaled):
        from skimage.filters import threshold_otsu

        blue = scaled[0]
        cut = [threshold_otsu(p) if p.min() < p.max() else 1.0 for p in blue]
        mask = blue > np.asarray(cut, dtype=np.float32)[:, None, None]
        return np.concatenate([_blobs(density[0], mask), _scales(scaled)], axis=1)


def _blobs(density, mask):
    """Number, size and shape of the connected parts of each mask: (n, len(NUCLEI))."""
    n, height, width = mask.shape
    flat = np.zeros((3, 3, 3), dtype=bool)
    flat[1] = ndimage.generate_binary_structure(2, 1)  # parts never join two patches
    labels, number = ndimage.label(mask, structure=flat)
    patch, row, col = np.nonzero(mask)
    label = labels[patch, row, col] - 1

    def total(weights):
        return np.bincount(label, weights, minlength=number)

    area = np.bincount(label, minlength=number)
    kept = area >= MIN_AREA
    owner = np.zeros(number, dtype=np.intp)
    owner[label] = patch
    # Shape: ratio of the axes of the ellipse with the same second moments (+ 1/12: a pixel's own)
    y, x = (total(v) / area for v in (row, col))
    yy = total((row - y[label]) ** 2) / area + 1 / 12
    xx = total((col - x[label]) ** 2) / area + 1 / 12
    xy = total((row - y[label]) * (col - x[label])) / area
    root = np.sqrt((yy - xx) ** 2 / 4 + xy**2)
    elongation = 0.5 * np.log(((yy + xx) / 2 + root) / ((yy + xx) / 2 - root))

    owner, area, elongation = owner[kept], area[kept].astype(float), elongation[kept]
    count = np.bincount(owner, minlength=n)
    area = np.log(area)
    inside = mask.sum((1, 2))
    outside = mask[0].size - inside
    dark = (density * mask).sum((1, 2)) / np.maximum(inside, 1)
    pale = (density * ~mask).sum((1, 2)) / np.maximum(outside, 1)
    return np.column_stack(
        [
            inside / mask[0].size,
            np.where(inside > 0, dark - pale, 0) / np.maximum(dark + pale, LEAST_SPAN),
            np.sqrt(count),
            *_mean_and_std(owner, area, count),
            *_mean_and_std(owner, elongation, count),
        ]
    )


def _mean_and_std(owner, values, count):
    """Mean and standard deviation of each owner's values; 0 for an owner without any."""
    n = np.maximum(count, 1)
    mean = np.bincount(owner, values, minlength=len(count)) / n
    square = np.bincount(owner, (values - mean[owner]) ** 2, minlength=len(count)) / n
    return mean, np.sqrt(square)


def _scales(scaled):
    """Log variance of each stain between one blur and the next: (n, stains * scales)."""
    parts, previous = [], scaled
    for sigma in SCALES:
        blurred = ndimage.gaussian_filter(scaled, (0, 0, sigma, sigma), truncate=3)
        parts.append(np.log((previous - blurred).var((2, 3)) + 1e-5))
        previous = blurred
    return np.stack(parts, axis=-1).transpose(1, 0, 2).reshape(scaled.shape[1], -1)
