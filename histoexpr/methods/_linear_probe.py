"""The bar that every method has to pass: ridge on the principal components of the features."""

from numbers import Integral

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import HasMethods, Interval

from .. import _keys
from .._featurized import FeaturizerMixin
from .._folds import training_folds
from ..data import carried, check_same_spots, completed, in_section_order, unpack_target
from ..exceptions import InputError
from ..io import SavableMixin
from ..metrics import pearson_per_gene
from ..preprocessing import ExpressionTargetMixin
from ..utils import shared_docs, unchanged_on_error
from ..utils._sklearn import Estimator, check_is_fitted
from ..utils._torch import draw_seed
from ..utils._validation import as_array


@shared_docs
class LinearProbe(
    SavableMixin, FeaturizerMixin, ExpressionTargetMixin, RegressorMixin, Estimator
):
    """Ridge regression on principal components, its penalty chosen inside the training spots.

    Independent benchmarks find few networks of this field above it, so it stands beside every
    result. The penalty is the one with the highest mean PCC when whole patients of the training
    spots are left out; sections, when there is one patient; blocks of neighbouring spots, when
    there is one section.

    Parameters
    ----------
    {featurizer}
    n_components : int, default=256
        Principal components of the standardised features; clipped to what the data allow.
    alphas : array-like of float, default=None
        Penalties to choose from. None: 13 from 1 to 10^6, evenly on a log scale.
    cv : int, default=5
        The most folds in which the training groups are left out.
    {expression}
    {random_state}

    Attributes
    ----------
    featurizer_ : transformer or None
    regressor_ : Pipeline
        StandardScaler, PCA and RidgeCV, fitted.
    alpha_ : float
        The chosen penalty.
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
    ExpressionTargetRegressor : Any other regressor of scikit-learn as a baseline.

    Notes
    -----
    The components are those of all training features, in the folds too: expression, which is
    what a penalty could overfit to, is left out with its spots.

    Examples
    --------
    >>> import histoexpr
    >>> images, adata = histoexpr.datasets.make_spatial_expression(random_state=0)
    >>> probe = histoexpr.LinearProbe(histoexpr.TextureFeaturizer())
    >>> probe.fit(images, adata).predict(images).shape == adata.shape
    True
    """

    _parameter_constraints = {
        **FeaturizerMixin._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "alphas": ["array-like", None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "expression": [HasMethods(["fit", "transform"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        featurizer="densenet121",
        *,
        n_components=256,
        alphas=None,
        cv=5,
        expression=None,
        random_state=None,
    ):
        self.featurizer = featurizer
        self.n_components = n_components
        self.alphas = alphas
        self.cv = cv
        self.expression = expression
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Compute features, choose the penalty, fit.

        Parameters
        ----------
        {X}
        y : AnnData or array-like of shape (n_spots, n_genes) or (n_spots,)
            Raw counts, with sections and patients in ``obs`` (or carried by X); an array is
            expression in units of your own.

        Returns
        -------
        LinearProbe
            self.

        Raises
        ------
        ValueError
            If X and y differ in length or an input is not what it has to be.
        """
        alphas = self._check_alphas()
        with unchanged_on_error(self):
            X = self._check_X(X, reset=True)
            target = unpack_target(y)
            check_same_spots(X, target)
            X, target, _ = in_section_order(X, completed(target, X))
            target, matrix = self._fit_target(target, self.expression)
            seed = draw_seed(self.random_state)
            features = np.asarray(self._fit_features(X, seed))
            most = min(self.n_components, len(features) - 1, features.shape[1])
            spatial = carried(X, _keys.SPATIAL)
            folds = training_folds(target, self.cv, seed, spatial)
            self.regressor_ = make_pipeline(
                StandardScaler(),
                PCA(max(most, 1), random_state=seed),
                RidgeCV(alphas, cv=folds, scoring=make_scorer(_held_out_pcc)),
            ).fit(features, matrix)
            self.alpha_ = float(self.regressor_[-1].alpha_)
        return self

    def _check_alphas(self):
        if self.alphas is None:
            return np.logspace(0, 6, 13)
        alphas = as_array(self.alphas, "alphas", np.float64)
        if alphas.ndim != 1 or not len(alphas) or not ((alphas > 0) & (alphas < np.inf)).all():
            raise InputError(
                f"alphas must be one or more finite numbers above 0; got {self.alphas!r:.200}."
            )
        return alphas

    def predict(self, X):
        """Predict expression.

        Parameters
        ----------
        {X}

        Returns
        -------
        {predicted}
        """
        check_is_fitted(self)
        features = np.asarray(self._features(self._check_X(X, reset=False)))
        return self._shape_prediction(self.regressor_.predict(features))


def _held_out_pcc(y_true, y_pred):
    """Mean PCC over genes; 0 where no gene varies over the spots left out."""
    pcc = pearson_per_gene(y_true, y_pred)
    return float(pcc[~np.isnan(pcc)].mean()) if not np.isnan(pcc).all() else 0.0
