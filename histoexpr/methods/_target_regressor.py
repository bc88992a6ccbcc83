"""Any multi-output regressor of scikit-learn on an AnnData target: the baselines."""

import numpy as np
from sklearn.base import MetaEstimatorMixin, RegressorMixin, _fit_context, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods

from ..data import check_same_spots, completed, unpack_target
from ..exceptions import InputError
from ..io import SavableMixin
from ..preprocessing import ExpressionTargetMixin
from ..utils import name_some, unchanged_on_error
from ..utils._sklearn import Estimator, check_is_fitted, own_refusals


class ExpressionTargetRegressor(
    SavableMixin, ExpressionTargetMixin, MetaEstimatorMixin, RegressorMixin, Estimator
):
    """Let a regressor of scikit-learn take an AnnData as its target.

    With it, ridge, PLS, nearest neighbours or the training mean run through the same
    cross-validation, on the same genes and in the same units as the methods they stand beside.

    Parameters
    ----------
    regressor : estimator
        Predicts several outputs (Ridge, PLSRegression, KNeighborsRegressor, DummyRegressor, a
        Pipeline that ends in one). It gets X as it is: features, or images if it is a Pipeline
        that begins with a featurizer.
    expression : ExpressionTransformer or None, default=None
        Turns raw counts into the target. None is ``ExpressionTransformer()`` for an AnnData,
        and nothing for an array.

    Attributes
    ----------
    regressor_ : estimator
        The fitted clone of `regressor`.
    expression_ : ExpressionTransformer or None
        Fitted on the training spots; None when an array was fitted without `expression`.
    genes_ : ndarray of shape (n_outputs_,), dtype str
        The columns of the prediction.
    units_ : str
        Their unit.
    n_outputs_ : int
        How many genes are predicted.
    fitted_on_ : dict
        ``n_spots``, ``sections`` and ``patients`` of the fit.
    n_features_in_ : int
        As the regressor says, if it does.
    feature_names_in_ : ndarray of shape (n_features_in_,), dtype object
        As the regressor says, if it does.

    See Also
    --------
    sklearn.multioutput.MultiOutputRegressor : For a regressor with a single output.

    Examples
    --------
    >>> import numpy as np
    >>> from anndata import AnnData
    >>> from sklearn.linear_model import Ridge
    >>> from histoexpr.methods import ExpressionTargetRegressor
    >>> rng = np.random.default_rng(0)
    >>> features, adata = rng.normal(size=(20, 3)), AnnData(rng.poisson(5.0, size=(20, 2)))
    >>> model = ExpressionTargetRegressor(Ridge()).fit(features, adata)
    >>> model.predict(features).shape
    (20, 2)
    >>> model.units_
    'log1p of counts per 10,000 over the panel, by spot'
    """

    _parameter_constraints: dict = {
        "regressor": [HasMethods(["fit", "predict"])],
        "expression": [HasMethods(["fit", "transform"]), None],
    }

    def __init__(self, regressor, expression=None):
        self.regressor = regressor
        self.expression = expression

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.regressor)
        tags.input_tags = inner.input_tags
        tags.regressor_tags = inner.regressor_tags
        tags.non_deterministic = inner.non_deterministic
        tags.no_validation = inner.no_validation
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the expression transformer and the regressor.

        Parameters
        ----------
        X : array-like, or SpotPatches if the regressor takes images
            One row for each spot.
        y : AnnData of shape (n_spots, n_genes), or array-like of shape (n_spots, n_genes) or \
                (n_spots,)
            An AnnData holds raw counts; an array is expression in the user's own units (raw
            counts if `expression` is given).

        Returns
        -------
        ExpressionTargetRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If X and y differ in length, counts are refused, or the regressor refuses its input.
        """
        with unchanged_on_error(self):
            target = unpack_target(y)
            check_same_spots(X, target)
            target, matrix = self._fit_target(completed(target, X), self.expression)
            self.regressor_ = self._fit_regressor(X, matrix)
        return self

    def _fit_regressor(self, X, matrix):
        regressor = clone(self.regressor)
        outputs = get_tags(regressor).target_tags
        if outputs.single_output and self.n_outputs_ == 1:
            # some regressors refuse a single output as a column
            if self._one_dimensional or not outputs.multi_output:
                matrix = matrix.ravel()
        try:
            with own_refusals():
                return regressor.fit(X, matrix)
        except InputError as error:
            if self.n_outputs_ == 1 or outputs.multi_output:
                raise
            raise InputError(
                f"{error} {type(regressor).__name__} predicts one output, but the target holds "
                f"{self.n_outputs_} genes ({name_some(self.genes_, 3)}): wrap it in "
                "sklearn.multioutput.MultiOutputRegressor."
            ) from error

    def predict(self, X):
        """Predicted expression.

        Parameters
        ----------
        X : array-like, or SpotPatches if the regressor takes images
            One row for each spot.

        Returns
        -------
        ndarray of shape (n_spots, n_outputs_), or (n_spots,) if the fitted y had that shape
            In the units ``units_``, columns ``genes_``.
        """
        check_is_fitted(self, "regressor_")
        with own_refusals():
            predicted = self.regressor_.predict(X)
        return self._shape_prediction(np.asarray(predicted))

    @property
    def n_features_in_(self):
        """Number of features, as the fitted regressor says."""
        check_is_fitted(self, "regressor_")
        return self.regressor_.n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the features, as the fitted regressor says."""
        check_is_fitted(self, "regressor_")
        return self.regressor_.feature_names_in_
