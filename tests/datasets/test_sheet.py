"""load_sheet: sections of every format, one a row."""

import numpy as np
import pandas as pd
import pytest
from drawn import CROP_PX, make_sdata, write_cscc, write_hest, write_image, write_visium
from PIL import Image

from histoexpr.datasets import load_sheet
from histoexpr.datasets._sheet import _format_of

CUT = {"patch_size": "40um", "out_px": CROP_PX}


@pytest.fixture
def folder(tmp_path, drawn):
    """V1: Visium; S1: HEST; H1: h5ad; F1: a folder of patches. All the same tissue."""
    write_visium(tmp_path / "visium", drawn)
    write_image(drawn, tmp_path)
    write_hest(tmp_path / "hest", drawn)
    drawn.adata().write_h5ad(tmp_path / "mine.h5ad")
    table = drawn.under_tissue[["array_row", "array_col"]].reset_index(names="barcode")
    table["x"], table["y"] = drawn.spatial.T
    table["file"] = [f"{i}.png" for i in range(len(table))]
    table.to_csv(tmp_path / "patches.csv", index=False)
    drawn.counts.to_csv(tmp_path / "counts.csv")
    (tmp_path / "patches").mkdir()
    for name, patch in zip(table["file"], drawn.patches()):
        Image.fromarray(patch).save(tmp_path / "patches" / name)
    return tmp_path


ROWS = [
    {"section": "V1", "patient": "A", "path": "visium", "image": "he.tif"},
    {"section": "S1", "patient": "A", "path": "hest"},
    {"section": "H1", "patient": "B", "path": "mine.h5ad", "image": "he.tif", "mpp": "2.5"},
    {
        "section": "F1", "patient": "B", "path": "patches", "format": "patches",
        "table": "patches.csv", "counts": "counts.csv", "mpp": "2.5",
    },
]  # fmt: skip


def write_sheet(folder, rows, **kwargs):
    pd.DataFrame(rows).to_csv(folder / "sheet.csv", index=False, **kwargs)
    return folder / "sheet.csv"


def test_formats_are_told_apart_and_read(folder, drawn, recwarn):
    images, adata = load_sheet(write_sheet(folder, ROWS), **CUT)
    assert list(dict.fromkeys(images.section)) == ["V1", "S1", "H1", "F1"]
    assert set(zip(images.section, images.patient)) == {(r["section"], r["patient"]) for r in ROWS}
    for name in ("V1", "S1", "H1", "F1"):
        mine = images.section == name
        np.testing.assert_array_equal(np.asarray(images[mine]), drawn.patches())
        np.testing.assert_array_equal(adata[mine].X.toarray(), drawn.counts)
    np.testing.assert_array_equal(images.section, adata.obs["section"])
    assert not [w for w in recwarn if "patient" in str(w.message)]
    again, _ = load_sheet(write_sheet(folder, ROWS[:2], sep="\t"), genes=["VIM", "ACTB"], **CUT)
    assert len(again) == 2 * len(drawn.counts)


def test_a_data_frame_with_paths_from_here(folder, drawn, monkeypatch):
    monkeypatch.chdir(folder)
    table = pd.DataFrame([{**ROWS[0], "image_scale": 1.0, "mpp": None}, {**ROWS[2], "mpp": 2.5}])
    images, _ = load_sheet(table, **CUT)
    np.testing.assert_array_equal(np.asarray(images[: len(drawn.counts)]), drawn.patches())


def test_legacy_st_folders(folder, drawn, shared):
    write_cscc(folder / "cscc", drawn)
    rows = [{"section": "P2_ST_rep1", "path": "cscc", "patient": ""}]
    images, adata = load_sheet(write_sheet(folder, rows), patch_size="80um", out_px=16)
    assert len(images) == 25 and set(adata.obs["patient"]) == {"P2"}
    rows = [{"section": "C2", "path": str(shared / "data/her2st"), "patient": "of C"}]
    images, adata = load_sheet(write_sheet(folder, rows))
    assert len(images) == 187 and set(images.patient) == {"of C"}
    assert adata.obs_names[0].startswith("C2_") and "domain" in adata.obs


@pytest.mark.filterwarnings("ignore::UserWarning:spatialdata|contextlib|functools")
def test_spatialdata_stores(folder, drawn):
    pytest.importorskip("spatialdata", reason="reading SpatialData needs the extra spatialdata")
    make_sdata(drawn).write(folder / "store.zarr")
    rows = [{"section": "Z1", "path": "store.zarr", "patient": "A", "image": "he"}]
    images, _ = load_sheet(write_sheet(folder, rows), **CUT)
    np.testing.assert_array_equal(np.asarray(images), drawn.patches())


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ("a/outs/binned_outputs/square_008um/x", "visium_hd"),
        ("a/square_008um/x", None),
        ("a/outs/spatial/scalefactors_json.json", "visium"),
        ("a/spatial/scalefactors_json.json", "visium"),
        ("a/st/x.h5ad", "hest"),
        ("a/data/ST-cnts/A1.tsv.gz", "her2st"),
        ("a/below/GSM1_P2_ST_rep1_stdata.tsv.gz", "cscc"),
        ("a/zarr.json", "spatialdata"),
        ("a/.zgroup", "spatialdata"),
    ],
)
def test_what_a_path_holds(tmp_path, files, kind):
    path = tmp_path / files
    path.parent.mkdir(parents=True)
    path.touch()
    if kind is None:
        assert _format_of(tmp_path / "a/square_008um") == "visium_hd"
        with pytest.raises(ValueError, match="is not known: name its format"):
            _format_of(tmp_path / "a")
    else:
        assert _format_of(tmp_path / "a") == kind


def test_all_sections_are_tried_and_all_that_fail_are_named(folder, drawn):
    (folder / "cut.tif").write_bytes((folder / "he.tif").read_bytes()[:200_000])
    rows = [
        {**ROWS[0], "section": "B1", "image": "cut.tif"},
        {**ROWS[0], "section": "B2", "path": "nowhere"},
        *ROWS[:2],
        {**ROWS[2], "section": "B3", "image": ""},
    ]
    sheet = write_sheet(folder, rows)
    named = "(?s)3 of 5 sections cannot be read:.*B1: .*cut.tif.*B2: There is no data.*B3: an h5ad"
    with pytest.raises(ValueError, match=named):
        load_sheet(sheet, **CUT)
    with pytest.warns(UserWarning, match=f"{named}.*The other 2 are returned"):
        images, adata = load_sheet(sheet, unreadable="skip", **CUT)
    assert list(dict.fromkeys(images.section)) == ["V1", "S1"] and len(adata) == len(images)
    with pytest.raises(ValueError, match="2 of 2 sections"):  # nothing is left
        load_sheet(write_sheet(folder, rows[:2]), unreadable="skip", **CUT)
    with pytest.raises(ValueError, match="unreadable must be 'raise' or 'skip'"):
        load_sheet(sheet, unreadable="ignore")


def test_sheets_refused(folder):
    def check(rows, message, error=ValueError, **kwargs):
        with pytest.raises(error, match=message):
            load_sheet(write_sheet(folder, rows), **{**CUT, **kwargs})

    with pytest.raises(FileNotFoundError, match="no sheet of sections"):
        load_sheet(folder / "none.csv")
    check([{"section": "V1", "patient": "A"}], "columns section and path, and may have")
    check([{**ROWS[0], "picture": "he.tif"}], "'picture'; it needs.*may have.*image")
    check([ROWS[0], {**ROWS[0], "path": ""}], "Row 2 of the sheet has no section or path")
    check([ROWS[0], ROWS[0]], "Section 'V1' is named more than once")
    check([{**ROWS[0], "format": "xenium"}], "format 'xenium' is not known; it must be one of vis")
    check([{**ROWS[1], "mpp": 2.5}], "column 'mpp' says nothing for the format 'hest'")
    check([{**ROWS[0], "mpp": "half"}], "column mpp must hold numbers; got 'half'")
    check([{**ROWS[3], "table": ""}], "patches need the CSV that names them")
    check([{**ROWS[1], "section": "S9"}], "no table of spots", FileNotFoundError)
    check(ROWS[:1], "genes must be", genes="all")


def test_a_patch_size_that_cut_patches_do_not_have(folder):
    with pytest.raises(ValueError, match="out_px=224 cannot be had"):
        load_sheet(write_sheet(folder, ROWS[1:2]))
