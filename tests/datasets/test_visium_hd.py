"""load_visium_hd, on a folder made here."""

import numpy as np
import pandas as pd
import pytest
from drawn import CROP_PX, Drawn, draw, write_h5, write_spatial

from histoexpr.datasets import load_visium_hd

MPP = 0.5  # so a bin of 8 um is 16 px wide


@pytest.fixture(scope="module")
def drawn():
    """Square bins on the drawn tissue."""
    base = draw()
    row, col = (v.ravel() for v in np.mgrid[:28, :35])
    spots = pd.DataFrame({"barcode": [f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(row, col)]})
    spots["in_tissue"] = 0
    spots["array_row"], spots["array_col"] = row, col
    spots["pxl_row_in_fullres"] = 20 + 16.0 * row
    spots["pxl_col_in_fullres"] = 20 + 16.0 * col
    tissue = ((spots["pxl_col_in_fullres"] - 220) / 200) ** 2 + (
        (spots["pxl_row_in_fullres"] - 170) / 140
    ) ** 2 < 1
    spots["in_tissue"] = tissue.astype(int)
    names = spots["barcode"][tissue].to_numpy()
    counts = pd.DataFrame(np.random.default_rng(0).poisson(1, (len(names), 4)), index=names)
    return Drawn(base.image, spots, counts.set_axis(list("abcd"), axis=1))


@pytest.fixture
def outs(tmp_path, drawn):
    folder = tmp_path / "HD1/outs/binned_outputs/square_008um"
    write_spatial(
        folder / "spatial", drawn, "hd", diameter=16.0, microns_per_pixel=MPP, bin_size_um=8.0
    )
    write_h5(folder / "filtered_feature_bc_matrix.h5", drawn.counts)
    return tmp_path / "HD1/outs"


def load(path, image=None, **kwargs):
    kwargs = {"patient": "P", "patch_size": "8um", "out_px": CROP_PX, **kwargs}
    return load_visium_hd(path, image, **kwargs)


def test_bins_are_spots(outs, drawn):
    folder = outs / "binned_outputs/square_008um"
    for path in (outs, outs.parent, folder):
        images, adata = load(path, drawn.image)
        np.testing.assert_array_equal(np.asarray(images), drawn.patches())
        np.testing.assert_array_equal(adata.X.toarray(), drawn.counts)
        assert set(images.section) == {"HD1"} and adata.obs_names[0].startswith("HD1_s_008um_")
        assert list(adata.obs.columns) == ["section", "patient", "array_row", "array_col"]
        np.testing.assert_array_equal(images.mpp, MPP)
        np.testing.assert_array_equal(images.positions, adata.obs[["array_col", "array_row"]])
    with pytest.warns(UserWarning, match="hires preview, 2 times coarser"):
        assert load(outs)[0].mpp[0] == 2 * MPP


def test_older_releases_wrote_csv(outs, drawn):
    path = outs / "binned_outputs/square_008um/spatial/tissue_positions.parquet"
    pd.read_parquet(path).to_csv(path.with_suffix(".csv"), index=False)
    path.unlink()
    assert load(outs, drawn.image)[0].shape == (len(drawn.counts), CROP_PX, CROP_PX, 3)


def test_bins_refused(outs, drawn):
    with pytest.raises(ValueError, match="at least 8 .*too few counts"):
        load(outs, drawn.image, bin_size=2)
    for wrong in (np.nan, 1e300, "8"):
        with pytest.raises(ValueError, match="at least 8 .*below 1000"):
            load(outs, drawn.image, bin_size=wrong)
    with pytest.raises(TypeError, match="section must be a str"):
        load(outs, drawn.image, section={"S": 1})
    with pytest.raises(ValueError, match=r"image_scale=array\(0.5\) is of an image"):
        load(outs, None, image_scale=np.array(0.5))
    with pytest.raises(FileNotFoundError, match="no binned_outputs/square_016um.*square_008um"):
        load(outs, drawn.image, bin_size=16)
    with pytest.raises(ValueError, match="not of bin_size=16"):
        load(outs / "binned_outputs/square_008um", drawn.image, bin_size=16)
    with pytest.raises(FileNotFoundError, match="use load_visium if it is not HD"):
        load(outs / "binned_outputs", drawn.image)


def test_a_broken_table(outs, drawn):
    path = outs / "binned_outputs/square_008um/spatial/tissue_positions.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="parquet' cannot be read; is it cut short"):
        load(outs, drawn.image)


def test_the_scale_is_checked_against_the_bins(outs, drawn):
    with pytest.raises(ValueError, match="bins are 8 um wide, mpp would be 0.5.*given as 0.25"):
        load(outs, drawn.image, mpp=0.25)
    path = outs / "binned_outputs/square_008um/spatial/scalefactors_json.json"
    path.write_text(path.read_text().replace("microns_per_pixel", "gone"))
    with pytest.raises(ValueError, match="does not state microns_per_pixel. Pass mpp="):
        load(outs, drawn.image)
    assert load(outs, drawn.image, mpp=0.5)[0].mpp[0] == 0.5
