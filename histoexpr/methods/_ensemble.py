"""The recommended estimator: contrastive heads and a linear head, mixed, smoothed, calibrated."""

import logging
import warnings
from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval

from .. import _keys
from .._featurized import FeaturizerMixin
from .._folds import known_patient_folds, training_folds
from .._spots import held_out_groups, seeded
from ..calibration import gene_reliability
from ..data import (
    SpotFeatures,
    SpotPatches,
    carried,
    check_same_spots,
    completed,
    in_section_order,
    unpack_target,
)
from ..exceptions import InputError
from ..featurizers import ContextFeaturizer, TimmFeaturizer
from ..io import SavableMixin
from ..preprocessing import ExpressionTargetMixin
from ..training import Trainer, check_trainer
from ..utils import shared_docs, unchanged_on_error
from ..utils._sklearn import Estimator, check_is_fitted
from ..utils._torch import draw_seed
from ._combination import KNOWN, NEW, RANKS, SEARCHES, Combination, predict_mean
from ._members import Members
from ._stco import STco

logger = logging.getLogger(__name__)


@shared_docs
class ContrastiveEnsemble(
    SavableMixin, FeaturizerMixin, ExpressionTargetMixin, RegressorMixin, Estimator
):
    """Contrastive retrieval heads averaged with a linear head, with calibrated uncertainty.

    The recommended estimator. Frozen features are centred by section and reduced to principal
    components; several STco heads that differ in their seeds search training spots, partial
    least squares predicts directly, and the two predictions are mixed and smoothed over
    neighbouring spots. How the heads search, the components, the mixing and the smoothing are
    chosen on spots left out, and so are the errors measured.

    This is done twice. For *new* patients, whole patients are left out. For patients with
    several sections in the training data, one section is left out while its patient's others
    stay; such a *known* patient (as X names it) is predicted by the mean of the heads of all
    patients and those of its own sections, and with narrower intervals.

    Parameters
    ----------
    featurizer : str, transformer or None, default="densenet121"
        Images to features. A str is the name of a timm model, of which every stage is pooled,
        in two fields of view, over quarter turns (ContextFeaturizer). None: X holds features;
        SpotFeatures know their sections and places, arrays do not, and are neither centred nor
        smoothed.
    n_heads : int, default=3
        Contrastive heads.
    n_components : int, default=256
        Principal components of the features; clipped to what the data allow.
    cv : int, default=5
        The most folds in which the training groups are left out: patients; sections, when there
        is one patient; blocks of neighbouring spots, when there is one section.
    {expression}
    trainer : Trainer or None, default=None
        Of the heads. None: STco's.
    {random_state}

    Attributes
    ----------
    featurizer_ : transformer or None
    members_ : Members
        The fitted heads and the space they share.
    own_members_ : dict of str to Members
        Those of each known patient's own sections; empty with one training patient.
    known_patients_ : ndarray of str
        Patients with two training sections or more.
    new_, known_ : Combination
        What was chosen for new and for known patients (``settings_``, ``cv_scores_``), and the
        errors there (``spread_``, ``intervals_``). `known_` is `new_` where no patient has two
        sections.
    gene_reliability_ : Series of shape (n_genes,), dtype float64
        The PCC of each gene on spots left out, as a share of its noise ceiling: which genes to
        believe.
    expression_ : ExpressionTransformer or None
    genes_ : ndarray of shape (n_genes,), dtype str
        The columns of predictions.
    units_ : str
    fitted_on_ : dict
        ``n_spots``, ``sections`` and ``patients`` of the fit.
    n_features_in_ : int
        With ``featurizer=None``.

    See Also
    --------
    LinearProbe : The bar it has to pass.
    STco : One of its heads.

    Notes
    -----
    Predict whole sections: centring and smoothing use the spots that are given together. Settings
    are chosen, and errors measured, on the same spots left out, so that both are a little too
    good; `benchmark` measures on sections that took part in neither. Errors are those against
    counts, so `return_std` and the intervals include the noise of counting.

    Examples
    --------
    >>> import histoexpr
    >>> images, adata = histoexpr.datasets.make_spatial_expression(random_state=0)
    >>> model = histoexpr.ContrastiveEnsemble(histoexpr.TextureFeaturizer(), random_state=0)
    >>> expression, std = model.fit(images, adata).predict(images, return_std=True)
    >>> expression.shape == std.shape == adata.shape
    True
    """

    _parameter_constraints = {
        **FeaturizerMixin._parameter_constraints,
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "expression": [HasMethods(["fit", "transform"]), None],
        "trainer": [Trainer, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        featurizer="densenet121",
        *,
        n_heads=3,
        n_components=256,
        cv=5,
        expression=None,
        trainer=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.n_heads = n_heads
        self.n_components = n_components
        self.cv = cv
        self.expression = expression
        self.trainer = trainer
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Compute features, choose settings and measure errors on groups left out, fit.

        Parameters
        ----------
        {X}
        y : AnnData or array-like of shape (n_spots, n_genes) or (n_spots,)
            Raw counts, with sections and patients in ``obs`` (or carried by X); an array is
            expression in units of your own.

        Returns
        -------
        ContrastiveEnsemble
            self. A fit that fails leaves it as it was.

        Raises
        ------
        ValueError
            If X and y differ in length, X knows the places of spots but not which of y's
            sections they are in, or an input is not what it has to be.

        Warns
        -----
        UserWarning
            If there is one group only: errors are then those of other places in the same
            section, and too small for another patient.
        """
        with unchanged_on_error(self):
            X = self._check_X(X, reset=True)
            target = unpack_target(y)
            check_same_spots(X, target)
            X, target, _ = in_section_order(X, completed(target, X))
            target, matrix = self._fit_target(target, self.expression)
            _check_places(X, target)
            if target.section is None:  # patients differ in level, as sections do
                target = replace(target, section=target.patient)
            seed = draw_seed(self.random_state)
            trainer = seeded(check_trainer(self.trainer, self._head()._default_trainer()), seed)
            trainer.check(None)
            features = self._located(X, self._fit_features(X, seed))
            self._heads = self._head(trainer), _seeds(seed, self.n_heads), self.n_components
            self._fit_combinations(features, matrix, target, seed)
            self.members_ = Members(features, matrix, *self._heads)
            several = target.patient is not None and len(np.unique(target.patient)) > 1
            own = {name: target.patient == name for name in self.known_patients_ if several}
            self.own_members_ = {
                name: Members(features[rows], matrix[rows], *self._heads)
                for name, rows in own.items()
            }
        return self

    def predict(self, X, return_std=False):
        """Predict expression.

        Parameters
        ----------
        {X}
        return_std : bool, default=False
            Whether to return the standard deviation of the error to be expected, too.

        Returns
        -------
        expression : ndarray of shape (n_spots, n_genes), or (n_spots,) after a fit on such a y
            Columns are `genes_`, in `units_`.
        std : ndarray of the same shape
            In the same units; only with ``return_std=True``. The noise of counting is part of it.
        """
        predicted, spread = self._predict(X, lambda made, of: [of.spread_.predict(made)])
        predicted = self._shape_prediction(predicted)
        return (predicted, self._shape_prediction(spread)) if return_std else predicted

    def predict_interval(self, X, coverage=0.9):
        """Predict between which bounds measured expression lies.

        Parameters
        ----------
        {X}
        coverage : float, default=0.9
            The share of measured values that shall lie within.

        Returns
        -------
        lower, upper : ndarray of shape (n_spots, n_genes), or (n_spots,)
            In `units_`; see :class:`histoexpr.calibration.ConformalIntervals` for what holds.

        Raises
        ------
        ValueError
            If `coverage` is not between 0 and 1.
        """

        def bounds(made, of):
            return of.intervals_.predict(made, of.spread_.predict(made), coverage)

        _, lower, upper = self._predict(X, bounds)
        return self._shape_prediction(lower), self._shape_prediction(upper)

    def _predict(self, X, more):
        """Predictions and what ``more(predicted, combination)`` makes of them, all float32."""
        check_is_fitted(self)
        X = self._check_X(X, reset=False)
        features = self._located(X, self._features(X))
        patient = carried(X, _keys.PATIENT)
        known = np.zeros(len(features), dtype=bool)
        if patient is not None:
            known = np.isin(patient, self.known_patients_)
        parts = [(np.flatnonzero(~known), self.new_, [self.members_])]
        for name in np.unique(patient[known]) if known.any() else ():
            own = [self.own_members_[name]] if name in self.own_members_ else []
            rows = np.flatnonzero(known & (patient == name))
            parts.append((rows, self.known_, [self.members_, *own]))
        made = []
        for rows, of, members in parts:
            if len(rows):
                predicted = of.predict(members, features[rows]).astype(np.float32)
                made.append((rows, predicted, *more(predicted, of)))
        order = np.argsort(np.concatenate([rows for rows, *_ in made]), kind="stable")
        return [np.concatenate(alike)[order] for alike in list(zip(*made))[1:]]

    def _check_featurizer(self):
        if not isinstance(self.featurizer, str):
            return super()._check_featurizer()
        return ContextFeaturizer(TimmFeaturizer(self.featurizer, pooling="stages"))

    @staticmethod
    def _head(trainer=None):
        return STco(featurizer=None, trainer=trainer)

    @staticmethod
    def _located(X, features):
        """Features that know the sections and places of their spots, where X does."""
        located = isinstance(X, (SpotPatches, SpotFeatures))
        return SpotFeatures.of(X, features) if located else np.asarray(features)

    def _fit_combinations(self, features, matrix, target, seed):
        """Choose settings and measure errors, for new patients and for known ones."""
        groups = held_out_groups(target)
        self.known_patients_, known_folds = known_patient_folds(target, self.cv)
        several = target.patient is not None and len(np.unique(target.patient)) > 1
        one_patient = not several and target.patient is not None
        one_section = groups is not None and len(np.unique(groups)) < 2
        self.new_ = Combination(NEW, members_tell=not (one_patient or one_section))
        folds = training_folds(target, self.cv, seed, carried(features, _keys.SPATIAL))
        left_out = self._left_out(features, matrix, folds)
        predicted = self._combine(self.new_, left_out, features, matrix, target, groups)
        if groups is None or one_section:
            warnings.warn(
                "There is one training group only (patient, section): settings and errors were "
                "measured on other spots of the same section. Intervals and reliabilities will "
                "be too good for another patient; fit on several to mend this.",
                stacklevel=4,
            )
        self.gene_reliability_ = gene_reliability(
            target, self.expression_, predicted, matrix, random_state=seed
        ).set_axis(self.genes_)
        self.known_ = Combination(KNOWN) if known_folds else self.new_
        if several and known_folds:
            del left_out  # as large as all that is to come
            left_out = self._left_out(features, matrix, known_folds, target.patient)
        if known_folds:
            self._combine(self.known_, left_out, features, matrix, target, target.section)

    def _left_out(self, features, matrix, folds, patient=None):
        """What members predict for the folds they have not seen: rows, and a list of arrays.

        With ``patient``, the mean of members of all patients and of the spot's own.
        """
        rows = np.sort(np.concatenate([test for _, test in folds]))
        predictions = [np.empty((len(rows), matrix.shape[1])) for _ in [*SEARCHES, *RANKS]]

        def keep(test, members):
            where = np.searchsorted(rows, test)
            for whole, part in zip(predictions, predict_mean(members, features[test])):
                whole[where] = part

        for train, test in folds:
            everyone = Members(features[train], matrix[train], *self._heads)
            if patient is None:
                keep(test, [everyone])
                continue
            for name in np.unique(patient[test]):
                own = train[patient[train] == name]
                of_patient = Members(features[own], matrix[own], *self._heads)
                keep(test[patient[test] == name], [everyone, of_patient])
        return rows, predictions

    @staticmethod
    def _combine(combination, left_out, features, matrix, target, groups):
        rows, predictions = left_out
        section = None if target.section is None else target.section[rows]
        groups = None if groups is None else groups[rows]
        predicted = combination.fit(predictions, features[rows], matrix[rows], section, groups)
        logger.info("chosen on %d spots left out: %s", len(rows), combination.settings_)
        return predicted

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # close to the mean, of a few dozen spots
        return tags


def _check_places(X, target):
    """Refuse places without sections: spots of several would lie on top of each other."""
    if carried(X, _keys.SPATIAL) is None or carried(X, _keys.SECTION) is not None:
        return
    if target.section is not None and len(np.unique(target.section)) > 1:
        raise InputError(
            f"X ({type(X).__name__}) has places but names no sections, and y has "
            f"{len(np.unique(target.section))}: give it section=, or spots of different sections "
            "would be neighbours."
        )


def _seeds(seed, n):
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(n, np.uint32) // 2]
