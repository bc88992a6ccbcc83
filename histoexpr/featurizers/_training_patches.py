"""What the patches of a fit looked like, so that others can be compared with them."""

import warnings
from dataclasses import dataclass

import numpy as np

from ..data import SpotPatches
from ..data._content import content_keys, is_told_by_reading
from ..exceptions import InputError
from ..preprocessing._stain_math import find_tissue, to_density, to_light
from ._cache_memory import MemoryStore

# Ratio of scales from which on a prediction is warned about, and refused. Crops of equal px in
# legal cohorts differ by 1.33 (her2st: 0.92 and 0.69 um/px); mistaking 20x for 40x makes 2.
WARNED_RATIO, REFUSED_RATIO = 1.25, 1.75
SHARPER_RATIO = 1.5  # of resolutions, from which on patches are warned to be blurred, or too sharp
# Optical density; added to the spread of few sections as if they were so many more.
USUAL_SPREAD, USUAL_SECTIONS = 0.1, 3
FAR_COLOUR = 2.0
MOST_SECTIONS, MOST_PATCHES, EVERY_PIXEL = 16, 16, 4  # that colours are measured on

_measured = MemoryStore(2**20)  # colours of sections in this process: folds and settings share it


@dataclass(frozen=True)
class TrainingPatches:
    """Size, scale, spacing and colours of the patches that a featurizer was fitted on.

    Attributes
    ----------
    shape : tuple (height, width)
        In pixels.
    mpp : tuple (least, median, most) of float, or None
        Micrometres per pixel of the patches as returned (``SpotPatches.patch_mpp``) over spots;
        None where unknown.
    detail : tuple (least, most) of float, or None
        Micrometres per pixel of what is to be seen on the patches: theirs, or that of the section
        image where it is coarser, and patches are enlarged.
    pitch : float or None
        Micrometres from a spot to the next, the median over spots; None where unknown.
    hexagonal : bool
        Whether rows are shifted by half a spot, as on Visium.
    colours : ndarray of shape (n_sections, 6), dtype float64
        Mean and standard deviation of the optical density (natural logarithm) of red, green and
        blue over tissue, in up to 16 sections. None of them shows tissue: (0, 6).
    """

    shape: tuple
    mpp: tuple | None
    detail: tuple | None
    pitch: float | None
    hexagonal: bool
    colours: np.ndarray

    @classmethod
    def of(cls, X):
        """Look at the patches of a fit.

        Parameters
        ----------
        X : SpotPatches or ndarray of shape (n_spots, height, width, 3), dtype uint8

        Returns
        -------
        TrainingPatches
        """
        X = X if isinstance(X, SpotPatches) else SpotPatches.from_arrays(X)
        known = ~np.isnan(X.patch_mpp)
        mpp, detail = X.patch_mpp[known], _detail(X)[known]
        odd = None if X.positions is None else X.positions.sum(axis=1) % 2
        return cls(
            shape=tuple(int(side) for side in X.shape[1:3]),
            mpp=tuple(map(float, (mpp.min(), np.median(mpp), mpp.max()))) if len(mpp) else None,
            detail=tuple(map(float, (detail.min(), detail.max()))) if len(mpp) else None,
            pitch=_pitch(X),
            hexagonal=odd is not None and len(X) > 1 and len(np.unique(odd)) == 1,
            colours=_colours(X),
        )

    @property
    def width_um(self):
        """Width of tissue on a patch in micrometres, of the median spot; None where unknown."""
        return None if self.mpp is None else self.mpp[1] * self.shape[1]

    def check_scale(self, X):
        """Warn about patches of another scale than those of the fit, and refuse far ones.

        Parameters
        ----------
        X : SpotPatches or ndarray
            Scales that are unknown, here or there, are not compared.

        Raises
        ------
        ValueError
            If a patch has 1.75 times more, or fewer, micrometres per pixel than any of the fit.

        Warns
        -----
        UserWarning
            From 1.25 times on; or if patches are cut from images of 1.5 times another resolution,
            and so are more blurred, or sharper, than any of the fit.
        """
        if self.mpp is None or not isinstance(X, SpotPatches):
            return
        row, ratio = _farthest(X.patch_mpp, self.mpp)
        if ratio >= WARNED_RATIO:
            message = (
                f"the patches of section {str(X.section[row])!r} have {X.patch_mpp[row]:.3g} "
                f"micrometres per pixel, but those of fit had {_span(self.mpp)}: {ratio:.2f} times "
                f"another scale of tissue. Cut them with patch_size='{self.width_um:.0f}um' and "
                f"out_px={self.shape[1]}; is mpp= right?"
            )
            if ratio >= REFUSED_RATIO:
                raise InputError(message)
            warnings.warn(message, stacklevel=4)
            return  # patches of another scale are blurred, or sharper, too
        row, ratio = _farthest(_detail(X), self.detail)
        if ratio >= SHARPER_RATIO:
            warnings.warn(
                f"the image of section {str(X.section[row])!r} shows {_detail(X)[row]:.3g} "
                f"micrometres per pixel, those of fit showed {_span(self.detail)}: its patches "
                "are blurred, or sharper, in comparison. Is it the image at full resolution, and "
                "were those of fit?",
                stacklevel=4,
            )

    def colour_distance(self, found):
        """How far the colours of an image lie from those of the training sections.

        Parameters
        ----------
        found : ndarray of shape (6,), dtype float64
            As a row of `colours`.

        Returns
        -------
        float
            The root mean square, over the six numbers, of the difference from the median
            training section in units of the spread of the training sections. The spread is their
            standard deviation, to which three sections with deviations of 0.1 are added: few
            sections do not tell how much stains vary. From 2 on it is far: the sections of one
            cohort lie up to 1.5 from each other (her2st), those of other laboratories 2.8 to 4.4.
        """
        centre = np.median(self.colours, axis=0)
        squares = ((self.colours - centre) ** 2).sum(axis=0) + USUAL_SECTIONS * USUAL_SPREAD**2
        spread = np.sqrt(squares / (len(self.colours) - 1 + USUAL_SECTIONS))
        return float(np.sqrt(np.mean(((found - centre) / spread) ** 2)))


def _detail(X):
    """Micrometres per pixel of the patch or of the image, whichever is coarser, (n_spots,)."""
    return np.fmax(X.patch_mpp, X.mpp)


def _farthest(values, known):
    """The row of the value that lies farthest outside a range, and by which factor."""
    ratio = np.nan_to_num(np.maximum(values / known[-1], known[0] / values), nan=1.0)
    return int(ratio.argmax()), float(ratio.max())


def _span(known):
    low, high = f"{known[0]:.3g}", f"{known[-1]:.3g}"
    return low if low == high else f"{low} to {high}"


def _colours(X):
    """Colour statistics of up to 16 sections that show tissue, (n_sections, 6).

    Of 16 patches of each, every fourth pixel.
    """
    names = np.unique(X.section)
    found = []
    for name in names[_evenly(len(names), MOST_SECTIONS)]:
        rows = np.flatnonzero(X.section == name)
        found.append(_measure_once(X[rows[_evenly(len(rows), MOST_PATCHES)]]))
    return np.concatenate(found)


def _measure_once(patches):
    keys = None if is_told_by_reading(patches) else content_keys(patches, most_bytes=0)
    if keys is None:
        return _measure(patches)

    def compute(missing):
        return {key: _measure(patches).tobytes() for key in missing}

    key = b"".join(keys)
    return np.frombuffer(_measured.fill(b"", [key], compute)[key]).reshape(-1, 6)


def _measure(patches):
    """Mean and deviation of the density of tissue, (1, 6); without any, (0, 6)."""
    pixels = np.asarray(patches)[:, ::EVERY_PIXEL, ::EVERY_PIXEL].reshape(-1, 3)
    light = to_light(pixels, 255)
    density = to_density(light[find_tissue(light)])
    if not len(density):
        return np.empty((0, 6))
    return np.concatenate([density.mean(axis=0), density.std(axis=0)])[None]


def _evenly(n, most):
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def _pitch(X):
    """Median distance from a spot to the nearest other one of its section, in micrometres."""
    from scipy.spatial import cKDTree

    distances = []
    for name in X.section_images:
        mine = X.section == name
        if mine.sum() > 1:
            nearest = cKDTree(X.spatial[mine]).query(X.spatial[mine], k=2)[0][:, 1]
            distances.append(nearest * X.mpp[mine])
    if not distances:
        return None
    pitch = float(np.median(np.concatenate(distances)))
    return pitch if pitch > 0 else None  # nan where mpp is unknown for half of the spots
