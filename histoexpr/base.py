"""What the methods share: one fit, and two ways from images to expression."""

import dataclasses

import numpy as np
import torch
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods

from . import _keys
from ._featurized import FeaturizerMixin
from ._spots import (
    blocks,
    exact,
    grid_shape,
    held_out_groups,
    run,
    seeded,
    spot_batch,
)
from .data import (
    SpotPatches,
    carried,
    check_same_spots,
    completed,
    in_section_order,
    split_sections,
    unpack_target,
)
from .exceptions import InputError
from .featurizers import check_featurizer
from .io import SavableMixin
from .preprocessing import ExpressionTargetMixin, ExpressionTransformer
from .retrieval import SpotRetriever, check_retriever, example_rows
from .training import Trainer, check_trainer
from .utils import shared_docs, unchanged_on_error
from .utils._sklearn import Estimator, check_is_fitted
from .utils._torch import draw_seed, isolated_seed


@shared_docs
class BaseExpressionRegressor(
    SavableMixin, FeaturizerMixin, ExpressionTargetMixin, RegressorMixin, Estimator
):
    """Base of the methods: images or features in, expression out.

    A method gives these hooks and mixes in how it predicts:

    - ``_make_module(n_features, n_genes, grid_shape)``: the torch module, whose
      ``forward(SpotBatch)`` returns a LossOutput and which has ``embed_image(SpotBatch)``;
    - ``_default_trainer()``: the Trainer of its paper;
    - with RetrievalMixin, ``_default_retriever()``: the SpotRetriever of its paper, and
      ``embed_spot(SpotBatch)`` in the module; with DecoderMixin, ``decode(SpotBatch)`` there.

    A featurizer whose ``trainable`` is true is trained with the module: it gives ``build(X)``,
    ``n_features_out_``, ``end_to_end(module)`` and ``end_training()``, as TimmFeaturizer does.

    ``_learns`` is false for a method that has nothing to train, ``_decodes`` true for one whose
    ``predict`` is the module's ``decode``.

    A method that looks at all spots of a section together sets ``_whole_sections`` and has a
    parameter ``max_section_spots``; its module then sees one section, or tile of one, at a time.
    """

    _whole_sections = False
    _learns = True
    _decodes = False

    _parameter_constraints = {
        **FeaturizerMixin._parameter_constraints,
        "expression": [HasMethods(["fit", "transform"]), None],
        "trainer": [Trainer, None],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Learn from measured spots. A fit that fails leaves the estimator as it was.

        Parameters
        ----------
        {X}
        y : AnnData or array-like of shape (n_spots, n_genes) or (n_spots,)
            Raw counts; positions, sections and patients are taken from its ``obs``, and from X
            where it lacks them. An array is expression in units of your own.

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
            target = self._unpack_target(y)
            X = self._check_X(X, reset=True)
            check_same_spots(X, target)
            if self._decodes and self._whole_sections and target.positions is not None:
                _check_carries_positions(self, X)
            X, target, order = in_section_order(X, completed(target, X))
            seed = draw_seed(self.random_state)
            expression = self.expression
            if expression is None and target.from_adata:
                expression = self._default_expression()
            target, matrix = self._fit_target(target, expression)
            self.embedded_expression_ = self.expression_
            # Everything that can be refused is, before minutes of features and training.
            self.trainer_ = seeded(check_trainer(self.trainer, self._default_trainer()), seed)
            groups = held_out_groups(target)
            if self._learns:
                one_each = self._whole_sections and target.section is None and groups is not None
                self.trainer_.check(groups[:1] if one_each else groups)
            self._prepare(target)
            features, images = self._learn_features(X, seed)
            spots = spot_batch(
                features,
                images,
                expression=matrix,
                positions=target.positions,
                **self._describe(target),
            )
            batches, rows = self._batches(spots, target.section)
            with isolated_seed(seed):
                self.module_ = self._make_module(
                    spots.features.shape[1], matrix.shape[1], grid_shape(target.positions)
                )
            self._train(batches, rows, groups)
            batches = [self._with_features(batch) for batch in batches]
            self._after_fit(batches, rows, target, matrix, X, order)
        return self

    def embed_images(self, X):
        """Embed images into the space that is shared with the spots.

        Parameters
        ----------
        {X}

        Returns
        -------
        ndarray of shape (n_spots, projection_dim), dtype float32
        """
        spots, _ = self._query(X)
        return run(exact(self.module_).embed_image, blocks(spots.double()))

    def _train(self, batches, rows, groups):
        self.history_ = []
        trainable = getattr(self.featurizer_, "trainable", False)
        if not trainable and not self._learns:
            return  # a search in the space of the features has nothing to learn
        if rows is None:
            (data,) = batches
        else:
            data = batches
            groups = None if groups is None else [groups[part[0]] for part in rows]
        module = self.featurizer_.end_to_end(self.module_) if trainable else self.module_
        self.trainer_.fit(module, data, groups=groups)
        if trainable:
            self.featurizer_.end_training()
        self.history_ = self.trainer_.history_

    def _learn_features(self, X, seed):
        """Features of the training images; zeros and the images, where a backbone is trained."""
        if not getattr(self.featurizer, "trainable", False):
            return self._fit_features(X, seed), None
        self.featurizer_ = seeded(check_featurizer(self.featurizer), seed).build(X)
        images = X if isinstance(X, SpotPatches) else SpotPatches.from_arrays(X)
        return np.zeros((len(X), self.featurizer_.n_features_out_)), images

    def _with_features(self, batch):
        """A batch with the features of its images, now that their backbone is trained."""
        if batch.images is None or not getattr(
            self.module_, "spots_have_features", True
        ):
            return dataclasses.replace(batch, images=None)
        features = torch.tensor(self._features(batch.images))
        return dataclasses.replace(batch, features=features, images=None)

    def _query(self, X):
        """New images as a SpotBatch, and the section of each spot or None."""
        check_is_fitted(self)
        X = self._check_X(X, reset=False)
        spots = spot_batch(self._features(X), positions=carried(X, "positions"))
        return spots, carried(X, _keys.SECTION)

    def _batches(self, spots, section):
        """Batches for the module, and the rows of each; None for all rows in one batch."""
        if not self._whole_sections:
            return [spots], None
        positions = None if spots.positions is None else spots.positions.numpy()
        rows = split_sections(len(spots), section, positions, self.max_section_spots)
        return [self._complete(spots[torch.as_tensor(part)]) for part in rows], rows

    # Hooks, with what most methods do.

    def _unpack_target(self, y):
        return unpack_target(y)

    def _default_expression(self):
        return ExpressionTransformer()

    def _prepare(self, target):
        """Build what can be refused before the long work."""

    def _describe(self, target):
        """What the module is told of measured spots beyond expression and positions."""
        return {}

    def _complete(self, batch):
        """Add what belongs to a section as a whole, such as the edges of its graph."""
        return batch

    def _after_fit(self, batches, rows, target, expression, X, order):
        """Use the trained module, e.g. to index the training spots.

        Spots are sorted by section; ``order`` says where they came, None if as they are.
        """


@shared_docs
class RetrievalMixin:
    """Prediction by search: the training spots, embedded by the spot encoder, are indexed."""

    _parameter_constraints = {"retriever": [SpotRetriever, None]}

    def kneighbors(self, X, n_neighbors=None, return_distance=True):
        """The training spots that a prediction is made of, nearest first.

        Parameters
        ----------
        {X}
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

    def _prepare(self, target):
        retriever = check_retriever(self.retriever, self._default_retriever(), len(target))
        if retriever.expression is not None:
            if self._decodes:
                raise InputError(
                    f"{type(self).__name__} decodes expression as it was trained on: the "
                    "retriever's own expression= has no place there. Set expression= of the "
                    "method, or predict by retrieval."
                )
            if getattr(retriever.expression, "genes", ()) is None:
                retriever.set_params(expression__genes=list(self.genes_))
            clone(retriever.expression).fit(target)
        self.retriever_ = retriever

    def predict(self, X):
        """Predict expression as the weighted mean of the nearest training spots.

        Parameters
        ----------
        {X}

        Returns
        -------
        {predicted}

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            If X is not of the kind and width seen at fit.
        """
        embeddings = self.embed_images(X)
        return self._shape_prediction(self.retriever_.predict(embeddings))

    def _after_fit(self, batches, rows, target, expression, X, order):
        returned = self.retriever_.expression
        exactly = [batch.double() for batch in batches]
        embeddings = run(exact(self.module_).embed_spot, exactly, rows)
        examples = example_rows(self.retriever_, len(X))
        queries = None if examples is None else self.embed_images(X[examples])
        known = expression if returned is None else target
        if order is not None:  # neighbours are named by the rows of the caller
            back = np.argsort(order)
            embeddings, known = embeddings[back], known[back]
        self.retriever_.fit(embeddings, known, queries)
        if returned is not None:
            for name in ("expression_", "genes_", "units_", "n_outputs_"):
                setattr(self, name, getattr(self.retriever_, name))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # With 200 neighbours a prediction from a few dozen spots is close to their mean.
        tags.regressor_tags.poor_score = True
        return tags


def _check_carries_positions(method, X):
    """Refuse an X that carries no positions, where a section is decoded with its positions."""
    if carried(X, "positions") is None:
        raise InputError(
            f"{type(method).__name__} decodes sections with the positions of their spots, but X "
            f"({type(X).__name__}) carries none. Pass SpotPatches, and put scalers and "
            "featurizers into featurizer=make_pipeline(...); or pass SpotFeatures(features, "
            "positions=..., section=...)."
        )


@shared_docs
class DecoderMixin:
    """Prediction by the module's own ``decode``, a section at a time."""

    def predict(self, X):
        """Predict expression from images and positions.

        Parameters
        ----------
        {X}
            Arrays are one section without positions, which a model that was fitted with
            positions refuses.

        Returns
        -------
        {predicted}

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            If X is not of the kind and width seen at fit, or carries no positions where those
            of the training spots were learnt.
        """
        spots, section = self._query(X)
        if self.module_.position is not None:
            _check_carries_positions(self, X)
        batches, rows = self._batches(spots.double(), section)
        return self._shape_prediction(run(exact(self.module_).decode, batches, rows))
