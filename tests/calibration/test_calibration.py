"""Intervals that hold as often as they say, spread that grows with errors, genes to believe."""

import numpy as np
import pytest
from anndata import AnnData

from histoexpr import ExpressionTransformer
from histoexpr.calibration import ConformalIntervals, SpreadModel, gene_reliability
from histoexpr.data import unpack_target


def skewed_errors(rng, n):
    """Errors of three genes, one of them skewed, around a level that sets their size."""
    level = rng.uniform(1, 5, size=(n, 3))
    noise = np.stack([rng.normal(size=n), rng.exponential(size=n) - 1, rng.normal(size=n)], 1)
    return level, noise * np.sqrt(level) * [0.1, 1, 3]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.99])
def test_intervals_hold_as_often_as_they_say(coverage):
    rng = np.random.default_rng(0)
    level, error = skewed_errors(rng, 2000)
    spread = SpreadModel().fit(level, error)
    intervals = ConformalIntervals().fit(error, spread.predict(level), rng.integers(4, size=2000))
    new_level, new_error = skewed_errors(rng, 4000)
    lower, upper = intervals.predict(new_level, spread.predict(new_level), coverage)
    inside = (new_level + new_error >= lower) & (new_level + new_error <= upper)
    np.testing.assert_allclose(inside.mean(axis=0), coverage, atol=0.025)
    above, below = (new_level + new_error > upper).mean(), (new_level + new_error < lower).mean()
    assert abs(above - below) < 0.02  # as much is left out above as below


def test_each_group_weighs_the_same():
    # Ten spots of a noisy patient, a thousand of a quiet one: half the weight is the noisy one's.
    error = np.concatenate([np.linspace(-10, 10, 10), np.linspace(-1, 1, 1000)])[:, None]
    groups = np.repeat(["noisy", "quiet"], [10, 1000])
    spread = np.ones_like(error)
    _, grouped = ConformalIntervals().fit(error, spread, groups).predict(0 * error, spread, 0.8)
    _, pooled = ConformalIntervals().fit(error, spread).predict(0 * error, spread, 0.8)
    assert grouped.max() > 5 and pooled.max() < 1.5


def test_few_spots_give_the_widest_interval_there_is_evidence_for():
    error = np.array([[-1.0], [0.5], [2.0]])
    lower, upper = ConformalIntervals().fit(error, 1 + 0 * error).predict(
        np.zeros((1, 1)), np.ones((1, 1)), 0.9
    )
    assert (lower[0, 0], upper[0, 0]) == (-1.0, 2.0)


@pytest.mark.parametrize("coverage", [0, 1, 90, -0.1])
def test_coverage_is_a_share(coverage):
    fitted = ConformalIntervals().fit(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        fitted.predict(np.ones((1, 1)), np.ones((1, 1)), coverage)


def test_spread_follows_the_size_of_errors():
    rng = np.random.default_rng(1)
    level, error = skewed_errors(rng, 5000)
    spread = SpreadModel().fit(level, error).predict(level)
    np.testing.assert_allclose(spread, np.sqrt(level) * [0.1, 1, 3], rtol=0.25)
    flat = SpreadModel().fit(np.ones((50, 1)), rng.normal(size=(50, 1)))
    assert np.isfinite(flat.predict(np.array([[1.0], [9.0]]))).all()


def test_reliability_is_the_share_of_the_ceiling():
    rng = np.random.default_rng(0)
    rate = rng.gamma(2.0, 4.0, size=(600, 3)) * [1, 1, 0.5]
    counts = rng.poisson(rate).astype(np.float32)
    counts[:, 2] = rng.permutation(counts[:, 2])  # nothing predicts it
    expression = ExpressionTransformer(normalize=None, log=None).fit(AnnData(counts))
    target = unpack_target(AnnData(counts))
    share = gene_reliability(target, expression, rate, counts, random_state=0)
    assert share.index.tolist() == ["0", "1", "2"]
    np.testing.assert_allclose(share.iloc[:2], 1.0, atol=0.05)
    assert abs(share.iloc[2]) < 0.15
    without_counts = gene_reliability(unpack_target(counts), None, rate, counts)
    assert (without_counts.iloc[:2] < 0.97).all()  # the correlation as it is
