"""The model card says what is known, and where nothing is."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

import histoexpr
from histoexpr.metrics import score_table


@pytest.fixture(scope="module")
def scores(fitted, small):
    """Of spots the model has seen: enough for a card."""
    model, X = fitted["StInfer"]
    measured = model.expression_.transform(small[2])
    return score_table(measured, model.predict(X), small[2].obs["section"], genes=model.genes_)


def test_says_what_the_model_is(fitted):
    card = fitted["Pipeline"][0][-1].card()
    assert card.startswith("# STco\n\nSTco: images and spots")
    card = histoexpr.io.card(fitted["Pipeline"][0])
    for line in (
        "- Class: sklearn.pipeline.Pipeline",
        "- Source: STco, released code: https://github.com/ZhicengShi/STco.",
        "- Predicts: 12 genes",
        "- Units: log1p of counts per 10,000 over the panel, by spot",
        "- Scale: 2 µm per pixel, 64 µm wide",
        "- Backbone: test_resnet (test_resnet), frozen, weights SHA-256 ",
        "- Patients: 3: A, B, C",
        "- Held out for early stopping: none",
        "None were given.",
        "not validated as a diagnostic device",
        "Not stated: ask whoever gave you the model.",
        f"- histoexpr: {histoexpr.__version__}",
        "- stco__trainer__max_epochs: 1",
    ):
        assert f"\n{line}" in card or line in card.replace("\n", " "), line


def test_scores_are_those_that_were_given(fitted, scores):
    card = fitted["StInfer"][0].card(scores, measure="PCC", license="MIT")
    assert "PCC, on spots that the model has not seen." in card and "\n\nMIT\n" in card
    for section, mean in scores.mean(axis=1).items():
        assert f"| {section} | {mean:.3f} |" in card
    rows = [line for line in card.splitlines() if line.startswith("| gene_")]
    means = scores.mean().sort_values(ascending=False)
    assert rows == [f"| {gene} | {value:.3f} |" for gene, value in means.items()]


def test_one_score_a_gene(fitted):
    model = fitted["StInfer"][0]
    scores = pd.Series([0.5, np.nan], index=model.genes_[:2])
    card = model.card(scores)
    assert "| gene_000 | 0.500 |" in card and "| gene_001 | not defined |" in card
    assert "Mean over 2 genes: 0.500" in card and "| Section |" not in card


def test_reliability_of_an_ensemble(fitted):
    model = fitted["ContrastiveEnsemble"][0]
    gene = model.gene_reliability_.idxmax()
    assert f"| {gene} | {model.gene_reliability_[gene]:.3f} |" in model.card()


def test_what_is_not_known_is_said(fitted):
    card = histoexpr.io.card(DummyRegressor())
    assert "- Spots: not known" in card and "Predicts" not in card
    assert "Scale" not in fitted["Ridge"][0].card()


def test_groups_that_only_X_names_are_known(small):
    _, features, adata = small
    for model in (
        histoexpr.LinearProbe(featurizer=None, n_components=2, cv=2),
        histoexpr.ExpressionTargetRegressor(DummyRegressor()),
        histoexpr.StInfer(featurizer=None),
    ):
        model.fit(features, adata.X[:, :3].toarray())
        assert model.fitted_on_ == {
            "n_spots": len(features), "sections": ["A1", "B1", "C1"], "patients": ["A", "B", "C"]
        }  # fmt: skip
        assert model.fit(np.asarray(features), adata.X.toarray()).fitted_on_["sections"] is None


def test_scores_of_others_are_refused(fitted):
    model = fitted["StInfer"][0]
    with pytest.raises(ValueError, match="1 genes that the model does not predict"):
        model.card(pd.Series([0.5], index=["ERBB2"]))
    for wrong in ([0.5], [[1, 2], [3]], pd.DataFrame(), {"gene_000": 0.5}):
        with pytest.raises(ValueError, match="must be a DataFrame"):
            model.card(wrong)
    with pytest.raises(ValueError, match="must be numbers"):
        model.card(pd.Series(["high"], index=model.genes_[:1]))


def test_names_cannot_break_the_page(small):
    _, features, adata = small
    adata = adata.copy()
    adata.obs["patient"] = "<script>|\n# Title"
    card = histoexpr.StInfer(featurizer=None).fit(np.asarray(features), adata).card()
    assert "- Patients: 1: &lt;script&gt;\\| # Title" in card
