"""Models on disk."""

import joblib
import pytest
from sklearn.dummy import DummyRegressor

import histoexpr


def test_round_trip(tmp_path):
    model = DummyRegressor().fit([[0], [1]], [1, 3])
    histoexpr.save(model, tmp_path / "new" / "model.joblib")
    assert histoexpr.load(tmp_path / "new" / "model.joblib").predict([[5]]) == [2]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["model.joblib"]


def test_a_failed_save_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "model.joblib"
    histoexpr.save(DummyRegressor().fit([[0]], [7]), path)
    broken = DummyRegressor()
    broken.unpicklable = lambda: None
    with pytest.raises(Exception, match="pickle"):
        histoexpr.save(broken, path)
    assert histoexpr.load(path).predict([[0]]) == [7]
    assert len(list(tmp_path.iterdir())) == 1


def test_refusals(tmp_path):
    with pytest.raises(TypeError, match="must be an estimator; got dict"):
        histoexpr.save({}, tmp_path / "x.joblib")
    with pytest.raises(FileNotFoundError, match="no model file"):
        histoexpr.load(tmp_path / "x.joblib")
    joblib.dump({"a": 1}, tmp_path / "dict.joblib")
    with pytest.raises(ValueError, match="holds a dict"):
        histoexpr.load(tmp_path / "dict.joblib")
    path = tmp_path / "model.joblib"
    histoexpr.save(DummyRegressor().fit([[0]], [7]), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="no readable model"):
        histoexpr.load(path)
