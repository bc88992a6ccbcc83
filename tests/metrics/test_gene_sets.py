"""Sets of genes are chosen on what is passed in, and say by what."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest

from histoexpr.metrics import gene_sets, summarize_gene_sets


@pytest.fixture
def counts():
    """60 spots: HIGH is expressed most, VARIES differs between halves, RARE is in two spots."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.poisson(np.linspace(5, 40, 96), (60, 96)), columns=[f"G{i}" for i in range(96)]
    )
    table["HIGH"] = rng.poisson(500, 60)
    table["VARIES"] = np.where(np.arange(60) < 30, 0, 40)
    table["RARE"] = np.where(np.arange(60) < 2, 600, 0)
    return table


def test_each_set_holds_the_genes_its_name_says(counts):
    sets = gene_sets(counts, n_genes=1, markers={"mine": ["G3", "G1"]})
    assert sets["all"].tolist() == list(counts.columns)
    assert sets["top-1 expressed"].tolist() == ["HIGH"]
    assert sets["top-1 variable"].tolist() == ["VARIES"]
    assert sets["mine"].tolist() == ["G3", "G1"]


def test_genes_of_a_handful_of_spots_are_not_ranked_by_how_they_vary(counts):
    anyhow = gene_sets(counts, n_genes=3, min_share=0)["top-3 variable"]
    assert {"VARIES", "RARE"} <= set(anyhow)
    assert "RARE" not in gene_sets(counts, n_genes=3)["top-3 variable"]  # in under 10 %


def test_only_predicted_genes_take_part(counts):
    panel = ["VARIES", "G2", "G1"]
    sets = gene_sets(counts, panel, n_genes=2)
    assert sets["all"].tolist() == panel
    assert all(set(genes) <= set(panel) for genes in sets.values())
    adata = anndata.AnnData(counts.to_numpy(np.float32))
    adata.var_names = counts.columns
    for name, genes in gene_sets(adata, panel, n_genes=2).items():
        np.testing.assert_array_equal(genes, sets[name])


def test_the_most_predictable_are_named_by_what_was_scored(counts):
    folds = pd.DataFrame({"G1": [0.9, 0.1], "G2": [np.nan, 0.8], "G5": [0.3, 0.4]})
    folds["OTHER"] = 1.0
    ceiling = pd.Series({"G9": 0.2, "G7": 0.9, "HIGH": -0.1})
    scores = {"ridge, inner folds": folds, "ceiling": ceiling}
    sets = gene_sets(counts, n_genes=2, scores=scores)
    assert sets["most predictable (by ridge, inner folds)"].tolist() == ["G1", "G2"]
    assert sets["most predictable (by ceiling)"].tolist() == ["G7", "G9"]


def test_a_set_that_cannot_be_filled_is_left_out_and_logged(counts, caplog):
    with caplog.at_level(logging.INFO, "histoexpr"):
        sets = gene_sets(counts, n_genes=99, scores={"x": pd.Series({"G1": 1.0})})
    assert set(sets) == {"all", "top-99 expressed"}
    assert "no set 'top-99 variable': only 98 genes qualify" in caplog.text
    assert "no set 'most predictable (by x)': only 1 genes qualify" in caplog.text


def test_summary_is_the_mean_over_genes_then_over_sections():
    scores = pd.DataFrame(
        {"a": [0.2, 0.4, np.nan], "b": [np.nan, 0.6, np.nan], "c": [1.0, 1.0, 1.0]},
        index=["S1", "S2", "S3"],
    )
    summary = summarize_gene_sets(scores, {"two": ["a", "b"], "c": np.array(["c"])})
    assert summary.loc["two"].to_dict() == {
        "mean": pytest.approx((0.2 + 0.5) / 2), "n_genes": 2, "n_sections": 2, "n_undefined": 3,
    }  # fmt: skip
    assert summary.loc["c", "mean"] == 1 and summary.loc["c", "n_undefined"] == 0
    with pytest.raises(ValueError, match="'x' has genes without a column in scores: 'd'"):
        summarize_gene_sets(scores, {"x": ["a", "d"]})


def test_bad_input(counts):
    with pytest.raises(ValueError, match="missing among the 99"):
        gene_sets(counts, ["G1", "NOPE"])
    with pytest.raises(ValueError, match="markers.'m'. must name genes.*not among.*'NOPE'"):
        gene_sets(counts, markers={"m": ["NOPE", "G1"]})
    with pytest.raises(ValueError, match="'all', which is there already"):
        gene_sets(counts, markers={"all": ["G1"]})
    with pytest.raises(ValueError, match="has none of the 99 predicted genes"):
        gene_sets(counts, scores={"x": [0.3, 0.4]})
    with pytest.raises(ValueError, match="not whole numbers"):
        gene_sets(np.log1p(counts))
