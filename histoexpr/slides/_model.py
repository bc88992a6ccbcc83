"""What a slide has to know of the model that predicts on it."""

import warnings

import numpy as np
from scipy.spatial import cKDTree
from sklearn.pipeline import Pipeline

from .._inside import find_featurizer
from ..data import split_sections
from ..exceptions import InputTypeError
from ..featurizers import TrainingPatches
from ..featurizers._training_patches import FAR_COLOUR
from ..utils._sklearn import check_is_fitted
from ._inside import centres_sections, reach

_RIM = 1.0  # pixels: neighbours at the very edge of the reach are not lost to rounding


class SlideModel:
    """A fitted estimator, or a Pipeline that ends in one, as a predictor of slides.

    Attributes
    ----------
    estimator : estimator
        The model itself, or the best one of a search.
    genes : ndarray of shape (n_genes,), dtype str
    provenance : dict
        Model, units and versions.
    trained : TrainingPatches or None
        Of the featurizer in the model; None where it keeps no record of them.
    featurizer : transformer or None
        That keeps it.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is no estimator of this library.
    """

    def __init__(self, model):
        self.estimator = getattr(model, "best_estimator_", model)
        self._final = self.estimator[-1] if isinstance(self.estimator, Pipeline) else self.estimator
        if not hasattr(self._final, "predict_adata"):
            raise InputTypeError(
                f"model must be an estimator of histoexpr, or a Pipeline that ends in one; got "
                f"{model!r}. Wrap a regressor: ExpressionTargetRegressor(regressor)."
            )
        check_is_fitted(self._final, "genes_")
        self.genes = self._final.genes_
        self.provenance = self._final._provenance()
        self.trained, self._before, self.featurizer = find_featurizer(self.estimator)
        self._reach = reach(self.estimator)
        self._looks_around = self._reach > 0 or centres_sections(self.estimator)

    def predict(self, patches):
        """Expression of patches: (n_spots, n_genes), float32."""
        predicted = np.asarray(self.estimator.predict(patches), dtype=np.float32)
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
        if self._looks_around and self.featurizer is None:
            return [np.arange(len(grid))], positions
        if not self._decodes_sections and self._reach:  # compact: few neighbours in other blocks
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
        if not self._reach or self._decodes_sections:
            return block
        rim = _RIM + self._reach * grid.pitch / grid.mpp
        tree = cKDTree(grid.spatial[block])
        distance, _ = tree.query(grid.spatial, distance_upper_bound=rim)
        return np.flatnonzero(np.isfinite(distance))

    @property
    def needs_two_passes(self):
        """Whether predictions need the features of all spots of the slide first."""
        return self._looks_around and self.featurizer is not None

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


def _sorted(blocks):
    return [np.sort(block) for block in blocks]
