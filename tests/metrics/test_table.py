"""Errors per gene, and scores as a table by section or pooled."""

import numpy as np
import pandas as pd
import pytest

from histoexpr.metrics import (
    mae_per_gene,
    pearson_per_gene,
    pearson_per_section,
    rmse_per_gene,
    score_table,
)

TRUTH = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [6.0, 5.0]])
PREDICTED = np.array([[1.0, 2.0], [2.0, 5.0], [6.0, 9.0], [6.0, 5.0]])


def test_errors_by_hand():
    np.testing.assert_allclose(rmse_per_gene(TRUTH, PREDICTED), [1.5, 2.5])
    np.testing.assert_allclose(mae_per_gene(TRUTH, PREDICTED), [0.75, 1.75])
    np.testing.assert_allclose(mae_per_gene(TRUTH[:, 0], PREDICTED[:, 0]), [0.75])
    with pytest.raises(ValueError, match="the same spots and genes"):
        rmse_per_gene(TRUTH, PREDICTED[:, :1])


@pytest.mark.parametrize("score", ["rmse", "mae"])
def test_each_section_is_scored_on_its_own(score):
    section = ["S2", "S2", "S1", "S1"]
    table = score_table(TRUTH, PREDICTED, section, score=score, genes=["a", "b"])
    expected = {"rmse": [[0, 4.5**0.5], [4.5**0.5, 8**0.5]], "mae": [[0, 1.5], [1.5, 2]]}
    assert table.index.tolist() == ["S2", "S1"] and table.columns.tolist() == ["a", "b"]
    np.testing.assert_allclose(table, expected[score])


def test_the_table_of_pearson_is_pearson_per_section():
    rng = np.random.default_rng(0)
    truth, predicted = rng.normal(size=(2, 40, 3))
    section = np.repeat(["B", "A", "C"], [20, 19, 1])
    pd.testing.assert_frame_equal(
        score_table(truth, predicted, section, genes=list("abc")),
        pearson_per_section(truth, predicted, section, genes=list("abc")),
    )
    weighted = score_table(truth, predicted, score=lambda a, b: (a - b).max(axis=0))
    np.testing.assert_array_equal(weighted, [(truth - predicted).max(axis=0)])


def test_pooling_is_named_and_rewards_telling_sections_apart():
    rng = np.random.default_rng(0)
    section = np.repeat(["A", "B"], 50)
    shift = 10.0 * (section == "B")[:, None]
    truth, predicted = rng.normal(size=(2, 100, 4)) + shift
    pooled = score_table(truth, predicted, section, pooling="pooled")
    assert pooled.index.tolist() == ["pooled"]
    np.testing.assert_array_equal(pooled.loc["pooled"], pearson_per_gene(truth, predicted))
    assert pooled.min(axis=None) > 0.9
    assert score_table(truth, predicted, section).abs().mean(axis=None) < 0.2


def test_bad_input():
    with pytest.raises(ValueError, match=r"each of the 4 spots; got shape \(2,\)"):
        score_table(TRUTH, PREDICTED, ["A", "B"])
    with pytest.raises(ValueError, match="3 genes are named, but y has 2"):
        score_table(TRUTH, PREDICTED, genes=["a", "b", "c"])
    with pytest.raises(ValueError, match="'score' parameter"):
        score_table(TRUTH, PREDICTED, score="r2")
    with pytest.raises(ValueError, match="'pooling' parameter"):
        score_table(TRUTH, PREDICTED, pooling="slide")
