"""How the fits of a benchmark are shared out: any number of jobs, any place of the folder."""

import joblib
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge

from histoexpr import ExpressionTargetRegressor
from histoexpr.model_selection import TrainTest, benchmark
from histoexpr.model_selection._store import Store

MEASURED = ["seconds_fit", "seconds_predict", "peak_memory"]
METHODS = {
    "weak": ExpressionTargetRegressor(Ridge(1.0)),
    "strong": ExpressionTargetRegressor(Ridge(100.0)),
}
ONE_FOLD = dict(protocol=TrainTest(["A1"], ["B1"]), controls=False)


class Untouched(TransformerMixin, BaseEstimator):
    """Computes nothing, and fails where it is asked to."""

    def fit(self, X, y=None):
        raise AssertionError("features were computed")


def test_more_jobs_than_fits_and_cores(sampled):
    expected = benchmark(METHODS, *sampled, **ONE_FOLD)
    with joblib.parallel_config("threading"):
        found = benchmark(METHODS, *sampled, n_jobs=64, **ONE_FOLD)
    pd.testing.assert_frame_equal(
        found.drop(columns=MEASURED), expected.drop(columns=MEASURED), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("n_jobs", "error", "message"),
    [
        (0, ValueError, "n_jobs=0 leaves nobody to do the work"),
        (1.5, TypeError, "n_jobs must be None or a whole number; got float"),
        (True, TypeError, "got bool"),
    ],
)
def test_n_jobs_is_refused_before_features_are_computed(small, n_jobs, error, message):
    with pytest.raises(error, match=message):
        benchmark(METHODS, *small, featurizer=Untouched(), n_jobs=n_jobs, **ONE_FOLD)


@pytest.mark.parametrize("with_predictions", [False, True])
def test_what_workers_cannot_write_is_written_here(
    sampled, tmp_path, monkeypatch, with_predictions
):
    settings = dict(out=tmp_path, return_predictions=with_predictions, **ONE_FOLD)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "is_here", lambda self: False)
        first = benchmark(METHODS, *sampled, **settings)
    assert len(list((tmp_path / "fits").iterdir())) == len(METHODS)
    again = benchmark(METHODS, *sampled, **settings)
    if with_predictions:
        first, again = first[0], again[0]
    pd.testing.assert_frame_equal(again, first)  # seconds, too: nothing was done again
