"""What papers report, and their protocol on our data."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from histoexpr import (
    ExpressionTargetRegressor,
    ExpressionTransformer,
    Reg2ST,
    SpotRetriever,
    STco,
    StInfer,
    Trainer,
)
from histoexpr.metrics import mean_pearson
from histoexpr.model_selection import (
    Method,
    PatientOut,
    Reading,
    SectionOut,
    benchmark,
    compare_protocols,
    published_means,
    published_protocol,
    published_scores,
    summarize,
)
from histoexpr.model_selection._readings import return_as

QUICK = Trainer(max_epochs=2)


def test_published_figures_are_those_of_the_files(shared):
    expected = pd.read_csv(shared / "published" / "her2st_section_mean_pcc.csv", index_col=0)
    found = published_scores("her2st")
    assert list(found.index) == list(expected.index)
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())
    assert [c.split()[0].lower() for c in found] == [c.split("_")[0] for c in expected]
    means = pd.read_csv(shared / "published" / "leave_one_section_out_mean_pcc.csv", index_col=0)
    assert list(published_means().index) == list(means.index)
    np.testing.assert_array_equal(published_means().to_numpy(), means.to_numpy())


def test_published_sections_give_the_published_mean():
    ours = published_scores().mean()["Reg2ST as published"]
    assert ours == pytest.approx(published_means().loc["Reg2ST", "her2st, 785 genes"], abs=5e-5)
    assert len(published_scores()) == 32
    with pytest.raises(ValueError, match="Did you mean 'her2st'"):
        published_scores("her2")


def test_the_protocol_chooses_its_panel_on_all_sections(sampled):
    _, adata = sampled
    settings = published_protocol(adata, "highly_variable", n_genes=5)
    chosen = ExpressionTransformer("highly_variable", n_genes=5).fit(adata).genes_
    assert settings["protocol"] == "section-out"
    assert settings["expression"].genes == settings["returned"].genes == list(chosen)
    assert settings["expression"].normalize == "spot"
    assert settings["returned"].normalize == "gene"


@pytest.mark.parametrize(
    "model",
    [STco(featurizer=None, trainer=QUICK, random_state=0), StInfer(featurizer=None),
     SpotRetriever(20)],
    ids=["STco", "StInfer", "SpotRetriever"],
)  # fmt: skip
def test_a_fit_returns_another_expression_without_training_again(sampled, model):
    features, adata = sampled
    gene = ExpressionTransformer(normalize="gene")
    fitted = model.fit(features, adata)
    before = fitted.predict(features[:9])
    changed = return_as(fitted, gene, adata)
    if isinstance(model, SpotRetriever):
        by_hand = SpotRetriever(20, expression=gene).fit(features, adata)
    else:
        retriever = SpotRetriever(expression=gene)
        by_hand = type(model)(**{**model.get_params(deep=False), "retriever": retriever})
        by_hand.fit(features, adata)
    np.testing.assert_array_equal(changed.predict(features[:9]), by_hand.predict(features[:9]))
    assert changed.units_ == by_hand.units_ != fitted.units_
    np.testing.assert_array_equal(fitted.predict(features[:9]), before)  # as it was


def test_under_the_protocol_all_are_scored_by_gene_but_what_decodes(sampled):
    methods = {
        "STco": STco(featurizer=None, trainer=QUICK),
        "ridge": ExpressionTargetRegressor(Ridge()),
        "decoder": Reg2ST(trainer=QUICK, hidden_dim=16, n_layers=1),
    }
    table = benchmark(
        methods, *sampled, controls=["mean", "kNN"], **published_protocol(sampled[1])
    )
    assert (table["error"] == "").all() and (table["protocol"] == "section-out").all()
    assert table["patient_in_training"].all()
    by_gene = table.groupby("method")["units"].first().str.endswith("by gene")
    assert by_gene.to_dict() == {
        "STco": True, "ridge": True, "decoder": False, "mean": True, "kNN": True
    }


@pytest.fixture(scope="module")
def three(sampled):
    """Three sections, two of one patient."""
    features, adata = sampled
    keep = np.isin(adata.obs["section"], ["A1", "A2", "B1"])
    return features[keep], adata[keep].copy()


@pytest.fixture(scope="module")
def compared(three, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    readings = {by: Reading({"predict_by": by}) for by in ("decoder", "retrieval")}
    methods = {
        "STco": STco(featurizer=None, trainer=QUICK),
        "Reg2ST": Method(Reg2ST(trainer=QUICK, hidden_dim=16, n_layers=1), readings),
    }
    table = compare_protocols(methods, *three, controls=["kNN", "tuned ridge"], out=out)
    return table, methods, out


def test_one_page_says_why_the_numbers_differ(compared, three):
    table, methods, out = compared
    assert list(table.columns) == [
        "published protocol", "section-out, pooled", "section-out", "patient-out"
    ]
    assert list(table.index) == [
        "STco", "Reg2ST-decoder", "Reg2ST-retrieval", "kNN", "tuned ridge"
    ]
    missing = table.isna()
    assert missing.loc["Reg2ST-decoder", "published protocol"] and missing.sum().sum() == 1
    settings = {"expression": published_protocol(three[1])["expression"], "controls": ["kNN"]}
    for protocol in (SectionOut(), PatientOut()):
        alone = summarize(benchmark({}, *three, protocol, **settings))["mean"]
        np.testing.assert_allclose(table.loc["kNN", protocol.name], alone.iloc[0])
    published = benchmark(
        {}, *three, controls=["kNN", "tuned ridge"], **published_protocol(three[1])
    )
    for method, expected in summarize(published).loc["section-out", "mean"].items():
        np.testing.assert_allclose(table.loc[method, "published protocol"], expected, atol=1e-6)


def test_pooled_is_over_the_spots_of_all_sections(compared, three):
    _, predictions = benchmark(
        {}, *three, SectionOut(), controls=["kNN"], return_predictions=True,
        expression=published_protocol(three[1])["expression"],
    )
    kNN = predictions["kNN"]
    pooled = mean_pearson(kNN.layers["measured"], kNN.X)
    np.testing.assert_allclose(compared[0].loc["kNN", "section-out, pooled"], pooled)


def test_a_method_that_searches_is_fitted_once_for_both(compared, three):
    _, methods, out = compared
    # STco, kNN: two rows a fit; Reg2ST three; tuned ridge one a fit, and two fits. B has one
    # section, which both protocols predict by the same fits.
    n_fits = len(list((out / "fits").iterdir()))
    assert n_fits == 3 * (2 + 2 + 3 + 2) + (1 + 1 + 2 + 1)
    expression = published_protocol(three[1])["expression"]
    benchmark(methods, *three, SectionOut(), controls=["kNN"], expression=expression, out=out)
    assert len(list((out / "fits").iterdir())) == n_fits  # the same fits
