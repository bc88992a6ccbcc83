"""What a slide has to know of the model that predicts on it."""

import warnings

import numpy as np
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..data import split_sections
from ..featurizers import NeighborFeatures, TrainingPatches
from ..featurizers._training_patches import FAR_COLOUR

_RIM = 1.0  # pixels: neighbours at the very edge of the reach are not lost to rounding


class SlideModel:
    """A fitted estimator, or a Pipeline that ends in one, as a predictor of slides.

    Attributes
    ----------
    genes : ndarray of shape (n_genes,), dtype str
    provenance : dict
        Model, units and versions.
    trained : TrainingPatches or None
        Of the featurizer in the model; None where it keeps no record of them.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is no estimator of this library.
    """

    def __init__(self, model):
        self._model = getattr(model, "best_estimator_", model)
        self._final = self._model[-1] if isinstance(self._model, Pipeline) else self._model
        if not hasattr(self._final, "predict_adata"):
            raise TypeError(
                f"model must be an estimator of histoexpr, or a Pipeline that ends in one; got "
                f"{model!r}. Wrap a regressor: ExpressionTargetRegressor(regressor)."
            )
        check_is_fitted(self._final, "genes_")
        self.genes = self._final.genes_
        self.provenance = self._final._provenance()
        self.trained, self._before = find_training_patches(self._model)
        self._reach = max(
            (3 * step.sigma for step in _walk(self._model) if isinstance(step, NeighborFeatures)),
            default=0,
        )

    def predict(self, patches):
        """Expression of patches: (n_spots, n_genes), float32."""
        predicted = np.asarray(self._model.predict(patches), dtype=np.float32)
        return predicted.reshape(len(patches), len(self.genes))

    def blocks(self, grid, block_size):
        """How a slide is predicted: in blocks, and under which positions.

        A method that decodes a section as a whole, with its positions, is shown one window of the
        slide at a time, as large as the sections that it was trained on, in which positions
        count from 0: beyond the training array it knows none.

        Parameters
        ----------
        grid : SpotGrid
        block_size : int

        Returns
        -------
        blocks : list of ndarray of int64
            Rows of the grid; together every row once.
        positions : ndarray of shape (n_spots, 2), dtype int64
        """
        positions = grid.positions
        if self._reach:  # compact: the rims are predicted more than once
            return _sorted(split_sections(len(grid), None, positions, block_size)), positions
        if not self._decodes_sections:
            cuts = range(block_size, len(grid), block_size)
            return np.split(np.arange(len(grid)), cuts), positions
        table, window = self._final.module_.position, None
        if table is not None:
            shape = np.array([table.col.num_embeddings, table.row.num_embeddings])
            if grid.hexagonal:  # col + row stays even
                shape = np.maximum(shape - shape % 2, 2)
            col, row = (positions // shape).T
            window = row * (col.max() + 1) + col
            positions = positions % shape
        most = self._final.max_section_spots
        return _sorted(split_sections(len(grid), window, positions, most)), positions

    def around(self, grid, block):
        """The rows that a block is predicted from: its own, and neighbours if they count.

        Parameters
        ----------
        grid : SpotGrid
        block : ndarray of int64

        Returns
        -------
        ndarray of int64
            Sorted.
        """
        if not self._reach:
            return block
        rim = _RIM + self._reach * grid.pitch / grid.mpp
        distance, _ = cKDTree(grid.spatial[block]).query(
            grid.spatial, distance_upper_bound=rim
        )
        return np.flatnonzero(np.isfinite(distance))

    @property
    def _decodes_sections(self):
        final = self._final
        sections = getattr(final, "_whole_sections", False) and getattr(final, "_decodes", False)
        return sections and getattr(final, "predict_by", None) != "retrieval"

    def colour_distance(self, patches):
        """How far the colours of patches are from those of training; NaN where not known.

        Warns
        -----
        UserWarning
            If they are far: see `TrainingPatches.colour_distance`.
        """
        if self.trained is None or not len(self.trained.colours):
            return np.nan
        for step in self._before:
            patches = step.transform(patches)
        found = TrainingPatches.of(patches).colours
        if not len(found):
            return np.nan
        distance = self.trained.colour_distance(found[0])
        if distance > FAR_COLOUR:
            warnings.warn(
                f"the colours of slide {str(patches.section[0])!r} are {distance:.2f} times the "
                "spread of the training sections away from them (mean and deviation of optical "
                f"density over tissue; warned above {FAR_COLOUR:g}). Predictions may follow the "
                "stain: put a StainNormalizer before the model, or train on slides of this "
                "scanner.",
                stacklevel=4,
            )
        return distance


def find_training_patches(model):
    """The record of the training patches in a fitted estimator, at any depth.

    Parameters
    ----------
    model : estimator
        Fitted.

    Returns
    -------
    trained : TrainingPatches or None
    before : list of transformer
        What changes images before they come to the estimator that keeps the record.
    """
    own = vars(model).get("training_patches_")
    if isinstance(own, TrainingPatches):
        return own, []
    inner = _inner(model)
    for number, estimator in enumerate(inner):
        trained, before = find_training_patches(estimator)
        if trained is not None:
            return trained, (inner[:number] if isinstance(model, Pipeline) else []) + before
    return None, []


def _inner(model):
    """The estimators in an estimator, a Pipeline's in their order; fitted ones first."""
    if isinstance(model, Pipeline):
        found = model.named_steps.values()
    else:
        names = sorted(vars(model), key=lambda name: not name.endswith("_"))
        found = map(vars(model).get, names)
    return [estimator for estimator in found if isinstance(estimator, BaseEstimator)]


def _walk(model):
    yield model
    for estimator in _inner(model):
        yield from _walk(estimator)


def _sorted(blocks):
    return [np.sort(block) for block in blocks]
