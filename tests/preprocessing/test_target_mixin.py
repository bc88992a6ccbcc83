"""What estimators share: targets in, named and measured predictions out."""

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import get_tags

from histoexpr import SpotFeatures
from histoexpr.preprocessing import ExpressionTargetMixin, ExpressionTransformer


class Recall(ExpressionTargetMixin, RegressorMixin, BaseEstimator):
    """Predicts the mean of the target plus the first feature."""

    def __init__(self, expression=None):
        self.expression = expression

    def fit(self, X, y):
        self.target_, self.matrix_ = self._fit_target(y, self.expression)
        return self

    def predict(self, X):
        first = np.asarray(X)[:, :1].astype(np.float32)
        return self._shape_prediction(first + self.matrix_.mean(axis=0))


@pytest.fixture
def features():
    return np.random.default_rng(1).normal(size=(20, 3))


@pytest.fixture
def adata():
    counts = np.random.default_rng(0).poisson(4.0, size=(20, 6)).astype(np.float32)
    return AnnData(counts, var=pd.DataFrame(index=list("ABCDEF")))


def test_an_adata_is_transformed_by_a_clone(features, adata):
    given = ExpressionTransformer(["C", "A"], log="log10")
    model = Recall(given).fit(features, adata)
    assert not hasattr(given, "genes_")
    assert model.genes_.tolist() == ["C", "A"]
    assert model.genes_.dtype.kind == "U"
    assert model.units_ == "log10(x + 1) of counts per 10,000 over the panel, by spot"
    assert model.n_outputs_ == 2
    np.testing.assert_array_equal(model.matrix_, model.expression_.transform(adata))
    np.testing.assert_array_equal(model.target_.matrix, adata.X)
    assert model.predict(features).shape == (20, 2)


def test_an_adata_without_expression_gets_the_default(features, adata):
    model = Recall().fit(features, adata)
    np.testing.assert_array_equal(model.matrix_, ExpressionTransformer().fit_transform(adata))


def test_an_array_stays_as_it_is(features):
    given = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32)
    before = given.copy()
    model = Recall().fit(features, given)
    assert model.expression_ is None
    assert model.units_ == "as given"
    assert model.genes_.tolist() == ["x0", "x1", "x2", "x3"]
    np.testing.assert_array_equal(model.matrix_, given)
    model.matrix_ += 1
    np.testing.assert_array_equal(given, before)


def test_a_frame_brings_its_names(features):
    model = Recall().fit(features, pd.DataFrame(np.eye(20, 2), columns=["ERBB2", "GNAS"]))
    assert model.genes_.tolist() == ["ERBB2", "GNAS"]


def test_a_one_dimensional_target_gives_one_dimensional_predictions(features):
    y = np.arange(20.0)
    model = Recall().fit(features, y)
    assert model.matrix_.shape == (20, 1)
    assert model.predict(features).shape == (20,)
    assert model.score(features, y) == pytest.approx(r2_score(y, model.predict(features)))
    assert model.predict_adata(features).shape == (20, 1)
    column = Recall().fit(features, y[:, None])
    assert column.predict(features).shape == (20, 1)


def test_score_is_r2_on_the_transformed_target(features, adata):
    model = Recall().fit(features, adata)
    truth = model.expression_.transform(adata)
    weight = np.arange(20)
    for sample_weight in (None, weight):
        assert model.score(features, adata, sample_weight=sample_weight) == pytest.approx(
            r2_score(truth, model.predict(features), sample_weight=sample_weight)
        )
    with pytest.raises(ValueError, match="X has 19 spots and y has 20"):
        model.score(features[1:], adata)


def test_scoring_on_another_kind_of_target(features, adata):
    on_array = Recall().fit(features, np.asarray(adata.X))
    with pytest.raises(TypeError, match="fitted on an array of expression"):
        on_array.score(features, adata)
    with pytest.raises(ValueError, match="y has 5 columns, but 6 were fitted"):
        on_array.score(features, np.asarray(adata.X)[:, 1:])
    with pytest.raises(ValueError, match="array has no gene names"):
        Recall().fit(features, adata).score(features, np.asarray(adata.X))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_targets_that_float32_cannot_hold_are_refused(features):
    with pytest.raises(ValueError, match="y contains infinity or a value too large"):
        Recall().fit(features, np.full((20, 2), 1e300))


def test_predict_adata_carries_names_places_and_origin(features, adata, tmp_path):
    model = Recall(ExpressionTransformer(["C", "A"])).fit(features, adata)
    placed = SpotFeatures(
        features,
        section=np.repeat(["S1", "S2"], 10),
        patient=np.repeat(["P1"], 20),
        positions=np.column_stack([np.arange(20), np.arange(20) + 100]),
        spatial=np.column_stack([np.arange(20) * 1.5, np.arange(20) * 7.0]),
    )
    predicted = model.predict_adata(placed)
    path = tmp_path / "predicted.h5ad"
    predicted.write_h5ad(path)
    for result in (predicted, anndata.read_h5ad(path)):
        np.testing.assert_array_equal(result.X, model.predict(features))
        assert result.var_names.tolist() == ["C", "A"]
        assert result.obs["section"].tolist() == ["S1"] * 10 + ["S2"] * 10
        assert result.obs["patient"].tolist() == ["P1"] * 20
        assert result.obs["array_col"].tolist() == list(range(20))
        assert result.obs["array_row"].tolist() == list(range(100, 120))
        np.testing.assert_array_equal(result.obsm["spatial"], placed.spatial)
        assert result.uns["histoexpr"]["model"] == "Recall"
        assert result.uns["histoexpr"]["units"] == model.units_
        assert {"histoexpr", "torch", "scikit-learn"} <= set(result.uns["histoexpr"]["versions"])


def test_predict_adata_of_plain_features_has_no_places(features, adata, tmp_path):
    predicted = Recall().fit(features, adata).predict_adata(features)
    assert predicted.obs.columns.empty
    assert not predicted.obsm
    predicted.write_h5ad(tmp_path / "predicted.h5ad")


def test_several_outputs_are_announced():
    assert get_tags(Recall()).target_tags.multi_output
    assert get_tags(Recall()).estimator_type == "regressor"
