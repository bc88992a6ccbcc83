"""ExpressionTransformer: which genes, which scale, and which input it refuses."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse
from anndata import AnnData
from sklearn.base import clone

from histoexpr.data import unpack_target
from histoexpr.preprocessing import ExpressionTransformer, check_expression

GENES = [f"G{i}" for i in range(40)]
FORMATS = {
    "dense float": lambda counts: counts.astype(np.float32),
    "dense int": lambda counts: counts,
    "csr": lambda counts: scipy.sparse.csr_matrix(counts.astype(np.float32)),
    "csc": lambda counts: scipy.sparse.csc_matrix(counts.astype(np.float64)),
}


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.6, 3.0, size=40) * rng.gamma(2.0, 0.5, size=(60, 1))
    counts = rng.poisson(rates)
    counts[7] = 0
    return counts


@pytest.fixture
def adata(counts):
    obs = pd.DataFrame({"section": ["S2"] * 35 + ["S1"] * 25}, index=map(str, range(60)))
    return AnnData(counts.astype(np.float32), obs=obs, var=pd.DataFrame(index=GENES))


def scanpy_normalized(counts, target_sum=1e4):
    adata = AnnData(counts.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.normalize_total(adata, target_sum=target_sum)
    return adata.X


@pytest.mark.parametrize("name", FORMATS)
def test_default_is_what_scanpy_gives(counts, name):
    adata = AnnData(FORMATS[name](counts), var=pd.DataFrame(index=GENES))
    transformer = ExpressionTransformer()
    expression = transformer.fit_transform(adata)
    assert expression.dtype == np.float32
    assert expression.flags.c_contiguous
    np.testing.assert_allclose(expression, np.log1p(scanpy_normalized(counts)), rtol=1e-5)
    assert transformer.genes_.tolist() == GENES
    assert transformer.get_feature_names_out().tolist() == GENES
    assert transformer.units_ == "log1p of counts per 10,000 over the panel, by spot"


def test_spots_without_counts_become_zeros_without_warnings(adata):
    for over in ("panel", "all"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            expression = ExpressionTransformer(over=over).fit_transform(adata)
        assert np.isfinite(expression).all()
        assert not expression[7].any()


def test_a_list_keeps_its_order_and_joins_by_name(adata):
    transformer = ExpressionTransformer(["G9", "G2", "G30"]).fit(adata)
    shuffled = adata[:, np.random.default_rng(1).permutation(40)].copy()
    expected = np.log1p(scanpy_normalized(np.asarray(adata.X)[:, [9, 2, 30]]))
    np.testing.assert_allclose(transformer.transform(adata), expected, rtol=1e-5)
    np.testing.assert_array_equal(transformer.transform(shuffled), transformer.transform(adata))
    assert transformer.genes_.tolist() == ["G9", "G2", "G30"]


@pytest.mark.parametrize("name", FORMATS)
def test_over_all_divides_by_every_gene_seen_at_fit(counts, name):
    adata = AnnData(FORMATS[name](counts), var=pd.DataFrame(index=GENES))
    transformer = ExpressionTransformer(["G9", "G2"], over="all").fit(adata)
    expected = np.log1p(scanpy_normalized(counts)[:, [9, 2]])
    np.testing.assert_allclose(transformer.transform(adata), expected, rtol=1e-5)
    assert transformer.units_ == "log1p of counts per 10,000 over all genes, by spot"
    with pytest.raises(ValueError, match=r"over='all' sums over are missing.*'G0'"):
        transformer.transform(adata[:, ["G2", "G9"]].copy())
    # a gene that fit did not see does not change the scale
    more = np.column_stack([counts, np.full(60, 1000)])
    more = AnnData(more, var=pd.DataFrame(index=[*GENES, "new"]))
    np.testing.assert_allclose(transformer.transform(more), expected, rtol=1e-5)


def test_by_gene_scales_genes_within_each_section(adata, counts):
    transformer = ExpressionTransformer(normalize="gene", log=None, target_sum=100)
    expression = transformer.fit_transform(adata)
    for rows in (slice(0, 35), slice(35, 60)):
        expected = scanpy_normalized(counts[rows].T, 100).T
        np.testing.assert_allclose(expression[rows], expected, rtol=1e-5)
        sums = expression[rows].sum(axis=0)
        np.testing.assert_allclose(sums[counts[rows].sum(axis=0) > 0], 100, rtol=1e-4)
    # nothing was learnt from the spots of fit
    alone = transformer.transform(adata[35:].copy())
    np.testing.assert_array_equal(alone, expression[35:])
    assert transformer.units_ == "counts per 100 over the section, by gene"


def test_by_gene_keeps_the_depth_of_spots_and_by_spot_removes_it(counts):
    deeper = counts.copy()
    deeper[0] *= 5
    by_spot, by_gene = (
        ExpressionTransformer(normalize=kind, log=None, target_sum=1) for kind in ("spot", "gene")
    )
    np.testing.assert_allclose(
        by_spot.fit_transform(deeper)[0], by_spot.fit_transform(counts)[0], rtol=1e-5
    )
    ratio = by_gene.fit_transform(deeper)[0].sum() / by_gene.fit_transform(counts)[0].sum()
    assert ratio > 3


@pytest.mark.parametrize(
    ("params", "function", "units"),
    [
        ({"log": "log10"}, np.log10, "log10(x + 1) of counts"),
        ({"log": "log1p"}, np.log, "log1p of counts"),
        ({"log": None}, lambda x: x - 1, "as given"),
    ],
)
def test_logs_without_normalisation(counts, params, function, units):
    transformer = ExpressionTransformer(normalize=None, **params)
    np.testing.assert_allclose(
        transformer.fit_transform(counts), function(counts + 1.0), rtol=1e-5, atol=1e-6
    )
    assert transformer.units == transformer.units_ == units


def test_rules_choose_on_the_spots_of_fit_and_stay(adata, counts):
    train, test = adata[:35].copy(), adata[35:].copy()
    test.X = test.X[:, ::-1].copy()
    rules = {
        "expressed": ({"min_spots": 20}, (counts[:35] > 0).sum(axis=0) > 20),
        "highly_expressed": (
            {"n_genes": 10},
            np.isin(np.arange(40), np.argsort(-counts[:35].sum(axis=0), kind="stable")[:10]),
        ),
    }
    for rule, (params, expected) in rules.items():
        transformer = ExpressionTransformer(rule, **params).fit(train)
        assert transformer.genes_.tolist() == np.array(GENES)[expected].tolist()
        assert transformer.transform(test).shape == (25, expected.sum())


@pytest.mark.parametrize("sections", [1, 2])
def test_highly_variable_genes_are_those_of_scanpy(sections):
    rng = np.random.default_rng(3)
    counts = rng.negative_binomial(rng.uniform(0.3, 5.0, size=150), 0.2, size=(80, 150))
    obs = pd.DataFrame(
        {"section": np.repeat(["B", "A"], 40) if sections == 2 else "A"},
        index=map(str, range(80)),
    )
    adata = AnnData(counts.astype(np.float32), obs=obs)
    chosen = ExpressionTransformer("highly_variable", n_genes=20).fit(adata).genes_
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(
        adata, n_top_genes=20, batch_key="section" if sections == 2 else None
    )
    assert chosen.tolist() == adata.var_names[adata.var["highly_variable"]].tolist()


def test_highly_variable_survives_a_section_with_one_spot(adata):
    adata.obs["section"] = ["S1"] * 30 + ["S2"] * 29 + ["S3"]
    transformer = ExpressionTransformer("highly_variable", n_genes=15).fit(adata)
    assert len(set(transformer.genes_)) == 15


def test_highly_variable_where_no_gene_has_a_normalised_dispersion():
    """scanpy has nothing to rank then: they tie, and the first are taken."""
    adata = AnnData(np.array([[1, 1, 0, 0], [1, 0, 0, 2], [0, 1, 2, 0]], dtype=np.float32))
    chosen = ExpressionTransformer("highly_variable", n_genes=2).fit(adata).genes_
    assert list(chosen) == ["0", "1"]


@pytest.mark.parametrize("genes", ["highly_variable", "highly_expressed", "expressed", None])
@pytest.mark.parametrize("name", FORMATS)
def test_the_callers_data_are_not_changed(counts, name, genes):
    adata = AnnData(FORMATS[name](counts), var=pd.DataFrame(index=GENES))
    adata.obs["section"] = ["S1"] * 30 + ["S2"] * 30
    before = adata.copy()
    params = {"expressed": {"min_spots": 2}, None: {}}.get(genes, {"n_genes": 5})
    expression = ExpressionTransformer(genes, **params).fit_transform(adata)
    expression += 1
    dense = [x.X.toarray() if scipy.sparse.issparse(x.X) else x.X for x in (adata, before)]
    np.testing.assert_array_equal(*dense)
    assert adata.X.dtype == before.X.dtype
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns


def test_arrays_frames_and_targets(adata, counts):
    from_array = ExpressionTransformer().fit(counts)
    assert from_array.genes_[:2].tolist() == ["x0", "x1"]
    frame = pd.DataFrame(counts, columns=GENES)
    from_frame = ExpressionTransformer(["G3", "G1"]).fit(frame)
    from_target = ExpressionTransformer(["G3", "G1"]).fit(unpack_target(adata))
    np.testing.assert_array_equal(from_frame.transform(adata), from_target.transform(frame))
    with pytest.raises(ValueError, match="array has no gene names"):
        from_frame.transform(counts)


@pytest.mark.parametrize("log", ["log1p", "log10", None])
def test_inverse_gives_the_counts_back(counts, log):
    counts = counts[:, counts.sum(axis=0) > 0]
    for normalize, totals in (("spot", counts.sum(axis=1)), ("gene", counts.sum(axis=0))):
        transformer = ExpressionTransformer(normalize=normalize, log=log)
        expression = transformer.fit_transform(counts)
        np.testing.assert_allclose(
            transformer.inverse_transform(expression, totals), counts, atol=1e-3
        )
    linear = ExpressionTransformer(log=None).fit_transform(counts)
    by_spot = ExpressionTransformer(log=log)
    np.testing.assert_allclose(
        by_spot.inverse_transform(by_spot.fit_transform(counts)), linear, rtol=1e-4, atol=1e-3
    )


def test_inverse_refuses_what_does_not_fit(counts):
    transformer = ExpressionTransformer().fit(counts)
    expression = transformer.transform(counts)
    with pytest.raises(ValueError, match="has 3 columns, but 40 genes"):
        transformer.inverse_transform(expression[:, :3])
    with pytest.raises(ValueError, match=r"each of the 60 spots .* got shape \(40,\)"):
        transformer.inverse_transform(expression, np.ones(40))
    with pytest.raises(ValueError, match="normalize=None scaled nothing"):
        ExpressionTransformer(normalize=None).fit(counts).inverse_transform(
            expression, np.ones(60)
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x - 1, r"negative values \(down to -1\).*raw counts are needed"),
        (np.log1p, "already normalised or logged.*normalize=None.*check_counts=False"),
        (lambda x: np.where(x == x.max(), np.nan, x), "NaN or infinity"),
        (lambda x: np.where(x == x.max(), np.inf, x), "NaN or infinity"),
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_values_that_are_no_counts_are_refused(adata, change, message, sparse):
    bad = adata.copy()
    bad.X = change(np.asarray(adata.X))
    if sparse:
        bad.X = scipy.sparse.csr_matrix(bad.X)
    transformer = ExpressionTransformer().fit(adata)
    with pytest.raises(ValueError, match=message):
        transformer.transform(bad)
    with pytest.raises(ValueError, match=message):
        clone(transformer).fit(bad)


def test_checks_can_be_relaxed(adata):
    logged = adata.copy()
    logged.X = np.log1p(adata.X)
    as_is = ExpressionTransformer(normalize=None, log=None).fit_transform(logged)
    np.testing.assert_array_equal(as_is, logged.X)
    corrected = adata.copy()
    corrected.X = adata.X * 0.9
    np.testing.assert_allclose(
        ExpressionTransformer(check_counts=False).fit_transform(corrected),
        ExpressionTransformer().fit_transform(adata),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"genes": ["G1", "nope", "G1"]}, "more than once: 'G1'"),
        ({"genes": ["G1", "nope"]}, "1 of the 2 genes asked for are missing.*'nope'"),
        ({"genes": ["g1"]}, "differ in case: adata has 'G1'"),
        ({"genes": []}, "non-empty list of names"),
        ({"genes": [1, 2]}, "non-empty list of names"),
        ({"genes": [["G1"], ["G1", "G2"]]}, "genes must be an array"),
        ({"genes": "variable"}, "'genes' parameter"),
        ({"genes": "highly_variable"}, "needs n_genes="),
        ({"genes": "highly_expressed", "n_genes": 41}, "choose 41 genes"),
        ({"genes": "expressed"}, "needs min_spots="),
        ({"genes": "expressed", "min_spots": 60}, "0 of 40 have counts in at least 61"),
        ({"genes": "expressed", "min_spots": 3, "n_genes": 2}, "takes no n_genes"),
        ({"n_genes": 3}, "n_genes=3 has no effect with genes=None"),
        ({"genes": ["G1"], "min_spots": 3}, "min_spots=3 has no effect with a list"),
        ({"target_sum": 0}, "'target_sum' parameter"),
    ],
)
def test_bad_parameters(adata, params, message):
    with pytest.raises(ValueError, match=message):
        ExpressionTransformer(**params).fit(adata)


def test_a_missing_gene_is_named_at_transform(adata):
    transformer = ExpressionTransformer().fit(adata)
    with pytest.raises(ValueError, match="2 of the 40 genes of the panel are missing.*'G0', 'G1'"):
        transformer.transform(adata[:, 2:].copy())


def test_a_refused_fit_leaves_the_earlier_one(adata):
    transformer = ExpressionTransformer(["G1"]).fit(adata)
    with pytest.raises(ValueError, match="'nope'"):
        transformer.set_params(genes=["G1", "nope"]).fit(adata)
    assert transformer.genes_.tolist() == ["G1"]


def test_check_expression():
    assert isinstance(check_expression(None), ExpressionTransformer)
    given = ExpressionTransformer(["A"], log="log10")
    made = check_expression(given)
    assert made is not given and made.get_params() == given.get_params()
    for wrong in ("log1p", ["A"], ExpressionTransformer):
        with pytest.raises(TypeError, match="must be an ExpressionTransformer or None"):
            check_expression(wrong)


def test_clone_and_pickle(adata):
    transformer = ExpressionTransformer(np.array(["G3", "G1"]), over="all").fit(adata)
    assert not hasattr(clone(transformer), "genes_")
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(again.transform(adata), transformer.transform(adata))
    assert not hasattr(transformer.set_params(over="panel").fit(adata), "all_genes_")


def test_real_spots_without_counts_in_the_panel_survive(shared):
    data = shared / "data"
    panel = (data / "panels" / "her2st_785.txt").read_text().split()
    for section in ("B4", "C2", "C3"):
        frame = pd.read_csv(
            data / "her2st" / "data" / "ST-cnts" / f"{section}.tsv.gz", sep="\t", index_col=0
        )
        empty = frame[panel].sum(axis=1).to_numpy() == 0
        assert empty.sum() == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            expression = ExpressionTransformer(panel).fit_transform(frame)
        assert np.isfinite(expression).all()
        assert not expression[empty].any()
        np.testing.assert_allclose(np.expm1(expression[~empty]).sum(axis=1), 1e4, rtol=1e-3)


def test_torchs_threads_are_left_alone():
    """scanpy's numba sets the threads of the OpenMP library that torch shares."""
    import torch

    rng = np.random.default_rng(0)
    counts = scipy.sparse.csr_matrix(rng.poisson(2.0, (40, 30)).astype(np.float32))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ExpressionTransformer("highly_variable", n_genes=5).fit(AnnData(counts))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
