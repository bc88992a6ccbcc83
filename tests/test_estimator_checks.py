"""scikit-learn's own checks, on everything that accepts plain features."""

import pytest
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from histoexpr import (
    GR2ST,
    ContrastiveEnsemble,
    ExpressionTargetRegressor,
    LinearProbe,
    MclSTExp,
    Reg2ST,
    SpotRetriever,
    STco,
    StInfer,
    Trainer,
)
from histoexpr.testing import expected_failed_checks

QUICK = Trainer(max_epochs=2)

ESTIMATORS = [
    STco(featurizer=None, trainer=QUICK),
    MclSTExp(featurizer=None, trainer=QUICK),
    GR2ST(projection_dim=32, trainer=QUICK),
    StInfer(featurizer=None),
    StInfer(featurizer=None, predict_by="regression", trainer=QUICK),
    Reg2ST(hidden_dim=16, n_layers=1, trainer=QUICK),
    Reg2ST(predict_by="retrieval", hidden_dim=16, n_layers=1, trainer=QUICK),
    SpotRetriever(),
    ExpressionTargetRegressor(Ridge()),
    LinearProbe(featurizer=None, alphas=[1.0, 100.0], cv=2),
    ContrastiveEnsemble(featurizer=None, n_heads=1, cv=2, trainer=QUICK),
]


@pytest.mark.filterwarnings("ignore:There is one training group only")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)
def test_estimator_checks(estimator, check):
    check(estimator)
