"""Whatever is read, written and drawn from files is given; and that nothing public is left out."""

import ast
import importlib
import inspect
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import histoexpr
from contract import answer, examples
from fuzz import formats
from histoexpr import (
    FeatureCache,
    LinearProbe,
    SpotFeatures,
    TextureFeaturizer,
    datasets,
    featurizers,
    metrics,
    model_selection,
    plotting,
    slides,
)
from histoexpr.data import clear_image_cache, unpack_target
from strategies import adatas, arrays, nonsense, odd

# What no test here drives by itself, and why.
NOT_DRIVEN = {
    **dict.fromkeys(["Attention", "TransformerBlock"], "parts of a Transformer"),
    **dict.fromkeys(["CellTypeEmbedding", "GraphAttention"], "parts of a GraphSpotEncoder"),
    "DynamicGraph": "a part of Reg2STModule",
    "PositionEmbedding": "a part of SpotEncoder",
    "EndToEnd": "driven by a fit with trainable=True",
    "ZINB": "what a ZINBHead gives",
    "exceptions": "what is raised",
    "BaseExpressionRegressor": "driven by each method",
    "ExpressionTargetMixin": "driven by each method",
    "SavableMixin": "driven as save and card",
    "Protocol": "abstract; driven by each protocol",
    "SlidesFailed": "an exception",
    "SurvivingClient": "takes a client of dask, see tests/utils/test_dask.py",
    "carried": "takes anything",
    "completed": "driven by each fit, with what unpack_target gave",
    "in_section_order": "driven by each fit, with what unpack_target gave",
    "METHOD_NAMES": "a constant",
    "CONTROL_NAMES": "a constant",
    "PROTOCOLS": "a constant",
    "Slide": "made by open_slide",
    "SpotRetriever": "driven as one of small_models",
    **dict.fromkeys(["GR2ST", "MclSTExp", "Reg2ST", "STco", "StInfer"], "one of small_models"),
    "ContrastiveEnsemble": "one of small_models",
}


def public():
    """Everything public that a user calls: (package, name)."""
    for package in sorted(histoexpr._SUBMODULES - {"testing"}):
        names = importlib.import_module(f"histoexpr.{package}").__all__
        yield from ((package, name) for name in names)
    yield "testing", "expected_failed_checks"


def test_no_public_entry_is_forgotten():
    """Each stands in the code of these files (an import is not enough), or in NOT_DRIVEN."""
    files = Path(__file__).parent.glob("test_properties_*.py")
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    named = {node.id for node in nodes if isinstance(node, ast.Name)} | set(LOADERS)
    named |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    left = [".".join(pair) for pair in public() if not set(pair) & set(NOT_DRIVEN)]
    left = [entry for entry in left if entry.partition(".")[2] not in named]
    assert not left, f"no property test names {left}"


pytestmark = pytest.mark.usefixtures("own_folder")

# an AnnData on disk ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["dense", "csr_matrix"])
def backed(request, tmp_path_factory):
    """The same counts in memory and in a file, of two sections."""
    path = tmp_path_factory.mktemp("backed") / f"{request.param}.h5ad"
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, (40, 4)).astype("f4")
    adata = anndata.AnnData(
        counts if request.param == "dense" else scipy.sparse.csr_matrix(counts),
        obs=pd.DataFrame(
            {"section": list("AB") * 20, "patient": list("AB") * 20, "domain": list("xxyy") * 10},
            index=[f"s{i}" for i in range(40)],
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(4)]),
        obsm={"spatial": rng.uniform(0, 40, (40, 2))},
    )
    adata.write_h5ad(path)
    on_disk = anndata.read_h5ad(path, backed="r")
    yield adata, on_disk
    on_disk.file.close()


def of_adata():
    """Every entry that takes an AnnData: what a call gives for comparison."""
    X = np.random.default_rng(1).normal(size=(40, 5))
    model = LinearProbe(None, cv=2, n_components=4, random_state=0)
    return {
        "unpack_target": lambda y: np.asarray(unpack_target(y).matrix.sum(axis=0)),
        "fit": lambda y: model.fit(X, y).predict(X),
        "score": lambda y: model.fit(X, y).score(X, y),
        "scorer": lambda y: metrics.pearson_scorer(model.fit(X, y), X, y),
        "expression": lambda y: histoexpr.ExpressionTransformer().fit_transform(y),
        "noise_ceiling": lambda y: metrics.noise_ceiling(y, n_splits=2, random_state=0),
        "gene_sets": lambda y: len(metrics.gene_sets(y, n_genes=2)["all"]),
        "domains": lambda y: metrics.domain_agreement(y, random_state=0)["ari"],
        "plot_genes": lambda y: plotting.plot_genes({"a": y}, ["g1"])[0, 0].get_xlim(),
        "protocol": lambda y: model_selection.SectionOut().folds(X, y)[0].train,
        "published_protocol": lambda y: len(model_selection.published_protocol(y, ["g0", "g1"])),
    }  # fmt: skip


@pytest.mark.parametrize("name", of_adata())
def test_backed_adata(backed, name):
    """On disk it is worth what it is in memory, and so is a view of it."""
    in_memory, on_disk = backed
    function = of_adata()[name]
    expected = function(in_memory)
    for adata in (on_disk, on_disk[:, :]):
        np.testing.assert_allclose(np.asarray(answer(function, adata)), np.asarray(expected))


# models and caches -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    """A small cohort, and a model of it."""
    images, adata = datasets.make_spatial_expression(
        2, grid=(6, 6), n_genes=4, mpp=2.0, out_px=16, random_state=0
    )
    model = LinearProbe(TextureFeaturizer(("stain",)), n_components=4, cv=2).fit(images, adata)
    return images, adata, model


@examples(30)
@given(st.data())
def test_model_files(fitted, data):
    model = fitted[2]
    saved = data.draw(odd([model, LinearProbe(None)], nonsense))
    path = data.draw(odd(["m.histoexpr"], st.one_of(nonsense, st.sampled_from(["no/m", "."]))))
    Path("m.histoexpr").unlink(missing_ok=True)
    card = data.draw(odd([None, "# A model"], nonsense))
    answer(histoexpr.save, saved, path, card=card)
    loaded = answer(
        histoexpr.load, data.draw(odd(["m.histoexpr"], nonsense)),
        trusted=data.draw(odd([()], nonsense)),
        max_bytes=data.draw(odd([2**24], [0, -1, "a", None, np.nan])),
    )  # fmt: skip
    assert loaded is None or type(loaded) is type(saved)
    scores = data.draw(odd([None, pd.Series([0.5], ["g0"])], nonsense))
    license = data.draw(odd([None, "MIT"], nonsense))
    page = answer(histoexpr.io.card, saved, scores, measure="R2", license=license)
    assert page is None or page.startswith("# ")


@given(odd([None, "cache"], nonsense), odd([None, 2**20], [0, -1, 1.5, "a", True, np.nan]))
def test_caches(folder, most):
    cache = answer(FeatureCache, folder, most)
    if cache is not None:
        answer(cache.clear)
    featurizers.clear_feature_cache()
    clear_image_cache()


# sections ----------------------------------------------------------------------------------------

LOADERS = {
    "load_cscc": 1, "load_her2st": 1, "load_hest": 1, "load_patches": 2, "load_sheet": 1,
    "load_visium": 1, "load_visium_hd": 1, "join_sections": 1, "from_spatialdata": 1,
}  # fmt: skip
OPTIONS = {
    "patch_size": ["8", 3, "1e9um"], "out_px": [0, "a"], "fill": [-1, "a"],
    "genes": ["x", 3], "section": [3, []], "patient": [[]], "mpp": [0, "a"],
    "image_scale": ["x", 3], "bin_size": [0, "a"], "source": ["x"], "unreadable": ["x"],
    "sections": [3, ["Z"]], "ids": [3], "join": ["x"], "image": [3], "counts": [3],
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
@examples(10)
@given(st.data())
def test_loaders_of_nothing(name, data):
    """Neither a folder of nothing nor nonsense is a section."""
    function = getattr(datasets, name)
    given_ = [
        data.draw(st.one_of(st.sampled_from([".", "no", Path("no"), "a.csv"]), nonsense))
        for _ in range(LOADERS[name])
    ]
    known = function.__code__.co_varnames[: sum((function.__code__.co_argcount,
                                                 function.__code__.co_kwonlyargcount))]  # fmt: skip
    option = data.draw(st.sampled_from(sorted(set(OPTIONS) & set(known[LOADERS[name] :]))))
    options = {option: data.draw(st.sampled_from(OPTIONS[option]))}
    assert answer(function, *given_, **(options if data.draw(st.booleans()) else {})) is None


# What reads each kind of folder, and what else it has to be given to read a right one.
READERS = {
    "Visium": ("load_visium", {"image": "he.tif"}),
    "VisiumHD": ("load_visium_hd", {"image_scale": "hires", "patch_size": "16um"}),
    "Hest": ("load_hest", {}),
    "CSCC": ("load_cscc", {}),
    "Her2st": ("load_her2st", {}),
    "Patches": ("load_patches", {"table": "patches.csv", "counts": "counts.csv", "mpp": 2.5}),
}
WRONG = [None, "x", 3, -1, 0, True, np.nan, np.inf, 1e300, [], ["Z"], [[1]], {}, {"S1": 3},
         object(), np.float32(2.5), np.array(2.5), b"", "1e9um"]  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@examples(3)
@given(st.data())
def test_options_of_readers(own_folder, monkeypatch, name, data):
    """A right folder, and one argument that is something else."""
    folder = own_folder / "files"
    if not folder.exists():
        folder.mkdir()
        getattr(formats, name)().write(folder)
    monkeypatch.chdir(folder)
    reader, usual = getattr(datasets, READERS[name][0]), READERS[name][1]
    known = list(inspect.signature(reader).parameters)[1:]
    option = data.draw(st.sampled_from(known))
    value = data.draw(st.sampled_from(WRONG))
    found = answer(reader, folder, **{"out_px": 16, **usual, option: value})
    assert found is None or len(found[0]) == found[1].n_obs > 0


@examples(20)
@given(st.data())
def test_sections_of_an_adata(data):
    adata = data.draw(odd(adatas(), nonsense))
    image = odd([np.full((50, 50, 3), 200, "u1")], st.one_of(arrays(), nonsense))
    found = answer(
        datasets.from_anndata, adata, data.draw(image),
        data.draw(odd([1.0], [0, "a", None])),
        data.draw(odd(["A"], nonsense)), data.draw(odd([None, "P"], nonsense)),
        layer=data.draw(odd([None], ["x", 3])), patch_size=data.draw(odd(["8px"], ["8", 3])),
        out_px=data.draw(odd([4], [0, "a"])), fill=data.draw(odd([255], [-1, "a"])),
    )  # fmt: skip
    if found is not None:
        images, counts = found
        assert len(images) == counts.n_obs
        joined = answer(datasets.join_sections, data.draw(odd([[found]], [[], [found, found], 3])))
        assert joined is None or joined[1].n_obs == counts.n_obs


SYNTHETIC = {
    "n_patients": [0, "a", 1.5, 27], "n_sections": [0, None], "grid": [(1, 1), (0, 3), 3, "ab"],
    "n_genes": [0, -1, "a"], "patch_size": ["8", None], "out_px": [0], "mpp": [0, np.nan, 1e9],
    "spot_distance": [0, -1, np.inf], "depth": [-1, 0, np.nan, 1e300],
    "stain_shift": [-1, np.nan, 1e9], "random_state": ["x", -1, 2**40],
}  # fmt: skip


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_sections(name):
    usual = dict(n_patients=1, grid=(3, 3), n_genes=3, mpp=4.0, out_px=8, random_state=0)
    for value in SYNTHETIC[name]:
        found = answer(datasets.make_spatial_expression, **{**usual, name: value})
        assert found is None or len(found[0]) == found[1].n_obs


# slides ------------------------------------------------------------------------------------------


@given(odd(arrays((12, 15, 3), "counts", "u1"), st.one_of(arrays(), nonsense)))
def test_tissue(thumbnail):
    mask = answer(slides.find_tissue, thumbnail)
    assert mask is None or (mask.shape, mask.dtype) == (thumbnail.shape[:2], bool)


SLIDE = {
    "mpp": [0, -1, "a", np.nan, 1e9], "grid": ["x", None], "pitch": ["1", "0um", "1e-9um", 3],
    "patch_size": ["8", "1um", "8px"], "out_px": [0, "a"], "tissue": [3, len, np.sum, str],
    "min_tissue": [-1, 2, np.nan, "a"], "genes": [["z"], [], "g", [["a"]], [[1], [2, 3]]],
    "smooth": ["x", "0um", 3], "section": [3, "a/b"], "block_size": [0, "a"],
    "n_threads": [0, "a"], "verbose": ["a"],
}  # fmt: skip


@examples(20)
@given(st.data())
def test_slides(fitted, data):
    images, adata, model = fitted
    tissue = next(iter(images.section_images.values())).pixels()
    name = data.draw(st.sampled_from(sorted(SLIDE)))
    options = {"mpp": 2.0} | data.draw(odd([{}], [{name: value} for value in SLIDE[name]]))
    predicted = answer(
        slides.predict_slide,
        data.draw(odd([model], nonsense)), data.draw(odd([tissue], nonsense)),
        data.draw(odd([None], ["a.txt", 3, ".", "no/a.h5ad"])), **options,
    )  # fmt: skip
    if isinstance(predicted, anndata.AnnData):
        assert np.isfinite(predicted.X).all() and predicted.n_obs > 0
    maps = data.draw(odd(st.just(predicted), st.one_of(nonsense, st.just(adata))))
    genes = data.draw(odd([[adata.var_names[0]]], [["z"], [], 3]))
    answer(slides.write_gene_maps, maps, "maps", genes, kind=data.draw(odd(["png"], ["x"])))
    answer(
        slides.predict_slides, data.draw(odd([model], nonsense)),
        data.draw(st.one_of(st.sampled_from([["no.svs"], ["a/b.tif", "b.tif"], [3]]), nonsense)),
        data.draw(odd(["out"], nonsense)), suffix=data.draw(odd([".h5ad"], ["x"])),
        n_jobs=data.draw(odd([None], [0, "a"])),
    )  # fmt: skip


# Helpers of the benchmark that take no arrays ----------------------------------------------------


@given(st.data())
def test_published_numbers(data):
    assert answer(model_selection.published_scores, data.draw(nonsense)) is None
    assert len(model_selection.published_means()) and len(model_selection.published_scores())
    reading = answer(
        model_selection.Reading, data.draw(odd([{}], nonsense)), data.draw(odd([None], nonsense))
    )
    method = answer(model_selection.Method, data.draw(nonsense), {"": reading})
    assert method is None or method.row_names("m") is not None
    X = SpotFeatures(np.eye(4), section=list("AABB"))
    y = anndata.AnnData(np.eye(4), obs=pd.DataFrame({"section": list("AABB")}, index=list("abcd")))
    answer(model_selection.compare_protocols, data.draw(nonsense), X, y, n_genes=2)
    assert model_selection.Fold("a", "p", np.arange(2), np.arange(2)).name == "a"
