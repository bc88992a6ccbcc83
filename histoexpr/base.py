"""What the methods share: one fit, and two ways from an embedding to expression."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _keys
from ._types import SpotBatch
from .data import check_images, unpack_target
from .featurizers import check_featurizer
from .preprocessing import ExpressionTargetMixin
from .retrieval import SpotRetriever, check_retriever
from .training import Trainer, check_trainer
from .utils import check_rows_match, unchanged_on_error
from .utils._torch import draw_seed, isolated_seed

_BLOCK = 8192  # spots embedded at a time; rows do not depend on it


class BaseExpressionRegressor(ExpressionTargetMixin, RegressorMixin, BaseEstimator):
    """Base of the methods: images or features in, expression out.

    A method gives three hooks and mixes in how it predicts:

    - ``_make_module(n_features, n_genes, grid_shape)``: the torch module, whose
      ``forward(SpotBatch)`` returns a LossOutput and which has ``embed_image(SpotBatch)``;
    - ``_default_trainer()``: the Trainer of its paper;
    - with RetrievalMixin, ``_default_retriever()``: the SpotRetriever of its paper, and
      ``embed_spot(SpotBatch)`` in the module.
    """

    _parameter_constraints = {
        "featurizer": [str, HasMethods(["fit", "transform"]), None],
        "expression": [HasMethods(["fit", "transform"]), None],
        "trainer": [Trainer, None],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn from measured spots. A fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : SpotPatches, uint8 array of shape (n_spots, height, width, 3), or array-like of \
shape (n_spots, n_features)
            Images; features when ``featurizer=None``.
        y : AnnData or array-like of shape (n_spots, n_genes) or (n_spots,)
            Raw counts; positions, sections and patients are taken from its ``obs``. An array
            is expression in units of your own, without positions.

        Returns
        -------
        estimator
            self.

        Raises
        ------
        ValueError
            If X and y differ in length or disagree on sections, k is larger than the number of
            spots, or an input is not what it has to be; the message says what came.
        TypeError
            If y is neither an AnnData nor an array, or a collaborator is of another kind.
        """
        with unchanged_on_error(self):
            target = unpack_target(y)
            X = self._check_X(X, reset=True)
            check_rows_match(X, target)
            _check_same_spots(X, target)
            seed = draw_seed(self.random_state)
            target, expression = self._fit_target(target, self.expression)
            self.embedded_expression_ = self.expression_
            # Everything that can be refused is, before minutes of features and training.
            self._prepare(len(target))
            self.featurizer_ = _seeded(check_featurizer(self.featurizer), seed)
            features = X if self.featurizer_ is None else self.featurizer_.fit_transform(X)
            data = _batch(features, expression, target.positions)
            with isolated_seed(seed):
                self.module_ = self._make_module(
                    data.features.shape[1], expression.shape[1], _grid_shape(target.positions)
                )
            self.trainer_ = _seeded(check_trainer(self.trainer, self._default_trainer()), seed)
            self.trainer_.fit(self.module_, data, groups=_held_out_groups(target))
            self.history_ = self.trainer_.history_
            self._after_fit(data, target, expression)
        return self

    def predict(self, X):
        """Predict expression.

        Parameters
        ----------
        X : SpotPatches, uint8 array of shape (n_spots, height, width, 3), or array-like of \
shape (n_spots, n_features)
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_spots, n_genes), or (n_spots,) after a fit on such a y, dtype float32
            Columns are `genes_`, in `units_`.

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            If X is not of the kind and width seen at fit.
        """
        return self._shape_prediction(self._predict(self.embed_images(X)))

    def embed_images(self, X):
        """Embed images into the space that is shared with the spots.

        Parameters
        ----------
        X : SpotPatches, uint8 array of shape (n_spots, height, width, 3), or array-like of \
shape (n_spots, n_features)

        Returns
        -------
        ndarray of shape (n_spots, projection_dim), dtype float32
        """
        check_is_fitted(self)
        X = self._check_X(X, reset=False)
        features = X if self.featurizer_ is None else self.featurizer_.transform(X)
        return _embed(self.module_.embed_image, _batch(features))

    def _check_X(self, X, reset):
        if self.featurizer is not None:
            return check_images(X)
        if len(getattr(X, "shape", ())) == 4:
            raise ValueError(
                f"X holds images, of shape {tuple(X.shape)}, but featurizer=None expects features "
                "of shape (n_spots, n_features): pass featurizer='densenet121' (or any timm "
                "name), or put a featurizer before this step."
            )
        return validate_data(self, X, dtype=np.float32, order="C", reset=reset)

    def _prepare(self, n_spots):
        """Build what can be refused before the long work; a mixin's hook."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.featurizer is None
        return tags


@torch.no_grad()
def _embed(embed, data):
    """Embed all spots of a SpotBatch: ndarray (n_spots, projection_dim), float32."""
    blocks = [embed(data[i : i + _BLOCK]) for i in range(0, len(data), _BLOCK)]
    return torch.cat(blocks).numpy()


def _batch(features, expression=None, positions=None):
    """Arrays as a SpotBatch."""
    features = np.ascontiguousarray(features, dtype=np.float32)
    return SpotBatch(
        torch.tensor(features),
        None if expression is None else torch.tensor(expression),
        None if positions is None else torch.tensor(positions),
    )


def _grid_shape(positions):
    """Rows that the two position tables need: one more than the largest position."""
    return None if positions is None else tuple(int(n) + 1 for n in positions.max(axis=0))


def _held_out_groups(target):
    """What early stopping holds out: patients, or sections when there is only one patient."""
    patient = target.patient
    return target.section if patient is None or len(np.unique(patient)) < 2 else patient


def _seeded(collaborator, seed):
    """Give a collaborator that has no seed of its own that of the method."""
    if "random_state" in getattr(collaborator, "get_params", dict)():
        if collaborator.random_state is None:
            collaborator.set_params(random_state=seed)
    return collaborator


def _check_same_spots(X, target):
    """Refuse images and expression whose rows are not the same spots."""
    for name in (_keys.SECTION, "positions"):
        of_images, of_target = getattr(X, name, None), getattr(target, name)
        if of_images is None or of_target is None or np.array_equal(of_images, of_target):
            continue
        if name == _keys.SECTION and len(np.unique(of_images)) == 1:
            continue  # patches of one section may go without its name
        row = np.flatnonzero((of_images != of_target).reshape(len(target), -1).any(axis=1))[0]
        raise ValueError(
            f"the rows of X and y are not the same spots: row {row} has {name} "
            f"{of_images[row]} in X and {of_target[row]} in y.obs. Subset and order both alike."
        )


class RetrievalMixin:
    """Prediction by search: the training spots, embedded by the spot encoder, are indexed."""

    _parameter_constraints = {"retriever": [SpotRetriever, None]}

    def kneighbors(self, X, n_neighbors=None, return_distance=True):
        """The training spots that a prediction is made of, nearest first.

        Parameters
        ----------
        X : SpotPatches, uint8 array of shape (n_spots, height, width, 3), or array-like of \
shape (n_spots, n_features)
        n_neighbors : int or None, default=None
            None is that of `retriever_`.
        return_distance : bool, default=True

        Returns
        -------
        distances : ndarray of shape (n_spots, n_neighbors), dtype float32
            In the metric of `retriever_`, see `SpotRetriever.kneighbors`.
        neighbors : ndarray of shape (n_spots, n_neighbors), dtype int64
            Rows of the training X and y.
        """
        embeddings = self.embed_images(X)
        return self.retriever_.kneighbors(embeddings, n_neighbors, return_distance)

    def _prepare(self, n_spots):
        self.retriever_ = check_retriever(self.retriever, self._default_retriever(), n_spots)

    def _after_fit(self, data, target, expression):
        returned = self.retriever_.expression
        embeddings = _embed(self.module_.embed_spot, data)
        self.retriever_.fit(embeddings, expression if returned is None else target)
        if returned is not None:
            self.expression_ = self.retriever_.expression_
            self.genes_, self.units_ = self.retriever_.genes_, self.retriever_.units_

    def _predict(self, embeddings):
        return self.retriever_.predict(embeddings)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # With 200 neighbours a prediction from a few dozen spots is close to their mean.
        tags.regressor_tags.poor_score = True
        return tags
