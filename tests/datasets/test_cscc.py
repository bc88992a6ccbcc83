"""load_cscc, on files made here as the series GSE144240 has them."""

import gzip

import numpy as np
import pytest
from drawn import draw, write_cscc
from PIL import Image

from histoexpr.datasets import load_cscc

CUT = {"patch_size": "80um", "out_px": 16}


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(("P2_ST_rep1", "P2_ST_rep2", "P10_ST_rep1")):
        write_cscc(tmp_path, draw(), name, number)
    return tmp_path


def test_sections_are_read(root):
    images, adata = load_cscc(root, **CUT)
    assert images.shape == (75, 16, 16, 3)
    pairs = set(zip(adata.obs["section"], adata.obs["patient"]))
    assert pairs == {("P2_ST_rep1", "P2"), ("P2_ST_rep2", "P2"), ("P10_ST_rep1", "P10")}
    np.testing.assert_allclose(images.mpp, 200 / 40)  # the pitch of legacy ST
    counts, spots = write_cscc(root / "again", draw(), "P2_ST_rep2", 1)
    mine = adata[adata.obs["section"] == "P2_ST_rep2"]
    np.testing.assert_array_equal(mine.X.toarray(), counts)
    np.testing.assert_allclose(mine.obsm["spatial"], spots[["pixel_x", "pixel_y"]])
    np.testing.assert_array_equal(mine.obs["array_col"], spots["x"])
    assert mine.obs_names[0] == f"P2_ST_rep2_{counts.index[0]}"


def test_patches_are_of_the_right_image(root):
    images, _ = load_cscc(root, "P2_ST_rep1", **CUT)
    with Image.open(root / "GSM0_P2_ST_rep1.jpg") as image:
        pixels = np.asarray(image)
    left, top = np.floor(images.spatial[0] - 8 + 0.5).astype(int)
    np.testing.assert_array_equal(images[0], pixels[top : top + 16, left : left + 16])


def test_tables_may_be_gzipped_but_not_the_image(root):
    before = load_cscc(root, "P10_ST_rep1", **CUT)[1]
    for path in root.glob("*P10_ST_rep1*.tsv"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    after = load_cscc(root, ["P10_ST_rep1"], **CUT)[1]
    np.testing.assert_array_equal(after.X.toarray(), before.X.toarray())
    path = root / "GSM2_P10_ST_rep1.jpg"
    path.rename(root / "GSM2_P10_ST_rep1.jpg.gz")
    with pytest.raises(FileNotFoundError, match="Unpack 'GSM2_P10_ST_rep1.jpg.gz' first"):
        load_cscc(root, "P10_ST_rep1", **CUT)


def test_refused(root, tmp_path):
    with pytest.raises(ValueError, match="no section 'P9_ST_rep1'; there are P10_ST_rep1, P2"):
        load_cscc(root, "P9_ST_rep1")
    (root / "GSM0_spot_data-selection-P2_ST_rep1.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="spot.P2_ST_rep1.tsv.*GSE144240 are needed"):
        load_cscc(root, "P2_ST_rep1")
    (root / "GSM9_P2_ST_rep2.png").write_bytes(b"")
    with pytest.raises(ValueError, match="holds 2 files"):
        load_cscc(root, "P2_ST_rep2")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="no count tables"):
        load_cscc(empty)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_cscc(tmp_path / "nowhere")
