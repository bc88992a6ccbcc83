"""pearson_scorer inside scikit-learn's tools, with an AnnData as target."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoexpr import SpotFeatures
from histoexpr.methods import ExpressionTargetRegressor
from histoexpr.metrics import mean_pearson, pearson_scorer
from histoexpr.preprocessing import ExpressionTransformer


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 5))
    rates = np.exp(1.5 + features @ rng.normal(scale=0.4, size=(5, 12)))
    obs = pd.DataFrame(
        {
            "section": np.repeat(["A1", "A2", "B1"], 30),
            "patient": np.repeat(["A", "A", "B"], 30),
        },
        index=map(str, range(90)),
    )
    return features, AnnData(rng.poisson(rates).astype(np.float32), obs=obs)


def ridge(**params):
    return ExpressionTargetRegressor(Ridge(), **params)


def test_is_the_mean_over_sections_of_the_transformed_truth(data):
    features, adata = data
    model = ridge(expression=ExpressionTransformer(log="log10")).fit(features[:60], adata[:60])
    expected = mean_pearson(
        model.expression_.transform(adata), model.predict(features), adata.obs["section"]
    )
    assert pearson_scorer(model, features, adata) == expected
    assert expected > 0.3


def test_pipelines_and_searches_use_their_own_expression(data):
    features, adata = data
    expression = ExpressionTransformer("highly_expressed", n_genes=4)
    inside = make_pipeline(StandardScaler(), ridge(expression=expression)).fit(features, adata)
    search = GridSearchCV(
        inside,
        {"expressiontargetregressor__regressor__alpha": [1.0, 1e6]},
        scoring=pearson_scorer,
        cv=GroupKFold(2),
    ).fit(features, adata, groups=adata.obs["patient"])
    assert search.best_estimator_[-1].expression_.genes_.shape == (4,)
    inside.set_params(**search.best_params_).fit(features, adata)
    assert pearson_scorer(search, features, adata) == pearson_scorer(inside, features, adata)
    # the truth is that of the four genes: all twelve would not fit the prediction
    assert search.score(features, adata) == pearson_scorer(search, features, adata)


def test_cross_validation_agrees_between_one_and_two_jobs(data):
    features, adata = data
    scores = [
        cross_val_score(
            ridge(),
            features,
            adata,
            groups=adata.obs["patient"],
            cv=GroupKFold(2),
            scoring=pearson_scorer,
            n_jobs=n_jobs,
            error_score="raise",
        )
        for n_jobs in (1, 2)
    ]
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert (scores[0] > 0.2).all()


def test_a_mean_predictor_scores_zero(data):
    features, adata = data
    model = ExpressionTargetRegressor(DummyRegressor()).fit(features, adata)
    assert pearson_scorer(model, features, adata) == 0


def test_arrays_take_their_sections_from_x(data):
    features, adata = data
    counts = np.asarray(adata.X)
    counts[:30] += 50  # pooled over sections, the first one would stand out
    plain = features.copy()
    plain[:30] += 3
    model = ridge().fit(plain, counts)
    with_sections = SpotFeatures(plain, section=adata.obs["section"])
    expected = mean_pearson(counts, model.predict(plain), with_sections.section)
    assert pearson_scorer(model, with_sections, counts) == pytest.approx(expected)
    pooled = pearson_scorer(model, plain, counts)
    assert pooled == pytest.approx(mean_pearson(counts, model.predict(plain)))
    assert pooled > expected + 0.05


def test_count_arrays_are_transformed_when_expression_was_given(data):
    features, adata = data
    by_name = ridge().fit(features, adata)
    by_array = ridge(expression=ExpressionTransformer()).fit(features, np.asarray(adata.X))
    plain = adata.copy()
    del plain.obs["section"]
    assert pearson_scorer(by_array, features, np.asarray(adata.X)) == pytest.approx(
        pearson_scorer(by_name, features, plain)
    )


def test_any_regressor_is_scored_on_arrays(data):
    features, adata = data
    truth = np.log1p(np.asarray(adata.X))
    model = Ridge().fit(features, truth)
    assert pearson_scorer(model, features, truth) == pytest.approx(
        mean_pearson(truth, model.predict(features))
    )


def test_a_section_of_one_spot_does_not_count(data):
    features, adata = data
    model = ridge().fit(features, adata)
    expected = pearson_scorer(model, features[:60], adata[:60])
    assert pearson_scorer(model, features[:61], adata[:61]) == expected


def test_bad_input(data):
    features, adata = data
    with pytest.raises(TypeError, match="StandardScaler has no predict"):
        pearson_scorer(StandardScaler().fit(features), features, adata)
    plain = make_pipeline(StandardScaler(), Ridge()).fit(features, np.asarray(adata.X))
    with pytest.raises(TypeError, match=r"Ridge has no expression_.*ExpressionTargetRegressor\("):
        pearson_scorer(plain, features, adata)
    on_array = ridge().fit(features, np.asarray(adata.X))
    with pytest.raises(TypeError, match="fitted on an array of expression"):
        pearson_scorer(on_array, features, adata)
    model = ridge().fit(features, adata)
    with pytest.raises(ValueError, match="X has 89 spots and y has 90"):
        pearson_scorer(model, features[1:], adata)
    with pytest.raises(ValueError, match="are missing"):
        pearson_scorer(model, features, adata[:, 1:])
