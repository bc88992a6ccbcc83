"""No call of the library changes what is not its own: the process, and what the caller gave.

Numbers that are drawn, threads, warnings: see `world`. Each call is made once as it should be, and
the methods are called with something to refuse, too.
"""

import contextlib
import sys
from pathlib import Path

import anndata
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import small_models
import tifffile
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_validate
from world import unchanged_world

import histoexpr
from histoexpr import (
    ContextFeaturizer,
    ExpressionTransformer,
    FeatureCache,
    LinearProbe,
    NeighborFeatures,
    SectionCenterer,
    SpotPatches,
    SpotRetriever,
    StainNormalizer,
    STco,
    TextureFeaturizer,
    Trainer,
    calibration,
    datasets,
    metrics,
    model_selection,
    plotting,
    report,
    slides,
)

sys.path.append(str(Path(__file__).parents[1] / "datasets"))
import drawn  # noqa: E402

MODELS = small_models.of_features() | small_models.of_images()


def as_users_have_it(adata):
    """Counts as no part of the library would make them: indices out of order, as a user's are."""
    adata = adata.copy()
    matrix = scipy.sparse.csr_matrix(adata.X)
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:]):
        matrix.indices[start:end] = matrix.indices[start:end][::-1].copy()
        matrix.data[start:end] = matrix.data[start:end][::-1].copy()
    matrix.has_sorted_indices = False
    adata.X = matrix
    adata.layers["other"] = adata.X.toarray()
    adata.uns["mine"] = {"words": ["a", "b"], "numbers": np.arange(3)}
    return adata


@pytest.fixture(scope="module")
def data():
    images, features, adata = small_models.data()
    # Libraries that are imported at first use set themselves up: torch's sympy adds a filter for
    # its own warnings, its compiler the name of a folder to the environment.
    clone(MODELS["STco"]).fit(features, adata).predict(features)
    return images, features, as_users_have_it(adata)


@pytest.fixture(scope="module")
def patches(data):
    """The images as an array."""
    return np.asarray(data[0])


# methods -----------------------------------------------------------------------------------------

READINGS = ["predict", "predict_adata", "predict_interval", "kneighbors", "embed_images"]


@pytest.mark.parametrize("name", MODELS)
def test_methods(name, data, tmp_path):
    images, features, adata = data
    X = images if name in small_models.of_images() else features
    model = clone(MODELS[name])
    given = {k: v for k, v in model.get_params().items() if name != "Pipeline"}
    with unchanged_world(X, adata, given):
        model.fit(X, adata)
    with unchanged_world(X, adata, model):
        for reading in READINGS:
            if hasattr(model, reading) and (name, reading) != ("SpotRetriever", "embed_images"):
                getattr(model, reading)(X)
        if hasattr(model, "score"):
            model.score(X, adata)
            metrics.pearson_scorer(model, X, adata)
        histoexpr.save(model, tmp_path / "model.histoexpr")
        again = histoexpr.load(tmp_path / "model.histoexpr")
        if hasattr(again, "card"):
            again.card()
        joblib.dump(model, tmp_path / "model.joblib")
        joblib.load(tmp_path / "model.joblib")
    wrong = images if X is features else features
    with unchanged_world(X, adata, wrong, model), contextlib.suppress(ValueError, TypeError):
        model.fit(X, adata[:-1])
        pytest.fail("it was not refused")
    with unchanged_world(wrong, model), pytest.raises((ValueError, TypeError)):
        model.predict(wrong)


KINDS = {
    "CSR, out of order": lambda adata: adata,
    "CSC": lambda adata: _with(adata, scipy.sparse.csc_matrix(adata.X)),
    "float64": lambda adata: _with(adata, adata.X.toarray().astype(float)),
    "int32, Fortran": lambda adata: _with(adata, np.asfortranarray(adata.X.toarray(), np.int32)),
    "view": lambda adata: adata[::2, 1:],
}


EXPRESSIONS = [
    {},
    {"genes": "highly_expressed", "n_genes": 5},
    {"genes": "highly_variable", "n_genes": 5},
    {"normalize": "gene"},
    {"over": "all", "genes": ["gene_002"], "log": None},
]


def _with(adata, matrix):
    return anndata.AnnData(matrix, obs=adata.obs, var=adata.var, obsm=dict(adata.obsm))


@pytest.mark.parametrize("kind", KINDS)
def test_counts_of_every_kind(kind, data):
    adata = KINDS[kind](data[2])
    for settings in EXPRESSIONS:
        with unchanged_world(adata):
            transformer = ExpressionTransformer(**settings)
            expression = transformer.fit(adata).transform(adata)
        with unchanged_world(adata, expression, transformer), contextlib.suppress(ValueError):
            transformer.inverse_transform(expression, np.ones(len(expression)))
    features = np.asfortranarray(np.random.default_rng(0).normal(size=(adata.n_obs, 6)))
    features.flags.writeable = False
    with unchanged_world(adata, features):
        model = STco(None, trainer=small_models.QUICK, random_state=0).fit(features, adata)
        model.score(features, adata)
        metrics.noise_ceiling(adata, n_splits=2, random_state=0)
        metrics.gene_sets(adata, n_genes=3)
    expression = adata.X  # sparse, of an array: one that the retriever keeps
    with unchanged_world(features, expression):
        SpotRetriever(3).fit(features, expression).predict(features)


# parts -------------------------------------------------------------------------------------------

IMAGE_STEPS = {
    "timm": small_models.timm(),
    "kept": TextureFeaturizer(("stain",), cache=FeatureCache()),
    "texture": TextureFeaturizer(),
    "neighbours": NeighborFeatures(TextureFeaturizer(("stain",))),
    "context": ContextFeaturizer(TextureFeaturizer(("stain",))),
    "macenko": StainNormalizer("macenko", random_state=0),
    "reinhard": StainNormalizer("reinhard"),
}


@pytest.mark.parametrize("name", IMAGE_STEPS)
def test_steps_on_images(name, data, patches):
    images, step = data[0], IMAGE_STEPS[name]
    with unchanged_world(images, patches, step.get_params()):
        fitted = clone(step).fit(images)
        np.asarray(fitted.transform(images))
    if name not in ("neighbours", "context"):  # they look beyond the patches
        with unchanged_world(patches, fitted):
            np.asarray(fitted.transform(patches))
    with unchanged_world(patches), pytest.raises((ValueError, TypeError)):
        clone(step).fit(patches.astype(float) / 255)


def test_parts_on_arrays(data):
    images, features, adata = data
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(2, adata.n_obs, adata.n_vars))
    section, spatial = np.asarray(images.section), np.asarray(images.spatial)
    labels = adata.obs["domain"]
    with unchanged_world(truth, guess, section, spatial, labels, features, adata):
        SectionCenterer().fit_transform(features)
        metrics.pearson_per_gene(truth, guess)
        metrics.pearson_per_section(truth, guess, section)
        metrics.mean_pearson(truth, guess, section)
        metrics.rmse_per_gene(truth, guess), metrics.mae_per_gene(truth, guess)
        metrics.ssim_per_section(truth, guess, spatial, section)
        metrics.ssim_per_gene(truth[:30], guess[:30], spatial[:30])  # one section
        metrics.domain_agreement(guess, labels, section=section, random_state=0)
        scores = metrics.score_table(truth, guess, section, genes=adata.var_names)
        metrics.summarize_gene_sets(scores, {"two": adata.var_names[:2]})
        calibration.gene_reliability(histoexpr.data.unpack_target(adata), None, guess, truth)
        spread = calibration.SpreadModel().fit(guess, truth - guess).predict(guess)
        calibration.ConformalIntervals().fit(truth - guess, spread).predict(guess, spread)
        plotting.plot_reliability(truth, guess, spread)
        histoexpr.finer_grid(images)
        SpotPatches.concatenate([images[:5], images[5:]])[[3, 1]].map(lambda patches, _: patches)
    with unchanged_world(truth, guess), pytest.raises(ValueError):
        metrics.pearson_per_gene(truth, guess[1:])


# what reads, draws and writes --------------------------------------------------------------------


def test_readers(tmp_path):
    section = drawn.draw()
    image = drawn.write_image(section, tmp_path)
    visium = drawn.write_visium(tmp_path / "visium", section)
    hest = drawn.write_hest(tmp_path / "hest", section)
    cscc = tmp_path / "cscc"
    drawn.write_cscc(cscc, section)
    adata, cut = section.adata(), {"patch_size": "40um", "out_px": 16}
    adata.obs["section"] = "S1"
    with unchanged_world(adata, section.image):
        read = [
            datasets.load_visium(visium, image, patient="P", **cut),
            datasets.load_hest(hest, patch_size="40um", out_px=16),
            datasets.load_cscc(cscc, patch_size="80um", out_px=16),
            datasets.from_anndata(adata, section.image, mpp=drawn.MPP, **cut),
        ]
        datasets.join_sections(read[:1])
        for images, _ in read:
            np.asarray(images)
        datasets.make_spatial_expression(1, grid=(4, 4), out_px=16, random_state=0)
    image.write_bytes(image.read_bytes()[:1000])
    histoexpr.data.clear_image_cache()
    with unchanged_world(), pytest.raises((OSError, ValueError)):
        np.asarray(datasets.load_visium(visium, image, patient="P", **cut)[0])


def test_slides(data, tmp_path):
    images, _, adata = data
    model = LinearProbe(TextureFeaturizer(("stain",)), cv=2, n_components=4).fit(images, adata)
    pixels = images.section_images["B1"].pixels()
    path, out = tmp_path / "slide.tif", tmp_path / "out.h5ad"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64))
    settings = dict(mpp=2.0, block_size=16, min_tissue=0.0)
    with unchanged_world(pixels, model):
        slides.find_tissue(histoexpr.open_slide(path).thumbnail(64))
        slides.predict_slide(model, pixels, **settings)
        slides.predict_slide(model, path, out, **settings)
        slides.predict_slides(model, [path], tmp_path / "many", n_jobs=1, **settings)
    predicted = anndata.read_h5ad(out)
    with unchanged_world(predicted):
        slides.write_gene_maps(predicted, tmp_path, genes=predicted.var_names[:1])
    with unchanged_world(pixels, model), pytest.raises(ValueError):
        slides.predict_slide(model, pixels[..., 0, None, None], **settings)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_model_selection(n_jobs, data, tmp_path):
    images, features, adata = data
    model = STco(None, trainer=small_models.QUICK, random_state=0)
    groups = adata.obs["patient"]
    # Python before 3.14 has one list of filters for all threads: `warnings.catch_warnings` of one
    # thread puts back what another has set. So does anndata, for its views, with pandas' options.
    but = ["warnings filters", "showwarning", "pandas"] if n_jobs == 2 else []
    option = "mode.chained_assignment"
    with (
        joblib.parallel_config("threading"),  # the threads of this process, which is watched
        pd.option_context(option, pd.get_option(option)),  # for the tests that follow
    ):
        with unchanged_world(features, adata, groups, model, but=but):
            cross_validate(model, features, adata, groups=groups, cv=GroupKFold(2), n_jobs=n_jobs)
            results, predictions = model_selection.benchmark(
                {"STco": model}, features, adata, controls=["mean", "shuffled"], n_jobs=n_jobs,
                random_state=0, out=tmp_path / "out", return_predictions=True,
            )  # fmt: skip
    if n_jobs == 2:
        return
    with unchanged_world(results, predictions, features, adata):
        model_selection.summarize(results)
        model_selection.compare_methods(results)
        model_selection.bootstrap_intervals(results, random_state=0)
        ranked = model_selection.rank_methods(results)
        model_selection.rank_groups(ranked)
        report.write_report(results, tmp_path / "report.html")
        plotting.plot_scores(results)
        plotting.plot_ranks(ranked)
        section = adata[(adata.obs["section"] == "A1").to_numpy()]
        plotting.plot_genes({"measured": section}, list(adata.var_names[:1]))
        plotting.plot_neighbors(images[:2], images, np.array([[0, 1], [2, 3]]), n_neighbors=2)
    with unchanged_world(features, adata), pytest.raises(ValueError):
        model_selection.benchmark({"STco": model}, features, adata, controls=["none such"])


def test_training_with_checkpoints(data, tmp_path):
    images, _, adata = data
    trainer = Trainer(max_epochs=2, early_stopping=True, checkpoint_dir=tmp_path)
    model = STco(small_models.timm(trainable=True), trainer=trainer, random_state=0)
    with unchanged_world(images, adata, model.get_params()):
        fitted = clone(model).fit(images, adata)
        again = clone(model).fit(images, adata)  # from the checkpoint
    with unchanged_world(fitted):
        plotting.plot_training(fitted)
    np.testing.assert_array_equal(fitted.predict(images), again.predict(images))


def test_a_random_state_of_the_caller_alone_moves_on(data):
    _, features, adata = data
    mine = np.random.RandomState(3)
    before = repr(mine.get_state())
    with unchanged_world(features, adata):
        STco(None, trainer=small_models.QUICK, random_state=mine).fit(features, adata)
    assert repr(mine.get_state()) != before


def test_the_world_is_watched():
    """The comparison above would see a change."""
    frame, array = pd.DataFrame({"a": [1]}), np.zeros(2)
    with pytest.raises(AssertionError, match="NumPy"), unchanged_world():
        np.random.random(1000)
    with pytest.raises(AssertionError, match="DataFrame"), unchanged_world(frame, array):
        frame["a"] = 2.0
    with pytest.raises(AssertionError, match="ndarray"), unchanged_world(array):
        array[1] = -0.0
