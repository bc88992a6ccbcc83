"""What a prediction is made of, as pictures."""

from numbers import Integral

import numpy as np

from .. import _keys
from ..data import check_images
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ..utils._validation import as_array
from ._axes import BLUE, SMALL, check_collection, picture, take_axes


def plot_neighbors(
    images, training_images, neighbors, *, distances=None, n_neighbors=5, titles=None, axes=None
):
    """Draw patches, a row for each, and beside each the training patches found for it.

    Parameters
    ----------
    images : SpotPatches or uint8 array of shape (n_queries, height, width, 3)
        The few spots to show.
    training_images : SpotPatches or uint8 array of shape (n_training_spots, height, width, 3)
        What the model was fitted on, row by row.
    neighbors : fitted model or int array of shape (n_queries, >= n_neighbors)
        A model with ``kneighbors``, which is asked with `images`; or rows of `training_images`,
        nearest first, as ``kneighbors`` returns them: for a model that was fitted on features.
    distances : array of shape (n_queries, >= n_neighbors) or None, default=None
        Written over the patches found; a model gives its own.
    n_neighbors : int, default=5
    titles : list of str or None, default=None
        A word on each query; None is its section, where it has one.
    axes : ndarray of Axes of shape (n_queries, 1 + n_neighbors) or None, default=None
        None makes a new figure, which pyplot does not know of.

    Returns
    -------
    ndarray of Axes of shape (n_queries, 1 + n_neighbors)

    Raises
    ------
    ValueError
        If there are fewer neighbours than asked for, a row is no training spot, or ``axes`` has
        another shape.
    ImportError
        Without matplotlib.
    """
    images, training_images = check_images(images), check_images(training_images)
    if hasattr(neighbors, "kneighbors"):
        distances, neighbors = neighbors.kneighbors(images, n_neighbors)
    neighbors = _check_neighbors(neighbors, len(images), len(training_images), n_neighbors)
    titles = None if titles is None else check_collection(titles, "titles")
    if titles is not None and len(titles) != len(images):
        raise InputError(f"there are {len(titles)} titles for {len(images)} images.")
    shape = (len(images), 1 + n_neighbors)
    axes = take_axes(axes, shape, (1.45 * shape[1], 1.6 * shape[0]), "plot_neighbors")
    patches, found = np.asarray(images), np.asarray(training_images[neighbors.ravel()])
    found = found.reshape(*neighbors.shape, *found.shape[1:])
    for i, row in enumerate(axes):
        row[0].imshow(patches[i])
        picture(row[0], titles[i] if titles is not None else _where(images, i) or f"spot {i}")
        row[0].spines[:].set(visible=True, color=BLUE, linewidth=2)
        for j, ax in enumerate(row[1:]):
            ax.imshow(found[i, j])
            words = [_where(training_images, neighbors[i, j])]
            if distances is not None:
                words.append(f"{distances[i][j]:.3f}")
            picture(ax, ", ".join(filter(None, words)))
    width = _width(images)
    if width:
        axes[-1, 0].set_xlabel(width, fontsize=SMALL)
    return axes


def _check_neighbors(neighbors, n_queries, n_training, n_neighbors):
    if not isinstance(n_neighbors, Integral) or n_neighbors < 1:
        raise InputError(f"n_neighbors must be a whole number of at least 1; got {n_neighbors!r}.")
    neighbors = as_array(neighbors, "neighbors")
    if neighbors.dtype.kind not in "iu":
        raise InputTypeError(
            f"neighbors must be a fitted model or whole numbers; got {neighbors.dtype}."
        )
    if neighbors.ndim != 2 or len(neighbors) != n_queries or neighbors.shape[1] < n_neighbors:
        raise InputError(
            f"neighbors must have a row for each of the {n_queries} images and at least "
            f"{n_neighbors} columns; got shape {neighbors.shape}."
        )
    neighbors = neighbors[:, :n_neighbors]
    outside = neighbors[(neighbors < 0) | (neighbors >= n_training)]
    if outside.size:
        raise InputError(
            f"neighbors names rows {name_some(outside)}, but there are {n_training} training "
            "images; give those the model was fitted on."
        )
    return neighbors


def _where(images, row):
    """The section of a spot, or nothing where there are no names."""
    section = getattr(images, _keys.SECTION, None)
    return "" if section is None else str(section[row])


def _width(images):
    """How wide a patch is, where its scale is known."""
    mpp = getattr(images, "patch_mpp", np.array([np.nan]))
    um = mpp * images.shape[2]
    if np.isnan(um).any():
        return ""
    return f"{um.min():.0f} µm wide" if np.ptp(um) < 1 else f"{um.min():.0f} to {um.max():.0f} µm"
