"""Virtual spots between the measured ones, for maps finer than the array."""

import operator
from dataclasses import replace

import numpy as np
from scipy.spatial import Delaunay, QhullError, cKDTree

from ..exceptions import InputError
from ..utils import name_some
from ..utils._validation import check_number
from ._check import check_images
from ._patches import SpotPatches

# In units of the pitch: a square cell's diagonal (1.41, up to 1.7 on a jittered array) is a pair
# of neighbours; the next but one on a hexagonal grid (1.73) or a square one (2) is not.
_NEIGHBORS = 1.7
# Of the finer grid's pitch: jitter and the rim of the tissue bring points closer than intended.
_NEAR_DUPLICATE = 0.25


def finer_grid(images, factor=2, *, max_distance=None):
    """Put virtual spots between neighbouring spots, to predict on a grid `factor` times as fine.

    Each section's spots are triangulated (Delaunay), and the triangles cut into
    ``factor ** 2`` smaller ones whose corners are the new spots. On a square grid that gives
    the finer square grid (at factor 2 the midpoints of the sides and the centres of the cells),
    on a hexagonal one the finer hexagonal grid (the midpoints of the sides); no array geometry
    has to be known, and coordinates may be jittered.

    Parameters
    ----------
    images : SpotPatches of shape (n_spots, height, width, 3)
        Cut from section images (``SpotPatches.from_images``, the loaders).
    factor : int, default=2
        Steps into which the way from a spot to the next is divided; 1 adds nothing.
    max_distance : float or None, default=None
        Spots farther apart are no neighbours, in pixels of the section image. None: 1.7 times
        the section's pitch, the median distance from a spot to the nearest other one. Nothing is
        put into holes and clefts of the tissue that are wider.

    Returns
    -------
    SpotPatches of shape (n_spots + n_virtual, height, width, 3)
        **The first n_spots rows are `images`**, unchanged and in their order; the others are
        virtual, section by section, from top to bottom. A virtual spot has its own centre
        (``spatial``), so its own patch, cut from the same image; section, patient, mpp, and also
        its ``positions`` are those of the measured spot nearest to it (of equally near ones the
        left, then the upper).

    Raises
    ------
    ValueError
        If `images` are patches given as arrays, which have no pixels between spots; a section
        has a single spot; `factor` is not a whole number of at least 1; or `max_distance` is not
        above 0.

    Notes
    -----
    Position tables learnt at fit have rows for whole positions only, which is why a virtual
    spot takes those of its nearest measured spot: what depends on place by such a table
    (Reg2ST) is then a step function of place, and the image makes the difference in between.

    A method that predicts each spot from its own patch gives the measured spots the same
    expression as without virtual ones; one that predicts a section as a whole (Reg2ST) does not.

    stInfer puts one spot half-way between each pair closer than a cut-off and merges those that
    nearly coincide. Triangles give the same points at factor 2 and serve any factor. Virtual
    spots within a quarter of the finer grid's pitch of another spot are left out here, too.

    The virtual spots do not depend on the order of `images`. Time and memory grow as
    ``n_spots * factor ** 2``.

    Examples
    --------
    >>> import numpy as np
    >>> from histoexpr.data import SpotPatches, finer_grid
    >>> image = np.zeros((100, 100, 3), np.uint8)
    >>> images = SpotPatches.from_images(image, [[20, 20], [60, 20], [20, 60], [60, 60]])
    >>> finer_grid(images)[len(images):].spatial.tolist()
    [[40.0, 20.0], [20.0, 40.0], [40.0, 40.0], [60.0, 40.0], [40.0, 60.0]]
    """
    images = check_images(images)
    _check_has_pixels(images)
    factor = _check_factor(factor)
    if max_distance is not None:
        check_number(max_distance, "max_distance", unit=", in pixels of the section image")
    nearest, spatial = [np.arange(len(images))], [images.spatial]
    for name in dict.fromkeys(images.section.tolist()):
        rows = np.flatnonzero(images.section == name)
        # Sorted: neither the triangulation nor a tie depends on the order of the spots.
        centres, first = np.unique(images.spatial[rows], axis=0, return_index=True)
        if len(centres) < 2:
            raise InputError(
                f"Section {name!r} has spots at one place only, so there is nothing between "
                "spots. Drop the section, or give it all of its spots."
            )
        virtual = _virtual_spots(centres, factor, max_distance)
        nearest.append(rows[first[_nearest(centres, virtual)]])
        spatial.append(virtual)
    return replace(images[np.concatenate(nearest)], spatial=np.concatenate(spatial))


def _virtual_spots(centres, factor, max_distance):
    """The new spots of a section, (n_virtual, 2), from top to bottom."""
    pitch = np.median(cKDTree(centres).query(centres, k=2)[0][:, 1])
    if max_distance is None:
        max_distance = _NEIGHBORS * pitch
    pairs, triangles = _neighbors(centres, max_distance)
    virtual = np.concatenate(
        [
            _between(centres[pairs], _inner_weights(factor, 2)),
            _between(centres[triangles], _inner_weights(factor, 3)),
        ]
    )
    virtual = virtual[np.lexsort(virtual.T)]
    return virtual[_apart(centres, virtual, _NEAR_DUPLICATE * pitch / factor)]


def _neighbors(centres, max_distance):
    """Neighbouring pairs (n_pairs, 2) and, of three mutual ones, triangles (n_triangles, 3)."""
    try:
        triangles = np.sort(Delaunay(centres - centres.mean(axis=0)).simplices, axis=1)
    except (QhullError, ValueError):  # fewer than three spots, or all in a line: sorted along it
        steps = np.arange(len(centres) - 1)
        pairs, triangles = np.stack([steps, steps + 1], axis=1), np.empty((0, 3), np.intp)
    else:
        pairs = np.unique(triangles[:, [[0, 1], [0, 2], [1, 2]]].reshape(-1, 2), axis=0)

    def is_short(one, other):
        return np.linalg.norm(centres[one] - centres[other], axis=1) <= max_distance

    sides = [is_short(triangles[:, i], triangles[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    return pairs[is_short(*pairs.T)], triangles[np.all(sides, axis=0)]


def _inner_weights(factor, n_corners):
    """How the points inside a side or triangle are weighted means of its corners.

    Returns
    -------
    ndarray of shape (n_points, n_corners), dtype float64
        All multiples of 1 / `factor` that are above 0 and sum to 1.
    """
    steps = np.indices((factor + 1,) * (n_corners - 1)).reshape(n_corners - 1, -1)
    steps = np.stack([*steps, factor - steps.sum(axis=0)], axis=1)
    return steps[(steps > 0).all(axis=1)] / factor


def _between(corners, weights):
    """Points of these weights in each cell: (n_cells, n_corners, 2) to (n_points, 2)."""
    return np.einsum("pc,ncd->npd", weights, corners).reshape(-1, 2)


def _apart(centres, virtual, distance):
    """Mask of the virtual spots that stay when each keeps this distance to all before it."""
    points = np.concatenate([centres, virtual])
    close = cKDTree(points).query_pairs(distance, output_type="ndarray")
    stays = np.ones(len(points), bool)
    # By the later one of the pair: whether the earlier one stays is settled by then.
    for earlier, later in close[np.lexsort(close.T)]:
        if stays[earlier] and later >= len(centres):
            stays[later] = False
    return stays[len(centres) :]


def _nearest(centres, virtual):
    """The centre nearest to each virtual spot, the first of those that are equally near."""
    distances, near = cKDTree(centres).query(virtual, k=min(4, len(centres)))
    tied = distances <= distances[:, :1] * (1 + 1e-9)
    return np.where(tied, near, len(centres)).min(axis=1)


def _check_has_pixels(images):
    if isinstance(images, SpotPatches):
        without = sorted(set(images.section.tolist()) - set(images.section_images))
        what = f"Section {name_some(without)} consists of"
    else:
        without, what = True, "images are"
    if without:
        raise InputError(
            f"{what} patches given as an array: there are no pixels between spots. Build "
            "SpotPatches from the section image, by SpotPatches.from_images or a loader."
        )


def _check_factor(factor):
    try:
        factor = operator.index(factor)
    except TypeError as error:
        raise InputError(f"factor must be a whole number; got {factor!r}.") from error
    if factor < 1:
        raise InputError(f"factor must be at least 1; got {factor}.")
    return factor
