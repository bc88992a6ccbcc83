"""The same section is the same in whatever format it was written."""

import sys

import numpy as np
import pytest
from drawn import CROP_PX, draw, make_sdata, write_hest, write_image, write_visium
from PIL import Image

from histoexpr.datasets import from_anndata, from_spatialdata, load_hest, load_patches, load_visium

CUT = {"patch_size": "40um", "out_px": CROP_PX}
NAMES = {"section": "S1", "patient": "P"}


def from_visium(drawn, folder):
    outs = write_visium(folder, drawn)
    return load_visium(outs, write_image(drawn, folder), **NAMES, **CUT)


def from_hest_patches(drawn, folder):
    root = write_hest(folder, drawn, patient="P")
    return load_hest(root, source="patches", **CUT)


def from_hest_slide(drawn, folder):
    root = write_hest(folder, drawn, patient="P")
    return load_hest(root, source="slide", **CUT)


def from_sdata(drawn, folder):
    pytest.importorskip("spatialdata", reason="reading SpatialData needs the extra spatialdata")
    return from_spatialdata(make_sdata(drawn), **NAMES, **CUT)


def from_h5ad(drawn, folder):
    drawn.adata().write_h5ad(folder / "S1.h5ad")
    return from_anndata(folder / "S1.h5ad", drawn.image, patient="P", **CUT)


def from_patches(drawn, folder):
    table = drawn.under_tissue[["array_row", "array_col"]].reset_index(names="barcode")
    table["x"], table["y"] = drawn.spatial.T
    table["file"] = [f"{i}.png" for i in range(len(table))]
    for name, patch in zip(table["file"], drawn.patches()):
        Image.fromarray(patch).save(folder / name)
    return load_patches(folder, table, drawn.counts, 2.5, **NAMES)


@pytest.mark.filterwarnings("ignore::UserWarning:spatialdata|contextlib|functools")
@pytest.mark.parametrize(
    "read",
    [from_visium, from_hest_patches, from_hest_slide, from_sdata, from_h5ad, from_patches],
)
def test_patches_counts_and_names(tmp_path, read):
    drawn = draw()
    images, adata = read(drawn, tmp_path)
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())
    np.testing.assert_array_equal(adata.X.toarray(), drawn.counts)
    assert list(adata.var_names) == list(drawn.counts.columns)
    assert list(adata.obs_names) == [f"S1_{barcode}" for barcode in drawn.counts.index]
    assert list(adata.obs.columns)[:4] == ["section", "patient", "array_row", "array_col"]
    assert set(adata.obs["section"]) == {"S1"} and set(adata.obs["patient"]) == {"P"}
    grid = drawn.under_tissue[["array_col", "array_row"]]
    np.testing.assert_array_equal(images.positions, grid)
    np.testing.assert_array_equal(adata.obs[["array_col", "array_row"]], grid)
    np.testing.assert_allclose(images.spatial, drawn.spatial, atol=1e-6)
    np.testing.assert_array_equal(images.spatial, adata.obsm["spatial"])
    np.testing.assert_allclose(images.patch_mpp, 2.5, rtol=2e-3)
    assert adata.X.dtype == np.float32 and adata.X.format == "csr"


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(ImportError, match=r"pip install 'histoexpr\[spatialdata\]'"):
        from_spatialdata("S1.zarr")
