"""The ceiling against counts whose true rates are known, and on the real sections."""

import anndata
import numpy as np
import pytest
import scipy.sparse

from histoexpr import ExpressionTransformer
from histoexpr.datasets import load_her2st
from histoexpr.metrics import mean_pearson, noise_ceiling, pearson_per_gene

RAW = ExpressionTransformer(normalize=None, log=None)


def simulate(n_spots, means, seed=0):
    """Poisson counts and their rates: each gene varies over the spots by a factor of its own."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(4.0, 0.25, (n_spots, len(means))) * means
    return rng.poisson(rates), rates


def test_recovers_the_correlation_of_counts_with_their_true_rates():
    counts, rates = simulate(6000, [0.5, 2.0, 8.0, 32.0])
    ceiling = noise_ceiling(counts, RAW, random_state=0).loc["0"]
    np.testing.assert_allclose(ceiling, pearson_per_gene(counts, rates), atol=0.02)
    # Var(rate) / (Var(rate) + E(rate)) of a gamma(4, mean / 4)
    np.testing.assert_allclose(ceiling**2, [1 / 9, 1 / 3, 2 / 3, 8 / 9], atol=0.03)


def test_no_predictor_passes_it_on_average_under_normalisation_and_log():
    _, rates = simulate(300, np.geomspace(0.05, 20, 60), seed=1)
    rng = np.random.default_rng(2)
    expression = ExpressionTransformer().fit(rng.poisson(rates))
    best = np.mean([expression.transform(rng.poisson(rates)) for _ in range(100)], axis=0)
    measured = [rng.poisson(rates) for _ in range(4)]
    reached = [mean_pearson(expression.transform(counts), best) for counts in measured]
    ceilings = [noise_ceiling(c, expression, random_state=0) for c in measured]
    ceiling = np.mean([c.mean(axis=1).item() for c in ceilings])
    assert 0.9 * ceiling < np.mean(reached) < ceiling + 0.005


def test_sections_are_kept_apart_and_named():
    counts, _ = simulate(400, [5.0, 5.0])
    counts[:200] *= 0  # the first section caught nothing,
    counts[:200, 1] = np.arange(200)  # but this gene
    section = ["S2"] * 200 + ["S1"] * 200
    adata = anndata.AnnData(scipy.sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs["section"], adata.var_names = section, ["G0", "G1"]
    table = noise_ceiling(adata, RAW, random_state=0)
    assert table.index.tolist() == ["S2", "S1"] and table.index.name == "section"
    assert table.columns.tolist() == ["G0", "G1"]
    assert np.isnan(table.loc["S2", "G0"]) and table.loc["S2", "G1"] > 0.97
    alone = noise_ceiling(counts[200:], RAW, random_state=0)
    np.testing.assert_allclose(table.loc["S1"], alone.loc["0"], atol=0.05)
    given = noise_ceiling(counts, RAW, section=section, random_state=0)
    np.testing.assert_array_equal(given, table)  # dense and sparse draw the same splits
    one = noise_ceiling(adata, RAW, section=["S"] * 400, random_state=0)
    assert one.index.tolist() == ["S"]


def test_the_expression_decides_and_a_fitted_one_is_used_as_it_is():
    counts, _ = simulate(300, [1.0, 4.0, 16.0, 40.0])
    panel = ExpressionTransformer(["x3", "x1"])
    table = noise_ceiling(counts, panel, random_state=0)
    assert table.columns.tolist() == ["x3", "x1"] and not hasattr(panel, "genes_")
    np.testing.assert_array_equal(table, noise_ceiling(counts, panel.fit(counts), random_state=0))
    fewest = ExpressionTransformer("highly_expressed", n_genes=1).fit(counts[:, :2])
    assert noise_ceiling(counts, fewest, random_state=0).columns.tolist() == ["x1"]
    np.testing.assert_array_equal(
        noise_ceiling(counts, random_state=0),
        noise_ceiling(counts, ExpressionTransformer(), random_state=0),
    )


def test_what_cannot_agree_is_zero_and_what_does_not_vary_is_undefined():
    counts = np.zeros((30, 3))
    counts[3, 0] = 1  # one molecule: never in both halves
    counts[:, 1] = 7
    table = noise_ceiling(counts, RAW, random_state=0)
    assert table.loc["0", "x0"] == 0
    assert table.loc["0", ["x1", "x2"]].isna().all()
    assert noise_ceiling([[3, 4]], RAW).isna().all(axis=None)


def test_splits_follow_the_seed_and_leave_the_counts():
    counts, _ = simulate(100, [3.0] * 5)
    sparse = scipy.sparse.csr_matrix(counts.astype(np.float32))
    adata = anndata.AnnData(sparse.copy())
    first, again = (noise_ceiling(adata, random_state=3, n_splits=2) for _ in range(2))
    assert (first == again).all(axis=None)
    assert not (first == noise_ceiling(adata, random_state=4, n_splits=2)).any(axis=None)
    assert (adata.X != sparse).nnz == 0


def test_bad_input():
    for values in ([[0.5, 1.0]], [[-1.0, 1.0]]):
        with pytest.raises(ValueError, match="noise_ceiling splits counts.*pass raw counts"):
            noise_ceiling(values)
    with pytest.raises(ValueError, match=r"each of the 2 spots; got shape \(3,\)"):
        noise_ceiling([[1, 2], [3, 4]], section=["A", "B", "C"])
    with pytest.raises(TypeError, match="expression must be an ExpressionTransformer"):
        noise_ceiling([[1, 2], [3, 4]], "log1p")
    with pytest.raises(ValueError, match="n_splits"):
        noise_ceiling([[1, 2], [3, 4]], n_splits=0)


def test_real_sections(shared):
    """About .52 for B4 and .48 for the sections of patient C, as counted independently."""
    _, adata = load_her2st(shared / "data/her2st")
    panel = (shared / "data/panels/her2st_785.txt").read_text().split()
    ceiling = noise_ceiling(adata, ExpressionTransformer(panel, log="log10"), random_state=0)
    means = ceiling.mean(axis=1)[["B4", "C2", "C3", "C4"]]
    np.testing.assert_allclose(means, [0.523, 0.484, 0.480, 0.478], atol=0.01)
