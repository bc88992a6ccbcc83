"""Scorers for cross-validation and grid search with an AnnData as target."""

import numpy as np

from .. import _keys
from ..data import carried, check_same_spots, unpack_target
from ..exceptions import InputTypeError
from ._correlation import mean_pearson


def pearson_scorer(estimator, X, y):
    """Mean Pearson correlation, for ``scoring=`` of scikit-learn's tools.

    The truth is transformed with the fitted estimator's own ``expression_``, so genes,
    normalisation and log are those of the prediction and come from the training spots.

    Parameters
    ----------
    estimator : fitted estimator
        One that predicts expression, a Pipeline that ends in one, or a search over either.
    X : SpotPatches, ndarray of images or of features
        As ``predict`` takes it.
    y : AnnData of shape (n_spots, n_genes), or array-like of shape (n_spots, n_genes) or \
            (n_spots,)
        Raw counts, or expression as the estimator was fitted on.

    Returns
    -------
    float
        :func:`histoexpr.metrics.mean_pearson`: per gene and section, mean over genes, then over
        sections. Sections are those of ``y.obs["section"]``, else of ``X.section``, else all
        spots are one. A gene that is constant over a section has no correlation there, so a
        section with a single spot does not count.

    Raises
    ------
    TypeError
        If the estimator cannot predict, or `y` is an AnnData and the estimator has no
        ``expression_`` to transform it with.
    ValueError
        If the prediction and the truth differ in shape.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> from histoexpr.methods import ExpressionTargetRegressor
    >>> from histoexpr.metrics import pearson_scorer
    >>> cross_val_score(
    ...     ExpressionTargetRegressor(Ridge()), features, adata, scoring=pearson_scorer,
    ...     groups=adata.obs["patient"], cv=GroupKFold(2),
    ... )  # doctest: +SKIP
    """
    if not hasattr(estimator, "predict"):
        raise InputTypeError(
            f"{type(estimator).__name__} has no predict: pearson_scorer scores regressors."
        )
    target = unpack_target(y)
    check_same_spots(X, target)
    truth = _truth(estimator, target)
    predicted = np.asarray(estimator.predict(X))
    section = target.section
    if section is None:
        section = carried(X, _keys.SECTION)
    return mean_pearson(truth, predicted, section)


def _truth(estimator, target):
    """The target in the units of the estimator's predictions."""
    final = _final_estimator(estimator)
    if hasattr(final, "_transform_target"):
        return final._transform_target(target)
    expression = getattr(final, "expression_", None)
    if expression is not None:
        return expression.transform(target)
    if target.from_adata:
        raise InputTypeError(
            f"{type(final).__name__} has no expression_ to transform an AnnData with: wrap it as "
            f"ExpressionTargetRegressor({type(final).__name__}(...)), around the whole Pipeline "
            "or as its last step."
        )
    return target.matrix


def _final_estimator(estimator):
    """What predicts in the end, inside searches and pipelines."""
    while not hasattr(estimator, "expression_"):
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            break
    return estimator
