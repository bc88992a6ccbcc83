"""Correlations per gene and section, and what is done where they are undefined."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from histoexpr.metrics import mean_pearson, pearson_per_gene, pearson_per_section


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 6))
    return truth, truth + rng.normal(size=(30, 6))


def test_agrees_with_scipy_and_keeps_the_input(pair):
    truth, predicted = pair
    before = truth.copy(), predicted.copy()
    expected = [pearsonr(truth[:, i], predicted[:, i]).statistic for i in range(6)]
    result = pearson_per_gene(truth, predicted)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    np.testing.assert_allclose(pearson_per_gene(truth[:, 0], predicted[:, 0]), expected[:1])
    np.testing.assert_array_equal(before, pair)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_scale_does_not_matter(pair, scale):
    truth, predicted = pair
    np.testing.assert_allclose(
        pearson_per_gene(truth, predicted * scale), pearson_per_gene(truth, predicted), rtol=1e-9
    )


def test_constant_truth_is_undefined_and_constant_prediction_scores_zero():
    truth = np.array([[1.0, 0.1, 3.0, 0.1], [2.0, 0.1, 1.0, 0.1], [4.0, 0.1, 2.0, 0.1]])
    predicted = np.array([[1.0, 5.0, 0.1, 0.1], [2.0, 6.0, 0.1, 0.1], [4.0, 9.0, 0.1, 0.1]])
    np.testing.assert_allclose(pearson_per_gene(truth, predicted), [1, np.nan, 0, np.nan])
    assert mean_pearson(truth, predicted) == pytest.approx(0.5)


def test_float32_constants_are_seen_as_constant():
    constant = np.full((1000, 1), 0.1, dtype=np.float32)
    varying = np.random.default_rng(0).normal(size=(1000, 1))
    assert np.isnan(pearson_per_gene(constant, varying)).all()
    assert pearson_per_gene(varying, constant) == 0


def test_per_section(pair):
    truth, predicted = pair
    section = np.array(["Z"] * 10 + ["A"] * 19 + ["M"])
    order = np.random.default_rng(1).permutation(29)
    order = np.r_[0, order[order != 0], 29]  # "Z" first, "M" last
    table = pearson_per_section(
        truth[order], predicted[order], section[order], genes=list("abcdef")
    )
    assert table.index.tolist() == ["Z", "A", "M"]
    assert table.columns.tolist() == list("abcdef")
    np.testing.assert_allclose(table.loc["Z"], pearson_per_gene(truth[:10], predicted[:10]))
    np.testing.assert_allclose(table.loc["A"], pearson_per_gene(truth[10:29], predicted[10:29]))
    assert table.loc["M"].isna().all()
    numbered = pearson_per_section(truth, predicted, pd.Series(section))
    assert numbered.columns.tolist() == list(range(6))


def test_mean_weighs_sections_equally_and_leaves_undefined_ones_out(pair, caplog):
    truth, predicted = pair
    section = ["Z"] * 10 + ["A"] * 19 + ["M"]
    expected = np.mean(
        [
            pearson_per_gene(truth[:10], predicted[:10]).mean(),
            pearson_per_gene(truth[10:29], predicted[10:29]).mean(),
        ]
    )
    with caplog.at_level(logging.WARNING, "histoexpr"):
        assert mean_pearson(truth, predicted, section) == pytest.approx(expected)
    assert "1 of 3 sections (M)" in caplog.text
    assert np.isnan(mean_pearson(truth[:1], predicted[:1]))


def test_sections_are_not_pooled():
    """Telling the sections apart is not rewarded."""
    rng = np.random.default_rng(0)
    section = np.repeat(["A", "B"], 50)
    truth = rng.normal(size=(100, 4)) + 10.0 * (section == "B")[:, None]
    predicted = rng.normal(size=(100, 4)) + 10.0 * (section == "B")[:, None]
    assert mean_pearson(truth, predicted) > 0.9
    assert abs(mean_pearson(truth, predicted, section)) < 0.2


def test_bad_input(pair):
    truth, predicted = pair
    with pytest.raises(ValueError, match=r"shape \(30, 6\) and y_pred \(30, 5\)"):
        pearson_per_gene(truth, predicted[:, :5])
    with pytest.raises(ValueError, match="y_pred contains NaN"):
        pearson_per_gene(truth, np.full_like(truth, np.nan))
    with pytest.raises(ValueError, match=r"each of the 30 spots; got shape \(3,\)"):
        pearson_per_section(truth, predicted, ["A", "B", "C"])
    with pytest.raises(ValueError, match="2 genes are named, but y has 6"):
        pearson_per_section(truth, predicted, ["A"] * 30, genes=["a", "b"])
