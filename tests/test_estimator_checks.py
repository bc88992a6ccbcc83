"""scikit-learn's own checks, on everything that accepts plain features."""

from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from histoexpr import ExpressionTargetRegressor, SpotRetriever, STco
from histoexpr.testing import expected_failed_checks

ESTIMATORS = [
    STco(featurizer=None),
    SpotRetriever(),
    ExpressionTargetRegressor(Ridge()),
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)
def test_estimator_checks(estimator, check):
    check(estimator)
