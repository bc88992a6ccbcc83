"""load_visium, on folders of each Space Ranger version, good and bad, and on a real one."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn import CROP_PX, GENES, MPP, draw, shrink, write_h5, write_image, write_mtx, write_visium
from PIL import Image

from histoexpr.datasets import join_sections, load_visium

CUT = {"patch_size": "40um", "out_px": CROP_PX}


@pytest.fixture
def image(tmp_path, drawn):
    return write_image(drawn, tmp_path)


def load(path, image=None, *args, **kwargs):
    return load_visium(path, image, *args, **{"patient": "P", **CUT, **kwargs})


def edit(path, change, **kwargs):
    table = pd.read_csv(path)
    change(table).to_csv(path, index=False, **kwargs)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("matrix", ["h5", "mtx"])
def test_every_version_gives_the_same(tmp_path, drawn, image, version, matrix):
    outs = write_visium(tmp_path / "S1", drawn, version, matrix)
    for path in (outs, outs.parent):
        images, adata = load(path, image)
        np.testing.assert_array_equal(np.asarray(images), drawn.patches())
        np.testing.assert_array_equal(adata.X.toarray(), drawn.counts)
        assert adata.X.format == "csr" and adata.X.dtype == np.float32
        assert list(adata.var_names) == GENES and adata.var["gene_ids"].iloc[0] == "ENSG00000"
        assert list(adata.obs_names) == [f"S1_{name}" for name in drawn.counts.index]
        assert list(adata.obs.columns) == ["section", "patient", "array_row", "array_col"]
        np.testing.assert_array_equal(images.spatial, drawn.spatial)
        np.testing.assert_array_equal(images.spatial, adata.obsm["spatial"])
        np.testing.assert_array_equal(images.positions, adata.obs[["array_col", "array_row"]])
        assert set(images.section) == {"S1"} and set(images.patient) == {"P"}
        np.testing.assert_allclose(images.mpp, MPP, rtol=2e-3)  # pixels are rounded


def test_the_pixel_size_comes_from_the_pitch_not_from_55_um(outs, image):
    path = outs / "spatial/scalefactors_json.json"
    factors = json.loads(path.read_text())
    assert load(outs, image)[0].mpp[0] == pytest.approx(65 / factors["spot_diameter_fullres"], 2e-3)
    del factors["spot_diameter_fullres"]
    path.write_text(json.dumps(factors))
    np.testing.assert_allclose(load(outs, image)[0].mpp, MPP, rtol=2e-3)
    # A few spots in the wrong place do not change it.
    edit(
        outs / "spatial/tissue_positions.csv",
        lambda t: t.assign(pxl_row_in_fullres=t["pxl_row_in_fullres"].where(t.index > 2, 9)),
    )
    np.testing.assert_allclose(load(outs, image)[0].mpp, MPP, rtol=2e-3)


def test_previews_are_read_at_their_own_scale(outs, drawn):
    with pytest.warns(UserWarning, match="hires preview, 2 times coarser.*image_scale='hires'"):
        images, adata = load(outs)
    np.testing.assert_array_equal(adata.obsm["spatial"], drawn.spatial / 2)
    np.testing.assert_allclose(images.mpp, 2 * MPP, rtol=2e-3)
    pixels = np.asarray(shrink(drawn.image, 2))
    left, top = np.floor(drawn.spatial[0] / 2 - 4 + 0.5).astype(int)
    native = load(outs, image_scale="hires", out_px=8)[0]
    np.testing.assert_array_equal(native[0], pixels[top : top + 8, left : left + 8])
    np.testing.assert_allclose(load(outs, image_scale="lowres")[0].mpp, 4 * MPP, rtol=2e-3)


def test_an_image_at_any_scale(outs, drawn, tmp_path):
    shrink(drawn.image, 3).save(tmp_path / "third.png")
    images, _ = load(outs, tmp_path / "third.png", 1 / 3)
    np.testing.assert_allclose(images.mpp, 3 * MPP, rtol=2e-3)
    np.testing.assert_allclose(images.spatial, drawn.spatial / 3)
    array = load(outs, drawn.image)[0]
    np.testing.assert_array_equal(np.asarray(array), drawn.patches())


def test_image_and_scale_must_fit(outs, drawn, image, tmp_path):
    hires = outs / "spatial/tissue_hires_image.png"
    with pytest.raises(ValueError, match="image is 300 x 240 px.*Pass image_scale='hires'"):
        load(outs, hires)
    with pytest.raises(ValueError, match="image is 600 x 480 px.*Pass image_scale='fullres'"):
        load(outs, image, "hires")
    shrink(drawn.image, 3).save(tmp_path / "third.png")
    with pytest.raises(ValueError, match="Pass image_scale=0.33"):
        load(outs, tmp_path / "third.png")
    with pytest.warns(UserWarning, match="another shape than that of the previews"):
        load(outs, drawn.image[:, :520])
    for wrong in ("full", 0, -1.0, True, [1]):
        with pytest.raises(ValueError, match="image_scale must be"):
            load(outs, image, wrong)


def test_without_previews_the_spots_tell(outs, image):
    hires = (outs / "spatial/tissue_hires_image.png").rename(outs / "hires.png")
    (outs / "spatial/tissue_lowres_image.png").unlink()
    with pytest.raises(ValueError, match="outside the image.*if you pass image_scale='hires'"):
        load(outs, hires)
    with pytest.raises(ValueError, match="on the tissue if you pass image_scale='fullres'"):
        load(outs, image, "lowres")
    with pytest.raises(FileNotFoundError, match="no image was given.*Pass image="):
        load(outs)


def test_a_header_does_not_shift_the_first_spot(tmp_path, drawn, image):
    outs = write_visium(tmp_path / "S1", drawn, 1)
    old = outs / "spatial/tissue_positions_list.csv"
    first = drawn.spots["barcode"].iloc[0]
    table = drawn.spots.assign(in_tissue=1)
    every = pd.DataFrame(1, index=table["barcode"].to_numpy(), columns=GENES)
    write_h5(outs / "filtered_feature_bc_matrix.h5", every)
    for header in (False, True):  # whatever the file is called
        table.to_csv(old, header=header, index=False)
        _, adata = load(outs, image)
        assert len(adata) == len(table) and adata.obs_names[0] == f"S1_{first}"
    (outs / "spatial/tissue_positions.csv").write_text(old.read_text())
    old.unlink()
    assert len(load(outs, image)[1]) == len(table)


def test_tables_of_spots_refused(outs, image):
    path = outs / "spatial/tissue_positions.csv"
    whole = pd.read_csv(path)

    def check(table, message, **kwargs):
        table.to_csv(path, index=False, **kwargs)
        with pytest.raises(ValueError, match=message):
            load(outs, image)

    check(whole.drop(columns="array_row"), "lacks the column 'array_row'")
    check(whole.drop(columns="array_row"), "5 columns and no header", header=False)
    check(whole.assign(in_tissue=0), "no spot is marked as under tissue")
    check(whole.assign(array_col=whole["array_col"].astype(object).where(whole.index > 0, "x")),
          "1 rows of tissue_positions.csv are not numbers")  # fmt: skip
    pixels = ["pxl_row_in_fullres", "pxl_col_in_fullres"]
    shifted = whole.copy()
    shifted[pixels] = np.roll(whole[pixels], 13, axis=0)
    check(shifted, "do not lie on their array positions")
    hires = whole.copy()
    hires[pixels] = whole[pixels] // 2
    check(hires, "spots lie 20.* px apart.*diameter of 26 px.*pixels at full resolution")
    exchanged = whole.rename(columns=dict(zip(pixels, pixels[::-1])))
    check(exchanged, "on the tissue if you exchange x and y.*grid is mirrored")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no table of spots.*tissue_positions_list.csv"):
        load(outs, image)


def test_exchanged_x_and_y_are_found_on_a_square_image(outs, drawn):
    square = np.full((600, 600, 3), 240, np.uint8)
    square[:480] = drawn.image
    for preview in ("hires", "lowres"):
        (outs / f"spatial/tissue_{preview}_image.png").unlink()
    load(outs, square)
    pixels = ["pxl_row_in_fullres", "pxl_col_in_fullres"]
    edit(
        outs / "spatial/tissue_positions.csv",
        lambda t: t.rename(columns=dict(zip(pixels, pixels[::-1]))),
    )
    with pytest.raises(ValueError, match="if you exchange x and y.*grid is mirrored"):
        load(outs, square)
    with pytest.warns(UserWarning, match="grid is mirrored on the image"):
        load(outs, np.ascontiguousarray(square.transpose(1, 0, 2)))  # flipped: not refused


def test_the_image_of_another_section_is_doubted(outs, drawn):
    with pytest.warns(UserWarning, match="section 'S1'.*most lie off the tissue"):
        load(outs, np.roll(drawn.image, (240, 300), (0, 1)))


def test_barcodes_with_and_without_their_suffix(outs, drawn, image, caplog):
    bare = drawn.counts.set_axis(drawn.counts.index.str.removesuffix("-1"), axis=0)
    write_h5(outs / "filtered_feature_bc_matrix.h5", bare.iloc[:-2])
    with caplog.at_level(logging.INFO, logger="histoexpr"):
        images, adata = load(outs, image)
    np.testing.assert_array_equal(adata.X.toarray(), bare.iloc[:-2])
    np.testing.assert_array_equal(np.asarray(images), drawn.patches()[:-2])
    assert "60 spots; 0 barcodes are in the counts alone, 2 in the spots" in caplog.text
    # Captures that differ in the suffix alone are not one.
    two = pd.concat([drawn.counts[:5], drawn.counts[:5].set_axis(bare.index[:5] + "-2", axis=0)])
    write_h5(outs / "filtered_feature_bc_matrix.h5", two)
    assert len(load(outs, image)[1]) == 5
    other = drawn.counts.set_axis(bare.index + "-2", axis=0)
    write_h5(outs / "filtered_feature_bc_matrix.h5", other)
    with pytest.raises(ValueError, match="no barcode of the counts"):
        load(outs, image)
    write_h5(outs / "filtered_feature_bc_matrix.h5", drawn.counts.add_prefix("other_", axis=0))
    with pytest.raises(ValueError, match="no barcode of the counts.*Are both of one section"):
        load(outs, image)
    write_h5(outs / "filtered_feature_bc_matrix.h5", pd.concat([drawn.counts, drawn.counts]))
    with pytest.raises(ValueError, match="stands more than once in the counts"):
        load(outs, image)


@pytest.mark.parametrize("matrix", ["h5", "mtx"])
def test_genes_of_one_name_are_made_unique(outs, drawn, image, caplog, recwarn, matrix):
    genes = ["EPCAM", "TBCE", "TBCE", "MALAT1", "TBCE", "VIM"]
    path = outs / "filtered_feature_bc_matrix.h5"
    path.unlink()
    if matrix == "h5":
        write_h5(path, drawn.counts, genes)
    else:
        write_mtx(path.with_suffix(""), drawn.counts, genes)
    with caplog.at_level(logging.INFO, logger="histoexpr"):
        _, adata = load(outs, image)
    assert list(adata.var_names) == ["EPCAM", "TBCE", "TBCE-1", "MALAT1", "TBCE-2", "VIM"]
    np.testing.assert_array_equal(adata.X.toarray(), drawn.counts)
    assert "2 genes share a name with another ('TBCE')" in caplog.text and not recwarn.list


def test_a_gene_may_be_called_na(outs, drawn, image):
    path = outs / "filtered_feature_bc_matrix.h5"
    path.unlink()
    write_mtx(path.with_suffix(""), drawn.counts, ["EPCAM", "NA", "KRT5", "MALAT1", "None", "VIM"])
    images, adata = load(outs, image)
    assert all(isinstance(gene, str) for gene in adata.var_names) and adata.var_names.is_unique
    assert join_sections([(images, adata)])[1].n_vars == 6


def test_raw_counts_are_taken_when_there_are_no_filtered_ones(outs, drawn, image):
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    every = pd.DataFrame(0, index=drawn.spots["barcode"].to_numpy(), columns=GENES)
    every.loc[drawn.counts.index] = drawn.counts
    write_h5(outs / "raw_feature_bc_matrix.h5", every)
    images, adata = load(outs, image)
    assert set(adata.obs_names) == {f"S1_{name}" for name in drawn.counts.index}
    shutil.copy(outs / "raw_feature_bc_matrix.h5", outs / "Sample_filtered_feature_bc_matrix.h5")
    assert len(load(outs, image)[1]) == len(adata)
    shutil.copy(outs / "raw_feature_bc_matrix.h5", outs / "Other_filtered_feature_bc_matrix.h5")
    with pytest.raises(ValueError, match="holds 2 files of counts"):
        load(outs, image)


def test_missing_and_broken_files(tmp_path, outs, drawn, image):
    with pytest.raises(FileNotFoundError, match="no Space Ranger folder at"):
        load(tmp_path / "nowhere", image)
    with pytest.raises(FileNotFoundError, match="no spatial/scalefactors_json.json"):
        load(tmp_path, image)
    with pytest.raises(FileNotFoundError, match="no .*slide at|no section image at"):
        load(outs, tmp_path / "none.tif")
    counts = outs / "filtered_feature_bc_matrix.h5"
    counts.write_bytes(counts.read_bytes()[:900])
    with pytest.raises(ValueError, match="'S1': the counts in .* is the file cut short"):
        load(outs, image)
    counts.unlink()
    with pytest.raises(FileNotFoundError, match="There are no counts in .*filtered_feature"):
        load(outs, image)
    write_mtx(outs / "filtered_feature_bc_matrix", drawn.counts)
    (outs / "filtered_feature_bc_matrix/features.tsv.gz").unlink()
    with pytest.raises(FileNotFoundError, match="'S1'.*not complete.*gzipped"):
        load(outs, image)
    (outs / "spatial/scalefactors_json.json").write_text("{")
    with pytest.raises(ValueError, match="is not a JSON object"):
        load(outs, image)
    (outs / "binned_outputs").mkdir()
    with pytest.raises(ValueError, match="use load_visium_hd"):
        load(outs, image)


def test_a_truncated_jpeg_is_refused_at_once(outs, drawn, tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(drawn.image).save(path)
    assert len(load(outs, path)[0]) == len(drawn.counts)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cut.jpg.*cut short"):
        load(outs, path)


@pytest.mark.parametrize("tile", [None, (128, 128)])
def test_a_truncated_tiff_is_refused_at_once(outs, drawn, tmp_path, tile):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, drawn.image, photometric="rgb", tile=tile)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cut.tif.*(cut short|broken)"):
        load(outs, path)


def test_a_given_pixel_size_must_fit_the_spots(outs, image):
    np.testing.assert_allclose(load(outs, image, mpp=2.45)[0].mpp, 2.45)
    with pytest.raises(ValueError, match="Visium are 100 um apart.*would be 2.5.*given as 0.5"):
        load(outs, image, mpp=0.5)


def test_a_section_without_patient_stands_for_one(outs, image):
    with pytest.warns(UserWarning, match="'S1' has no patient.*both sides of a split"):
        images, adata = load_visium(outs, image, **CUT)
    assert set(images.patient) == set(adata.obs["patient"]) == {"S1"}


def test_several_sections(tmp_path, drawn):
    other = draw(seed=1)
    paths = [write_visium(tmp_path / name, d) for name, d in (("S1", drawn), ("S2", other))]
    images, adata = load_visium(
        paths, [drawn.image, other.image], patient=["A", "B"], section=["one", "two"], **CUT
    )
    np.testing.assert_array_equal(
        np.asarray(images), np.concatenate([drawn.patches(), other.patches()])
    )
    np.testing.assert_array_equal(adata.X.toarray(), pd.concat([drawn.counts, other.counts]))
    assert list(adata.obs["section"].cat.categories) == ["one", "two"]
    np.testing.assert_array_equal(images.patient, adata.obs["patient"])
    with pytest.raises(ValueError, match="patient has 1 entries for 2 paths"):
        load_visium(paths, patient=["A"])
    with pytest.raises(ValueError, match="Section 'S1' is named more than once"):
        load(paths, section="S1")
    (paths[0] / "spatial/scalefactors_json.json").unlink()
    (paths[1] / "filtered_feature_bc_matrix.h5").unlink()
    with pytest.raises(ValueError, match="(?s)2 of 2 sections.*S1: There is no.*S2: There are no"):
        load(paths)


def test_a_real_folder(shared):
    folder = shared / "data/visium_muscle"
    images, adata = load(folder, folder / "derived_hires.jpg", "hires", patch_size="64um")
    assert adata.shape == (982, 33217)
    # From the scale factors, spots of 65 um: a second measure of the same thing.
    factors = json.loads((folder / "spatial/scalefactors_json.json").read_text())
    full = 65 / factors["spot_diameter_fullres"]
    np.testing.assert_allclose(images.mpp, full / factors["tissue_hires_scalef"], rtol=5e-3)
    # Tissue under the spots: darker and redder than the glass around them.
    slide = images.section_images["visium_muscle"].thumbnail(500)
    glass = np.median(slide.reshape(-1, 3), axis=0)
    middles = np.asarray(images)[:, 4:-4, 4:-4]
    assert (middles[..., 1].mean(axis=(1, 2)) < glass[1] - 25).mean() > 0.9
    with pytest.raises(ValueError, match="Pass image_scale='hires'"):
        load(folder, folder / "derived_hires.jpg")
