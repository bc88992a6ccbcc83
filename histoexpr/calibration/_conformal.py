"""Prediction intervals from the errors on groups that were left out."""

from numbers import Real

import numpy as np

from ..data._patch_checks import check_names
from ..exceptions import InputError
from ..utils._sklearn import Estimator, check_is_fitted
from ._check import check_genes, check_same_shape

_LEVELS = 401


class ConformalIntervals(Estimator):
    """Intervals that hold as often as they held on patients that were left out.

    The conformity score of a spot and gene is its signed error over the error to be expected
    there. The interval around a new prediction reaches between two quantiles of the gene's
    scores, in which each group weighs the same.

    Attributes
    ----------
    levels_ : ndarray of shape (n_levels,), dtype float64
        From 0 to 1.
    quantiles_ : ndarray of shape (n_levels, n_genes), dtype float32
        Quantiles of the scores, without unit.
    n_spots_, n_groups_ : int
        How many the scores come from.

    Notes
    -----
    Split conformal prediction [1]_ on cross-validated errors. A spot of a group like those seen
    is covered as often as asked for, on average; with the two or three patients of a small
    cohort there is no guarantee for the next one, whose coverage should be measured. What is
    covered is the measured value, its counting noise included: an interval for the expression
    beneath would be narrower.

    References
    ----------
    .. [1] V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005;
       for groups: R. Dunn, L. Wasserman, A. Ramdas, "Distribution-free prediction sets for
       two-layer hierarchical models", JASA 118, 2023.
    """

    def fit(self, residual, spread, groups=None):
        """Take the quantiles of the scores.

        Parameters
        ----------
        residual, spread : ndarray of shape (n_spots, n_genes)
            Measured minus predicted, and its expected standard deviation.
        groups : array-like of shape (n_spots,) or None, default=None
            What was left out together, e.g. patients. None: all are one group.

        Returns
        -------
        ConformalIntervals
            self.

        Raises
        ------
        ValueError
            If shapes differ, a value is NaN or infinite, or a group has no name.
        """
        residual, spread = check_same_shape(residual=residual, spread=spread)
        scores = residual / np.where(spread > 0, spread, 1.0)
        names = check_names(groups, len(scores), "groups", default="all")
        _, codes, sizes = np.unique(names, return_inverse=True, return_counts=True)
        weights = 1.0 / (len(sizes) * sizes[codes])
        self.n_spots_, self.n_groups_ = len(scores), len(sizes)
        self.levels_ = np.linspace(0.0, 1.0, _LEVELS)
        self.quantiles_ = np.empty((_LEVELS, scores.shape[1]), dtype=np.float32)
        for gene, of_gene in enumerate(scores.T):  # one at a time: the sorting takes memory
            order = np.argsort(of_gene, kind="stable")
            rows = np.searchsorted(np.cumsum(weights[order]), self.levels_ - 1e-12)
            self.quantiles_[:, gene] = of_gene[order[np.minimum(rows, len(order) - 1)]]
        return self

    def predict(self, predicted, spread, coverage=0.9):
        """Bounds between which a measured value lies with the probability asked for.

        Parameters
        ----------
        predicted, spread : ndarray of shape (n_spots, n_genes)
        coverage : float, default=0.9
            Between 0 and 1; as much is left out above as below.

        Returns
        -------
        lower, upper : ndarray of shape (n_spots, n_genes), dtype float32
            In the unit of expression.

        Raises
        ------
        ValueError
            If `coverage` is not between 0 and 1.
        """
        check_is_fitted(self)
        predicted, spread = check_same_shape(predicted=predicted, spread=spread)
        check_genes(predicted.shape[1], self.quantiles_.shape[1])
        if not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise InputError(f"coverage must lie between 0 and 1, e.g. 0.9; got {coverage!r}.")
        # One spot more than there are: the one to be predicted.
        tail = (1 - coverage) / 2 * (1 + 1 / self.n_spots_) - 1 / self.n_spots_
        low = np.searchsorted(self.levels_, max(tail, 0.0) + 1e-12, side="right") - 1
        high = np.searchsorted(self.levels_, min(1 - max(tail, 0.0), 1.0) - 1e-12)
        bounds = (predicted + spread * self.quantiles_[level] for level in (low, high))
        return tuple(bound.astype(np.float32) for bound in bounds)
