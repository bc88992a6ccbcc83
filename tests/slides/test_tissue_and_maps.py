"""Where tissue is found, and pictures of what was predicted there."""

import anndata
import numpy as np
import pytest
import tifffile
from PIL import Image

from histoexpr.data import open_slide
from histoexpr.slides import find_tissue, predict_slide, write_gene_maps
from histoexpr.slides._grid import SpotGrid, on_tissue


def on_glass(tissue, glass):
    """A piece of tissue in the middle of a slide of this colour, and where it is."""
    noise = np.random.default_rng(0).normal(0, 2, (400, 500, 3))
    image = np.clip(np.array(glass) + noise, 0, 255).astype(np.uint8)
    image[100:300, 150:350] = tissue[100:300, 100:300]
    return image, (slice(100, 300), slice(150, 350))


@pytest.mark.parametrize("glass", [(244, 243, 245), (214, 200, 228)], ids=["white", "lilac"])
def test_tissue_on_glass(glass):
    pink = np.random.default_rng(0).normal((200, 120, 170), 25, (300, 300, 3))
    image, inside = on_glass(pink.clip(0, 255).astype(np.uint8), glass)
    mask = find_tissue(image)
    assert mask.dtype == bool and mask.shape == (400, 500)
    assert mask[inside].mean() > 0.95
    mask[inside] = False
    assert mask.mean() < 0.005


def test_glass_alone_and_tissue_alone():
    rng = np.random.default_rng(0)
    assert find_tissue(rng.normal(240, 3, (200, 200, 3)).astype(np.uint8)).mean() < 0.001
    pink = rng.normal((190, 110, 160), 20, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    assert find_tissue(pink).mean() > 0.9
    assert not find_tissue(np.zeros((50, 50, 3), np.uint8)).any()  # was never scanned


def test_measured_spots_are_on_tissue(shared):
    folder = shared / "data" / "mob"
    slide = open_slide(folder / "rep12.jpg", mpp=2.75)
    centres = anndata.read_h5ad(folder / "rep12.h5ad").obsm["spatial"]
    mask = find_tissue(slide.thumbnail())
    spots = SpotGrid(centres, np.zeros((len(centres), 2), int), 200.0, slide.mpp, False)
    assert on_tissue(spots, mask, slide.size, 150 / slide.mpp, 0.25).mean() > 0.98
    assert mask.mean() < 0.3  # most of the array is bare


@pytest.fixture(scope="module")
def predicted(model, tissue):
    return predict_slide(model, tissue, mpp=2.0, section="S1")


def test_png_for_each_gene(predicted, tmp_path):
    adata = predicted.copy()
    adata.var_names = ["HLA-A/B", *adata.var_names[1:]]
    paths = write_gene_maps(adata, tmp_path / "maps", ["HLA-A/B", adata.var_names[2]])
    assert [path.name for path in paths] == ["S1_HLA-A_B.png", f"S1_{adata.var_names[2]}.png"]
    pixels = np.asarray(Image.open(paths[0]).convert("RGB"))
    assert min(pixels.shape[:2]) > 300 and pixels.std() > 10
    assert len(list((tmp_path / "maps").iterdir())) == 2


def test_ome_tiff_lies_over_the_slide(predicted, tmp_path):
    adata = predicted.copy()
    predicted.write_h5ad(tmp_path / "p.h5ad")
    (path,) = write_gene_maps(tmp_path / "p.h5ad", tmp_path, kind="ome.tiff")
    with tifffile.TiffFile(path) as tiff:
        planes = tiff.asarray()
        ome = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert planes.shape[0] == adata.n_vars and planes.dtype == np.float32
    assert [channel["Name"] for channel in ome["Channel"]] == list(adata.var_names)
    assert ome["PhysicalSizeX"] == ome["PhysicalSizeY"] == pytest.approx(65 / 2)
    x, y = np.floor(adata.obsm["spatial"] * 2.0 / (65 / 2)).astype(int).T
    np.testing.assert_array_equal(planes[:, y, x].T, adata.X)
    assert np.isnan(planes).any()


def test_maps_of_what_was_not_predicted(predicted, tmp_path):
    with pytest.raises(ValueError, match="'gene_x' are not"):
        write_gene_maps(predicted, tmp_path, ["gene_x"])
    with pytest.raises(ValueError, match="lacks the thumbnail"):
        write_gene_maps(anndata.AnnData(np.zeros((2, 2))), tmp_path)
