"""A slide in, an AnnData out: the same whatever the blocks, the file and the interruptions."""

import contextlib
import os
import signal
import time

import anndata
import numpy as np
import pytest
import scanpy
from faults import little_disk
from processes import forked
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from histoexpr import (
    ContextFeaturizer,
    ContrastiveEnsemble,
    LinearProbe,
    NeighborFeatures,
    Reg2ST,
    SectionCenterer,
    SpotFeatures,
    StainNormalizer,
    STco,
    TextureFeaturizer,
    Trainer,
    load,
    save,
)
from histoexpr.data import SpotPatches, open_slide
from histoexpr.slides import SlidesFailed, predict_slide, predict_slides
from histoexpr.slides._model import SlideModel


def read(path):
    return anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)


class Stop(Exception):
    """Stands for the kill of a run."""


class LocatedFeatures(TransformerMixin, BaseEstimator):
    """Features that know where their spots are."""

    def __init__(self, featurizer):
        self.featurizer = featurizer

    def fit(self, X, y=None):
        self.featurizer_ = clone(self.featurizer).fit(X)
        return self

    def transform(self, X):
        return SpotFeatures.of(X, self.featurizer_.transform(X))


def same(one, other):
    np.testing.assert_array_equal(one.X, other.X)
    np.testing.assert_array_equal(one.obsm["spatial"], other.obsm["spatial"])
    assert one.obs.astype(str).equals(other.obs.astype(str))
    assert list(one.var_names) == list(other.var_names)


@pytest.fixture
def predicted(model, slide):
    return predict_slide(model, slide)


@pytest.fixture
def counted(monkeypatch):
    """The number of spots of each call of the model."""
    calls, predict = [], SlideModel.predict

    def counting(self, patches):
        calls.append(len(patches))
        return predict(self, patches)

    monkeypatch.setattr(SlideModel, "predict", counting)
    return calls


# what is predicted -----------------------------------------------------------------------------


def test_it_is_what_the_model_says_of_those_patches(model, slide, predicted):
    X = SpotPatches.from_images(
        open_slide(slide), predicted.obsm["spatial"], patch_size="64um", out_px=32
    )
    assert X.crop_px[0] == 64  # of the 1 um/px level; training cut 32 px of 2 um/px
    np.testing.assert_array_equal(predicted.X, model.predict(X))
    assert predicted.X.dtype == np.float32 and predicted.X.std(axis=0).min() > 0
    assert list(predicted.var_names) == list(model.genes_)
    made = predicted.uns["histoexpr"]
    assert (made["model"], made["units"]) == ("LinearProbe", model.units_)
    assert (made["mpp"], made["pitch_um"], made["patch_um"]) == pytest.approx((1.0, 65.0, 64.0))


def test_spots_stand_as_in_the_training(predicted, slide):
    col, row = predicted.obs["array_col"].to_numpy(), predicted.obs["array_row"].to_numpy()
    np.testing.assert_allclose(
        predicted.obsm["spatial"], (np.column_stack([col, row]) + 0.5) * 65.0
    )
    inside = predicted.obsm["spatial"] < open_slide(slide).size
    assert inside.all()
    assert set(predicted.obs["section"]) == {"slide"}
    assert predicted.obs_names.is_unique


@pytest.mark.parametrize(
    "options, pitch, n_near",
    [
        (dict(grid="hexagonal"), 100, 6),
        (dict(grid="hexagonal", pitch="80um"), 80, 6),
        (dict(grid="square", pitch="90um"), 90, 4),
        (dict(grid="dense"), 25, 4),
    ],
)
def test_grids(model, slide, options, pitch, n_near):
    if "pitch" not in options and options["grid"] == "hexagonal":
        options = {**options, "pitch": "100um"}
    adata = predict_slide(model, slide, tissue=None, genes=model.genes_[:1], **options)
    distance = cdist(adata.obsm["spatial"], adata.obsm["spatial"])
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(distance.min(axis=1), pitch)
    assert (distance < 1.01 * pitch).sum(axis=1).max() == n_near
    parity = adata.obs[["array_col", "array_row"]].sum(axis=1) % 2
    assert parity.any() == (options["grid"] != "hexagonal")


def test_neither_blocks_nor_threads_change_it(model, slide, predicted):
    same(predict_slide(model, slide, n_threads=1), predicted)
    for block_size in (1, 7):
        blocks = predict_slide(model, slide, block_size=block_size)
        np.testing.assert_allclose(blocks.X, predicted.X, rtol=1e-5)


def test_array_and_plain_image_are_slides(model, tissue):
    adata = predict_slide(model, tissue, mpp=2.0, section="S")
    assert set(adata.obs["section"]) == {"S"} and len(adata) > 10


TEXTURE = TextureFeaturizer(("stain",))
LOOKING_AROUND = {
    "neighbours": STco(NeighborFeatures(TEXTURE), trainer=Trainer(max_epochs=1), random_state=0),
    "ensemble": ContrastiveEnsemble(
        ContextFeaturizer(TEXTURE, turns=1), n_heads=1, trainer=Trainer(max_epochs=1),
        random_state=0,
    ),
    "centred": make_pipeline(
        StainNormalizer(), LocatedFeatures(TEXTURE), SectionCenterer(),
        LinearProbe(None, n_components=4),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=LOOKING_AROUND)
def looking_around(request, sections):
    return clone(LOOKING_AROUND[request.param]).fit(*sections)


def test_what_looks_around_sees_beyond_its_block(looking_around, slide, tmp_path, monkeypatch):
    whole = predict_slide(looking_around, slide)
    X = SpotPatches.from_images(
        {"slide": open_slide(slide)}, whole.obsm["spatial"], patch_size="64um", out_px=32
    )
    np.testing.assert_allclose(looking_around.predict(X), whole.X, rtol=1e-5)
    # Killed in the first pass and in the second, no features are computed twice.
    computed, transform = [], TextureFeaturizer.transform
    monkeypatch.setattr(
        TextureFeaturizer,
        "transform",
        lambda self, X: computed.append(len(X)) or transform(self, X),
    )
    out, predict = tmp_path / "out.h5ad", SlideModel.predict
    for n_blocks in (3, 11, None):
        blocks = []

        def dying(self, patches):
            blocks.append(len(patches))
            if len(blocks) == n_blocks:
                raise Stop
            return predict(self, patches)

        with monkeypatch.context() as patch:
            patch.setattr(SlideModel, "predict", dying)
            with contextlib.suppress(Stop):
                predict_slide(looking_around, slide, out, block_size=9)
        assert out.exists() == (n_blocks is None)
    views = 2 if isinstance(looking_around, ContrastiveEnsemble) else 1
    assert sum(computed) == views * len(whole)
    np.testing.assert_allclose(read(out).X, whole.X, rtol=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_a_decoder_sees_windows_of_the_size_of_its_training(sections, slide):
    images, adata = sections
    featurizer = TextureFeaturizer(("stain",))
    method = Reg2ST(featurizer, hidden_dim=16, n_layers=1, trainer=Trainer(max_epochs=2))
    method.set_params(random_state=0).fit(images, adata)
    whole = predict_slide(method, slide, tissue=None, grid="square", pitch="30um")
    col, row = whole.obs["array_col"].to_numpy(), whole.obs["array_row"].to_numpy()
    shape = images.positions.max(axis=0) + 1
    assert col.max() > shape[0] and row.max() > shape[1]  # more than the table holds
    window = (col // shape[0] == 1) & (row // shape[1] == 0)
    X = SpotPatches.from_images(
        open_slide(slide), whole.obsm["spatial"][window], patch_size="64um", out_px=32,
        positions=np.column_stack([col, row])[window] - [shape[0], 0],
    )  # fmt: skip
    np.testing.assert_array_equal(method.predict(X), whole.X[window])
    method.predict_by = "retrieval"
    near = predict_slide(method, slide, tissue=None, grid="square", pitch="30um", block_size=100)
    X = SpotPatches.from_images(
        open_slide(slide), near.obsm["spatial"], patch_size="64um", out_px=32
    )
    np.testing.assert_allclose(near.X, method.predict(X), rtol=1e-5)


def test_genes_are_chosen_by_name(model, slide, predicted):
    genes = [model.genes_[4], model.genes_[1]]
    same(predict_slide(model, slide, genes=genes), predicted[:, genes])
    for wrong in (["gene_x"], [genes[0], genes[0]], []):
        with pytest.raises(ValueError, match="genes must be some of the 6"):
            predict_slide(model, slide, genes=wrong)
    for wrong in ([["a"]], [["a"], ["a", "b"]], np.array("a")):
        with pytest.raises(ValueError, match="genes must be a"):
            predict_slide(model, slide, genes=wrong)


def test_smoothing_is_a_gaussian_over_spots(model, slide, predicted):
    smooth = predict_slide(model, slide, smooth="70um")
    distance = cdist(predicted.obsm["spatial"], predicted.obsm["spatial"])  # 1 um/px
    weights = np.exp(-((distance / 70) ** 2) / 2) * (distance <= 210)
    truth = weights / weights.sum(axis=1, keepdims=True) @ predicted.X
    np.testing.assert_allclose(smooth.X, truth, rtol=1e-5)
    assert smooth.uns["histoexpr"]["smooth_um"] == 70


# tissue and scale ------------------------------------------------------------------------------


def test_only_tissue_is_predicted(model, slide, predicted):
    def left_half(thumbnail):
        mask = np.zeros(thumbnail.shape[:2], bool)
        mask[:, : mask.shape[1] // 2] = True
        return mask

    everywhere = predict_slide(model, slide, tissue=None)
    assert len(predicted) < len(everywhere)
    half = predict_slide(model, slide, tissue=left_half, min_tissue=0.5)
    x, width = everywhere.obsm["spatial"][:, 0], open_slide(slide).size[0]
    same(half, everywhere[x <= width / 2])


def test_masks_that_are_none(model, slide):
    with pytest.raises(ValueError, match="must give a mask of shape"):
        predict_slide(model, slide, tissue=lambda thumbnail: thumbnail)
    with pytest.raises(ValueError, match="no tissue was found"):
        predict_slide(model, slide, tissue=lambda thumbnail: np.zeros(thumbnail.shape[:2], bool))
    with pytest.raises(ValueError, match="no tissue was found"):
        predict_slide(model, np.full((500, 500, 3), 240, np.uint8), mpp=2.0)


def test_an_unknown_scale_is_refused(model, tissue, sections):
    with pytest.raises(ValueError, match="does not say how many micrometres a pixel is. Pass mpp="):
        predict_slide(model, tissue)
    blind = clone(model).fit(np.asarray(sections[0]), sections[1])
    with pytest.raises(ValueError, match="Pass patch_size="):
        predict_slide(blind, tissue, mpp=2.0)
    adata = predict_slide(blind, tissue, mpp=2.0, patch_size="64um", pitch="100um")
    assert adata.uns["histoexpr"]["patch_um"] == 64


def test_another_scale_than_that_of_training_is_refused(model, tissue):
    with pytest.raises(ValueError, match="2.00 times another scale"):
        predict_slide(model, tissue, mpp=2.0, patch_size="128um")
    with pytest.warns(UserWarning, match="1.50 times another scale"):
        predict_slide(model, tissue, mpp=2.0, patch_size="96um")


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(pitch="100"), "pitch='100' must be a length with its unit"),
        (dict(pitch="0um"), "pitch='0um' must be a length"),
        (dict(smooth="3px"), "smooth='3px' must be a length"),
        (dict(pitch="90000um"), "holds no spot at a pitch of 90000"),
        (dict(grid="round"), "'grid' parameter"),
        (dict(out="slide.csv"), "must end in .h5ad or .zarr"),
        (dict(min_tissue=2), "'min_tissue' parameter"),
    ],
)
def test_bad_options(model, slide, options, message):
    with pytest.raises(ValueError, match=message):
        predict_slide(model, slide, **options)


def test_models_that_are_none(model, slide):
    with pytest.raises(TypeError, match="estimator of histoexpr"):
        predict_slide(TextureFeaturizer(), slide)
    with pytest.raises(NotFittedError):
        predict_slide(clone(model), slide)


# files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_a_file_holds_the_same(model, slide, predicted, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    for _ in range(2):  # over an older one, too
        assert predict_slide(model, slide, out, resume=False) == out
        written = read(out)
        same(written, predicted)
        assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, "slide.tif"]
    np.testing.assert_array_equal(
        written.uns["spatial"]["slide"]["images"]["hires"],
        predicted.uns["spatial"]["slide"]["images"]["hires"],
    )


@pytest.mark.filterwarnings("ignore:.*squidpy:FutureWarning")  # of scanpy 1.11, about itself
def test_scanpy_draws_it_at_once(model, slide, tmp_path):
    adata = read(predict_slide(model, slide, tmp_path / "out.h5ad"))
    (ax,) = scanpy.pl.spatial(adata, color=[adata.var_names[0]], show=False)
    drawn = ax.collections[0].get_array()
    assert len(drawn) == adata.n_obs
    assert len(ax.images) == 1
    height, width = ax.images[0].get_array().shape[:2]
    scale = adata.uns["spatial"]["slide"]["scalefactors"]["tissue_hires_scalef"]
    placed = adata.obsm["spatial"] * scale
    assert (placed < (width, height)).all() and placed.max() > 0.5 * width


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_a_stopped_run_goes_on(model, slide, tmp_path, counted, monkeypatch, suffix):
    out = tmp_path / f"out{suffix}"
    predicted = predict_slide(model, slide, block_size=10)
    counted.clear()
    with monkeypatch.context() as patch:
        predict = SlideModel.predict

        def dying(self, patches):
            if len(counted) == 3:
                raise Stop
            return predict(self, patches)

        patch.setattr(SlideModel, "predict", dying)
        with pytest.raises(Stop):
            predict_slide(model, slide, out, block_size=10)
    assert not out.exists() and len(counted) == 3
    predict_slide(model, slide, out, block_size=10)
    assert sum(counted) == len(predicted)  # nothing twice
    same(read(out), predicted)
    predict_slide(model, slide, out, block_size=10)
    assert sum(counted) == len(predicted)  # it was finished
    predict_slide(model, slide, out, block_size=10, resume=False)
    assert sum(counted) == 2 * len(predicted)
    assert not list(tmp_path.glob(".*"))


def test_blocks_of_another_model_are_not_taken(sections, model, slide, tmp_path, monkeypatch):
    images, adata = sections
    other = clone(model).fit(images[::2], adata[::2])
    out = tmp_path / "out.h5ad"
    with monkeypatch.context() as patch:
        patch.setattr("histoexpr.slides._predict.write_adata", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict_slide(other, slide, out)
    same(read(predict_slide(model, slide, out)), predict_slide(model, slide))
    same(read(predict_slide(other, slide, out)), predict_slide(other, slide))


def predict_slowly(model, slide, out):
    predict = SlideModel.predict
    SlideModel.predict = lambda *args: time.sleep(0.3) or predict(*args)
    predict_slide(load(model), slide, out, block_size=3)


def test_a_killed_process_is_taken_up_by_another(model, slide, tmp_path, counted):
    save(model, tmp_path / "model.histoexpr")
    predicted = predict_slide(model, slide, block_size=3)
    counted.clear()
    out = tmp_path / "out.h5ad"
    arguments = (tmp_path / "model.histoexpr", slide, out)
    process = forked().Process(target=predict_slowly, args=arguments, daemon=True)
    process.start()
    blocks = tmp_path / ".out.h5ad.blocks"
    while len(list(blocks.glob("[0-9]*.npy"))) < 2:
        assert process.exitcode is None
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not out.exists()
    predict_slide(model, slide, out, block_size=3)
    assert 0 < sum(counted) <= len(predicted) - 2 * 3
    same(read(out), predicted)


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
@pytest.mark.parametrize("suffix, n_bytes", [(".h5ad", 10**5), (".zarr", 2000), (".h5ad", 100)])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_a_full_disk_leaves_nothing_under_the_name(model, slide, tmp_path, suffix, n_bytes):
    out = tmp_path / f"out{suffix}"
    predicted = predict_slide(model, slide, block_size=10)
    with little_disk(n_bytes), pytest.raises(OSError, match="run again: what was predicted"):
        predict_slide(model, slide, out, block_size=10)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"slide.tif", f".{out.name}.blocks"}
    same(read(predict_slide(model, slide, out, block_size=10)), predicted)


# many ------------------------------------------------------------------------------------------


def test_one_unreadable_slide_among_many(model, slide, predicted, tmp_path):
    (tmp_path / "broken.tif").write_text("no slide")
    slides = [tmp_path / "broken.tif", tmp_path / "none.tif", slide]
    done = []
    with pytest.raises(SlidesFailed, match="2 of 3 slides were not predicted") as caught:
        predict_slides(model, slides, tmp_path / "out", on_done=lambda *pair: done.append(pair))
    assert list(caught.value.failed) == slides[:2]
    assert "broken.tif" in str(caught.value) and "no slide at" in str(caught.value)
    assert caught.value.done == {slide: tmp_path / "out" / "slide.h5ad"}
    assert done == list(caught.value.done.items())
    same(read(tmp_path / "out" / "slide.h5ad"), predicted)
    assert predict_slides(model, [slide], tmp_path / "out") == caught.value.done


def test_many_slides_need_names_of_their_own(model, slide, tmp_path):
    with pytest.raises(ValueError, match="'slide' stand for several"):
        predict_slides(model, [slide, tmp_path / "other" / "slide.svs"], tmp_path)
    with pytest.raises(ValueError, match="there are none"):
        predict_slides(model, [], tmp_path)


def test_a_pipeline_predicts_slides(sections, slide):
    images, adata = sections
    method = STco(None, trainer=Trainer(max_epochs=1))
    pipeline = make_pipeline(TextureFeaturizer(("stain",)), method).fit(images, adata)
    predicted = predict_slide(pipeline, slide)
    assert predicted.uns["histoexpr"]["model"] == "STco"
    assert predicted.uns["histoexpr"]["patch_um"] == pytest.approx(64)
