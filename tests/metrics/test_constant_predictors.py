"""Predictors that explain nothing score nothing, although float32 rounds their output."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from histoexpr import SpotRetriever
from histoexpr.metrics import pearson_per_gene


@pytest.mark.parametrize(
    "model", [SpotRetriever(60, weights="uniform"), KNeighborsRegressor(60)], ids=type
)
def test_the_mean_of_all_training_spots_scores_0(model):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6)).astype(np.float32)
    y = (5 * rng.random((60, 12))).astype(np.float32)
    np.testing.assert_array_equal(pearson_per_gene(y, model.fit(X, y).predict(X)), 0.0)
