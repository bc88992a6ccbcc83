"""load_hest, on samples made here in the layout of HEST-1k."""

import json

import anndata
import h5py
import numpy as np
import pytest
from drawn import CROP_PX, MPP, write_hest

from histoexpr.datasets import load_hest

CUT = {"patch_size": "40um", "out_px": CROP_PX}


@pytest.fixture
def root(tmp_path, drawn):
    return write_hest(tmp_path, drawn, patient="P", pixel_size_um_estimated=MPP)


def load(root, ids=None, **kwargs):
    return load_hest(root, ids, **{**CUT, **kwargs})


def edit_patches(root, name="S1", **datasets):
    with h5py.File(root / f"patches/{name}.h5", "a") as file:
        for key, values in datasets.items():
            attrs = dict(file[key].attrs)
            del file[key]
            file[key] = values
            file[key].attrs.update(attrs)


def test_patches_and_slide_give_the_same(root, drawn):
    cut, slide = load(root, source="patches"), load(root, source="slide")
    for images, adata in (cut, slide):
        np.testing.assert_array_equal(np.asarray(images), drawn.patches())
        np.testing.assert_array_equal(adata.X.toarray(), drawn.counts)
        np.testing.assert_array_equal(images.spatial, drawn.spatial)
        np.testing.assert_array_equal(images.patch_mpp, MPP)
        assert set(images.patient) == {"P"} and set(images.section) == {"S1"}
    assert cut[0].section_images == {} and slide[0].section_images
    assert load(root)[0].section_images == {}


def test_patches_are_joined_on_their_barcode(root, drawn):
    rows = np.array([7, 3, 20, 11])  # a part of the spots, in another order, without "-1"
    names = drawn.counts.index[rows].str.removesuffix("-1")
    corners = drawn.spatial[rows].astype(int) - CROP_PX // 2
    barcode = np.array(names, dtype="S")[:, None]
    edit_patches(root, img=drawn.patches()[rows], barcode=barcode, coords=corners)
    images, adata = load(root)
    np.testing.assert_array_equal(adata.X.toarray(), drawn.counts.iloc[rows])
    np.testing.assert_array_equal(np.asarray(images), drawn.patches()[rows])
    np.testing.assert_array_equal(images.spatial, drawn.spatial[rows])
    # Barcodes the h5ad lacks are left out.
    edit_patches(root, barcode=np.array([*names[:3], "unknown"], dtype="S")[:, None])
    images, adata = load(root)
    np.testing.assert_array_equal(np.asarray(images), drawn.patches()[rows[:3]])
    np.testing.assert_array_equal(adata.X.toarray(), drawn.counts.iloc[rows[:3]])


def test_patches_shrunk_from_the_slide_have_their_own_scale(root, drawn):
    small = drawn.patches()[:, ::2, ::2]
    edit_patches(root, img=small)
    images, _ = load(root, out_px=8)
    np.testing.assert_array_equal(images.patch_mpp, 2 * MPP)
    assert load(root, patch_size=None, out_px=None)[0].shape[1:] == (8, 8, 3)


def test_cut_patches_are_what_they_are(root):
    with pytest.raises(ValueError, match="16 x 16 px: out_px=224 cannot be had. Pass out_px=16"):
        load(root, out_px=224)
    with pytest.raises(ValueError, match="show 40 um, not '112um'. Pass patch_size='40um'"):
        load(root, patch_size="112um")
    assert load(root, source="slide", patch_size="112um", out_px=20)[0].shape[1] == 20


@pytest.mark.parametrize("source", ["patches", "slide"])
def test_the_patient_falls_back_to_the_section(tmp_path, drawn, source):
    for name, patient in (("S1", ""), ("S2", None), ("S3", "Patient 1")):
        write_hest(tmp_path, drawn, name, patient=patient, pixel_size_um_estimated=MPP)
    with pytest.warns(UserWarning, match="'S1' has no patient") as seen:
        images, adata = load(tmp_path, source=source)
    patients = adata.obs.groupby("section", observed=True)["patient"].first()
    assert patients.to_dict() == {"S1": "S1", "S2": "S2", "S3": "Patient 1"}
    assert len([w for w in seen if "has no patient" in str(w.message)]) == 2
    _, adata = load(tmp_path, ["S2", "S1"], patient={"S1": "A", "S2": "A"}, source=source)
    assert set(adata.obs["patient"]) == {"A"}
    assert list(dict.fromkeys(adata.obs["section"])) == ["S2", "S1"]


def test_where_the_pixel_size_comes_from(tmp_path, drawn):
    write_hest(tmp_path, drawn, pixel_size_um_estimated=9.0, patient="P")
    assert load(tmp_path)[0].mpp[0] == MPP  # the patches' own attribute
    with h5py.File(tmp_path / "patches/S1.h5", "a") as file:
        del file["img"].attrs["pixel_size"]
    wide = {"patch_size": None, "out_px": None}
    assert load(tmp_path, **wide)[0].mpp[0] == 9.0
    meta = tmp_path / "metadata/S1.json"
    meta.write_text(json.dumps({"pixel_size_um_embedded": 8.0, "patient": "P"}))
    assert load(tmp_path, **wide)[0].mpp[0] == 8.0
    meta.unlink()
    with pytest.warns(UserWarning, match="no patient"):
        assert load(tmp_path, **wide)[0].mpp[0] == pytest.approx(MPP, rel=2e-3)  # the Visium grid
    adata = anndata.read_h5ad(tmp_path / "st/S1.h5ad")
    del adata.obs["array_row"]
    adata.write_h5ad(tmp_path / "st/S1.h5ad")
    for source in ("patches", "slide"):
        with pytest.raises(ValueError, match="how many micrometres a pixel is.*Write it there"):
            load(tmp_path, source=source, **CUT)


def test_coords_that_are_not_where_the_spots_are(root, drawn):
    corners = drawn.spatial - CROP_PX // 2
    for wrong in (corners[:, ::-1], corners + 16, corners / 2):
        edit_patches(root, coords=wrong)
        with pytest.raises(ValueError, match="not centred on its spots.*x and y exchanged"):
            load(root)
    edit_patches(root, coords=drawn.spatial[:, ::-1])  # as in the files of the benchmark
    assert len(load(root)[0]) == len(drawn.counts)


def test_missing_and_broken_files(root, tmp_path):
    with pytest.raises(ValueError, match="source must be"):
        load(root, source="wsi")
    with pytest.raises(ValueError, match="no sample 'S9' in .*there are 'S1'"):
        load(root, ["S1", "S9"])
    with pytest.raises(TypeError, match="ids must be one name, a list of names, or None.*got 3"):
        load(root, 3)
    with pytest.raises(TypeError, match="patient must be a dict of patients by sample; got 'P'"):
        load(root, patient="P")
    (root / "patches/S1.h5").rename(root / "kept.h5")
    assert load(root)[0].section_images  # the slide
    with pytest.raises(FileNotFoundError, match="no file of patches.*source='slide' cuts them"):
        load(root, source="patches")
    (root / "wsis/S1.tif").unlink()
    with pytest.raises(FileNotFoundError, match="no slide"):
        load(root)
    (root / "patches/S1.h5").write_bytes((root / "kept.h5").read_bytes()[:2000])
    with pytest.raises(ValueError, match="S1.h5' cannot be read; is it cut short"):
        load(root)
    with h5py.File(root / "patches/S1.h5", "w") as file:
        file["img"] = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="lacks 'barcode', 'coords'"):
        load(root)
    (root / "st/S1.h5ad").write_bytes(b"HDF")
    with pytest.raises(ValueError, match="S1.h5ad' cannot be read as AnnData"):
        load(root)
    (root / "st/S1.h5ad").unlink()
    with pytest.raises(FileNotFoundError, match="no samples in .*st/{id}.h5ad"):
        load(root)
