"""How large an error is to be expected, gene by gene, from the size of the prediction."""

import numpy as np

from ..utils._sklearn import Estimator, check_is_fitted
from ._check import check_genes, check_same_shape

_LEAST, _MOST = 0.25, 4.0  # of a gene's mean squared error: what the line may say at its ends


class SpreadModel(Estimator):
    """A line for each gene: squared error against predicted expression.

    Counts scatter more where there are more of them, so errors of normalised counts grow (or,
    for genes that are nearly everywhere, shrink) with the level.

    Attributes
    ----------
    level_, slope_, centre_ : ndarray of shape (n_genes,), dtype float64
        Mean squared error, its change per unit of prediction, and the mean prediction.
    """

    def fit(self, predicted, residual):
        """Fit the lines on predictions of spots that were left out.

        Parameters
        ----------
        predicted, residual : ndarray of shape (n_spots, n_genes)
            What was predicted, and measured minus predicted, in the unit of expression.

        Returns
        -------
        SpreadModel
            self.

        Raises
        ------
        ValueError
            If shapes differ, or a value is NaN or infinite.
        """
        predicted, residual = check_same_shape(predicted=predicted, residual=residual)
        squared = np.square(residual, dtype=np.float64)
        self.level_, self.centre_ = squared.mean(axis=0), predicted.mean(axis=0, dtype=np.float64)
        away = predicted - self.centre_
        variance = (away**2).sum(axis=0)
        covariance = (away * squared).sum(axis=0)
        self.slope_ = np.divide(covariance, variance, np.zeros_like(variance), where=variance > 0)
        return self

    def predict(self, predicted):
        """Standard deviation of the error to be expected.

        Parameters
        ----------
        predicted : ndarray of shape (n_spots, n_genes)

        Returns
        -------
        ndarray of shape (n_spots, n_genes), dtype float32
            In the unit of expression.
        """
        check_is_fitted(self)
        (predicted,) = check_same_shape(predicted=predicted)
        check_genes(predicted.shape[1], len(self.level_))
        squared = self.level_ + self.slope_ * (predicted - self.centre_)
        squared = np.clip(squared, _LEAST * self.level_, _MOST * self.level_)
        return np.sqrt(squared).astype(np.float32)
