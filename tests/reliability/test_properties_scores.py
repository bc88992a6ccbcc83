"""Whatever scores, statistics, pictures and reports are given: right, or refused as documented."""

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import answer, examples
from histoexpr import ExpressionTransformer, calibration, metrics, model_selection, plotting
from histoexpr.data import unpack_target
from histoexpr.report import write_report
from strategies import adatas, arrays, matrices, names, nonsense, odd


@st.composite
def pairs(draw):
    """Measured and predicted expression, mostly of one shape."""
    n, g = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    right = arrays((n, g), "numbers", "f8")
    return tuple(draw(odd(right, matrices(n, g))) for _ in "tp"), n, g


PER_GENE = [metrics.pearson_per_gene, metrics.rmse_per_gene, metrics.mae_per_gene]


@pytest.mark.parametrize("function", PER_GENE, ids=lambda f: f.__name__)
@given(pairs())
def test_scores_of_genes(function, given_):
    (truth, predicted), n, g = given_
    found = answer(function, truth, predicted)
    if found is None:
        return
    assert found.dtype == np.float64 and found.ndim == 1
    if function is metrics.pearson_per_gene:
        assert (np.isnan(found) | (np.abs(found) <= 1)).all()
        order = np.random.default_rng(0).permutation(len(truth))
        moved = function(np.asarray(truth)[order], np.asarray(predicted)[order])
        np.testing.assert_allclose(moved, found, atol=1e-9)
    else:
        assert (found >= 0).all()


@given(pairs(), st.data())
def test_scores_of_sections(given_, data):
    (truth, predicted), n, g = given_
    section = data.draw(odd(st.just(list("AABBAA"[:n])), st.one_of(names(n), nonsense)))
    genes = data.draw(odd(st.sampled_from([None, [f"g{i}" for i in range(g)]]), nonsense))
    spatial = data.draw(odd(arrays((n, 2), "numbers", "f8"), matrices(n, 2)))
    tables = [
        answer(metrics.pearson_per_section, truth, predicted, section, genes=genes),
        answer(
            metrics.score_table, truth, predicted, section, genes=genes,
            score=data.draw(odd(["pearson", "rmse"], ["x", None, 3])),
            pooling=data.draw(odd(["section", "pooled"], ["x"])),
        ),
        answer(metrics.ssim_per_section, truth, predicted, spatial, section, genes=genes),
    ]  # fmt: skip
    ssim = answer(metrics.ssim_per_gene, truth, predicted, spatial)
    assert ssim is None or (np.isnan(ssim) | (np.abs(ssim) <= 1 + 1e-9)).all()
    sets = data.draw(odd([{"all": ["g0"]}, {"all": ["g0"], "b": ["g0"]}], nonsense))
    answer(metrics.summarize_gene_sets, data.draw(st.sampled_from([*tables, 3, truth])), sets)
    for table in tables:
        assert table is None or (isinstance(table, pd.DataFrame) and len(table) >= 1)
    mean = answer(metrics.mean_pearson, truth, predicted, section)
    assert mean is None or np.isnan(mean) or -1 <= mean <= 1


@examples(6)
@given(st.data())
def test_what_is_asked_of_counts(data):
    n = data.draw(st.integers(1, 7))
    y = data.draw(odd(adatas(n), st.one_of(matrices(n), nonsense)))
    section = data.draw(odd([None], st.one_of(names(n), nonsense)))
    ceiling = answer(
        metrics.noise_ceiling, y, section=section, n_splits=data.draw(odd([2], [0, "a"])),
        random_state=data.draw(odd([0], [-1, "x"])),
    )  # fmt: skip
    if ceiling is not None:
        values = ceiling.to_numpy()
        assert (np.isnan(values) | ((values >= 0) & (values <= 1))).all()
    sets = answer(
        metrics.gene_sets, y, data.draw(odd([None], [["g0"], [], 3, ["g0", "g0"]])),
        n_genes=data.draw(odd([1, 2], [0, 99])),
        scores=data.draw(odd([None, {"a": {"g0": 1.0}}], [{"a": 3}, {"a": [1]}, {"a": None}, "x"])),
        markers=data.draw(odd([None, {"a": ["g0"]}], [{"all": ["g0"]}, {"a": []}, {"a": 3}])),
    )  # fmt: skip
    assert sets is None or "all" in sets
    domains = answer(
        metrics.domain_agreement, y, data.draw(odd([None], st.one_of(names(n), nonsense))),
        section=section, n_components=data.draw(odd([2], [0, None])), random_state=0,
    )  # fmt: skip
    assert domains is None or (domains["n_spots"] <= n).all()


@examples(6)
@given(st.data())
def test_reliability_of_genes(data):
    """It takes what a fit has checked already: counts, and finite predictions of their shape."""
    y = data.draw(adatas(data.draw(st.integers(2, 8))))
    target = answer(unpack_target, y)
    if target is None:
        return
    expression = data.draw(st.sampled_from([None, ExpressionTransformer()]))
    if expression is not None and answer(expression.fit, target) is None:
        return
    pair = (np.random.default_rng(seed).normal(size=y.shape) for seed in (0, 1))
    found = answer(calibration.gene_reliability, target, expression, *pair, random_state=0)
    assert found is None or found.dropna().between(-1, 1).all()


@given(st.data())
def test_calibration(data):
    n, g = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    matrix = odd(arrays((n, g), "numbers", "f8"), matrices(n, g))
    spread = calibration.SpreadModel()
    if answer(spread.fit, data.draw(matrix), data.draw(matrix)) is not None:
        std = answer(spread.predict, data.draw(matrix))
        assert std is None or (np.isfinite(std).all() and (std >= 0).all())
    intervals = calibration.ConformalIntervals()
    groups = data.draw(odd([None, list("ABABA"[:n])], st.one_of(names(n), nonsense)))
    if answer(intervals.fit, data.draw(matrix), data.draw(matrix), groups) is not None:
        coverage = data.draw(odd([0.9, 0.5], [0, 1, "a", None, np.nan]))
        bounds = answer(intervals.predict, *(np.abs(np.ones((n, g))),) * 2, coverage)
        assert bounds is None or (bounds[0] <= bounds[1]).all()


# tables of results -------------------------------------------------------------------------------


def table(n_sections, n_genes, patients):
    rng = np.random.default_rng(0)
    rows = pd.MultiIndex.from_product(
        [["ridge", "STco", "mean"], range(n_sections), range(n_genes)]
    ).to_frame(index=False, name=["method", "section", "gene"])
    return rows.assign(
        section="S" + rows["section"].astype(str), gene="g" + rows["gene"].astype(str),
        pearson=rng.normal(size=len(rows)), rmse=1.0, mae=0.5, protocol="section-out",
        control=rows["method"] == "mean", fold="fold " + rows["section"].astype(str),
        patient=("P" + (rows["section"] % 4).astype(str)) if patients else "",
        patient_in_training=True, units="log", n_train=9, n_spots=5, seconds_fit=1.0,
        seconds_predict=1.0, peak_memory=1.0, seed=0, error="", fit="0",
    )  # fmt: skip


@st.composite
def results(draw):
    """What a benchmark returned, and what became of it on the way."""
    found = table(draw(st.integers(1, 7)), draw(st.integers(1, 3)), draw(st.booleans()))
    column = draw(st.sampled_from(list(found.columns)))
    changes = {
        "drop": lambda t: t.drop(columns=[column]),
        "missing": lambda t: t.assign(**{column: None}),
        "words": lambda t: t.assign(**{column: "x"}),
        "categories": lambda t: t.assign(**{column: pd.Categorical(t[column])}),
        "constant": lambda t: t.assign(pearson=1.0),
        "NaN": lambda t: t.assign(pearson=np.nan),
        "failed": lambda t: t.assign(pearson=np.nan, gene="", error="boom"),
        "one failed": lambda t: t.assign(pearson=t["pearson"].where(t["method"] != "ridge")),
        "twice": lambda t: pd.concat([t, t]),
        "none": lambda t: t.iloc[:0],
        "other order": lambda t: t.sample(frac=1, random_state=0),
        "column twice": lambda t: pd.concat([t, t[[column]]], axis=1),
    }
    how = draw(odd(["nothing", "nothing", *changes], ["nonsense"]))
    return draw(nonsense) if how == "nonsense" else changes.get(how, lambda t: t)(found)


SCORES = odd(["pearson", "rmse"], ["x", "gene", None])
UNIT = odd([None, "patient", "section", "gene"], ["x"])


@examples(5)
@given(results(), st.data())
def test_statistics(found, data):
    score = data.draw(SCORES)
    summary = answer(model_selection.summarize, found, score)
    assert summary is None or summary["mean"].dtype == np.float64
    reference = data.draw(odd([None, "ridge"], ["z", 3]))
    compared = answer(
        model_selection.compare_methods, found, score, reference=reference, unit=data.draw(UNIT)
    )
    if compared is not None:
        assert compared["p_value"].dropna().between(0, 1).all()
    intervals = answer(
        model_selection.bootstrap_intervals, found, score, reference=reference, n_resamples=9
    )
    if intervals is not None:
        known = intervals.dropna(subset=["low", "high"])
        assert (known["low"] <= known["high"]).all()
    ranked = answer(model_selection.rank_methods, found, score, unit=data.draw(UNIT))
    if ranked is not None:
        assert ranked["mean_rank"].is_monotonic_increasing
        answer(plotting.plot_ranks, ranked)


@examples(8)
@given(results(), st.data())
def test_pictures_of_results(found, data):
    answer(model_selection.rank_groups, found)
    answer(plotting.plot_ranks, found)
    methods = data.draw(odd([None, ["ridge"]], [["z"], [], 3, "ridge"]))
    controls = data.draw(odd([(), ["mean"]], [None]))
    answer(plotting.plot_scores, found, data.draw(SCORES), methods=methods, controls=controls)


@examples(3)
@given(results(), st.data())
def test_reports(tmp_path, found, data):
    path = tmp_path / "report.html"
    path.unlink(missing_ok=True)
    written = answer(
        write_report, found, path,
        title=data.draw(odd(["T", "<x>"], [None, 3])),
        ceiling=data.draw(odd([None, pd.Series({"S0": 0.5})], ["x", 3])),
        published=data.draw(odd([None, pd.DataFrame({"P": [0.5]}, index=["S0"])], [3])),
        n_genes=data.draw(odd([3], [0, "a"])), settings=data.draw(odd([None], [3, "x"])),
    )  # fmt: skip
    assert (written is not None) == path.exists()
    if written is not None:
        assert path.read_text().rstrip().endswith("</html>")


# other pictures ----------------------------------------------------------------------------------


@examples(6)
@given(st.data())
def test_pictures(data):
    one, other = (data.draw(odd(adatas(), nonsense)) for _ in "ab")
    answer(
        plotting.plot_genes,
        data.draw(odd(st.sampled_from([{"a": one}, {"a": one, "b": other}]), nonsense)),
        data.draw(odd([["g0"], ["g0", "g1"]], [[], "g0", 3, None, ["z"]])),
        difference=data.draw(st.booleans()),
        image=data.draw(odd([None, np.zeros((5, 5, 3), np.uint8)], [3, np.zeros(3), "x"])),
        scale=data.draw(odd([1.0], [0, -1, "a", np.nan])),
        size=data.draw(odd([None, 3.0], [0, "a", np.nan])),
    )
    patches, rows = np.zeros((3, 4, 4, 3), np.uint8), np.arange(15).reshape(3, 5) % 3
    answer(
        plotting.plot_neighbors,
        data.draw(odd([patches], [None, np.zeros((3, 2)), []])),
        data.draw(odd([patches], [None, patches[:0], 3])),
        data.draw(odd([rows], [None, rows[0], rows + 9, "x", rows / 2])),
        n_neighbors=data.draw(odd([5, 2], [0, -1, 9, "a", 1.5])),
        titles=data.draw(odd([None, list("abc")], [3, ["a"], "abc"])),
    )
    n, g = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    matrix = odd([np.abs(np.random.default_rng(0).normal(size=(n, g)))], matrices(n, g))
    bounds = {0.5: (np.zeros((n, g)), np.ones((n, g)))}
    answer(
        plotting.plot_reliability, *(data.draw(matrix) for _ in range(3)),
        intervals=data.draw(odd([None, bounds], [{}, {"a": 1}, {0.5: 3}, {2.0: (0, 1)}, 3])),
    )  # fmt: skip
    history = [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}]
    answer(plotting.plot_training, data.draw(odd([history], [[{}], [3], None, [], "x"])))


def test_genes_named_twice_and_spots_at_one_place():
    adata = anndata.AnnData(np.arange(6.0).reshape(2, 3), obsm={"spatial": np.ones((2, 2))})
    adata.var_names = ["a", "b", "b"]
    assert answer(plotting.plot_genes, {"x": adata}, ["b"]) is None
    (ax,) = answer(plotting.plot_genes, {"x": adata}, ["a"]).ravel()
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
