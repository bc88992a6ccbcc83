"""load_her2st, on a tiny copy of the layout and on the real sections."""

import gzip
import logging
import zipfile

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histoexpr.data import unpack_target
from histoexpr.datasets import load_her2st

PITCH_PX = 40  # so 5 um/px
SECTIONS = ("A1", "A2", "B1")


def spot_table(shift=0.02):
    x, y = (v.ravel() for v in np.meshgrid(np.arange(2, 6), np.arange(3, 7)))
    new_x, new_y = x + shift * (-1) ** y, y - shift * (-1) ** x
    columns = {"x": x, "y": y, "new_x": new_x, "new_y": new_y}
    columns |= {"pixel_x": PITCH_PX * (new_x - 1), "pixel_y": PITCH_PX * (new_y - 1), "selected": 1}
    return pd.DataFrame(columns)


def write(table, path, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", **kwargs)


@pytest.fixture
def root(tmp_path):
    """A1: pathologist and clusters; A2: clusters and cell types, unpacked names; B1: nothing."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(SECTIONS):
        spots = spot_table()
        keys = spots["x"].astype(str) + "x" + spots["y"].astype(str)
        genes = ["shared", f"only_{name}", "ACTB"]
        counts = pd.DataFrame(rng.poisson(3, (16, 3)), index=keys, columns=genes)
        counts.loc["30x30"] = 7  # counts without a position
        write(counts.iloc[::-1], tmp_path / f"data/ST-cnts/{name}.tsv.gz")
        spots.loc[len(spots)] = [9, 9, 9, 9, 320, 320, 1]  # a position without counts
        spots = spots.astype({"x": int, "y": int})
        write(spots, tmp_path / f"data/ST-spotfiles/{name}_selection.tsv", index=False)
        folder = tmp_path / f"data/ST-imgs/{name[0]}/{name}"
        folder.mkdir(parents=True)
        pixels = rng.integers(0, 256, (340, 330, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"BT_{number} any name.jpg")
        (folder / "._hidden.jpg").write_text("of the file system")
        (folder / "notes.txt").write_text("not an image")
    labels = spot_table(0.3)[["new_x", "new_y"]].set_axis(["x", "y"], axis=1)
    labels["label"] = np.where(labels["x"] < 3.5, "invasive cancer", "undetermined")
    labels.loc[3] = np.nan
    write(labels, tmp_path / "data/ST-pat/lbl/A1_labeled_coordinates.tsv")
    clusters = spot_table()[["x", "y"]].assign(label=np.arange(16) % 3)[:10]
    for name in ("A1", "A2"):
        write(clusters, tmp_path / f"res/ST-cluster/lbl/{name}-cluster-annotation.tsv.gz")
    types = pd.DataFrame(
        np.eye(8)[np.arange(15) % 8] * 0.3 + 0.05,
        index=[f"{x}x{y}" for x, y in spot_table()[["x", "y"]].to_numpy()[:15]],
        columns=["B-cells", "CAFs", "Endothelial", "Epithelial", "Myeloid", "Plasma Cells", "PVL",
                 "T-cells"],
    )  # fmt: skip
    props = tmp_path / "res/ST-deconv/props"
    props.mkdir(parents=True)
    with zipfile.ZipFile(props / "major.zip", "w") as archive:
        archive.writestr("major/A2-proportion.tsv", types.to_csv(sep="\t"))
    return tmp_path


def test_both_returned_objects_have_the_same_rows(root):
    images, adata = load_her2st(root, patch_size="40px", out_px=16)
    assert images.shape == (48, 16, 16, 3) and adata.shape == (48, 5)
    np.testing.assert_array_equal(images.section, adata.obs["section"])
    np.testing.assert_array_equal(images.patient, adata.obs["patient"])
    np.testing.assert_array_equal(images.spatial, adata.obsm["spatial"])
    np.testing.assert_array_equal(images.positions, adata.obs[["array_col", "array_row"]])
    assert list(adata.obs["section"].cat.categories) == list(SECTIONS)
    assert set(zip(adata.obs["section"], adata.obs["patient"])) == {
        ("A1", "A"), ("A2", "A"), ("B1", "B"),
    }  # fmt: skip
    section, position = zip(*(name.split("_") for name in adata.obs_names))
    np.testing.assert_array_equal(section, images.section)
    np.testing.assert_array_equal([p.split("x") for p in position], images.positions.astype(str))


def test_counts_positions_and_pixels_belong_together(root):
    images, adata = load_her2st(root, "A2", "40px", 40)
    raw = pd.read_csv(root / "data/ST-cnts/A2.tsv.gz", sep="\t", index_col=0)
    spots = spot_table().set_index(["x", "y"])
    with Image.open(next((root / "data/ST-imgs/A/A2").glob("BT*"))) as image:
        pixels = np.asarray(image)
    for row, (col, line) in enumerate(images.positions):
        counts = raw.loc[f"{col}x{line}", adata.var_names]
        np.testing.assert_array_equal(adata.X[[row]].toarray()[0], counts)
        x, y = spots.loc[(col, line), ["pixel_x", "pixel_y"]]
        left, top = round(x - 20), round(y - 20)
        np.testing.assert_array_equal(images[row], pixels[top : top + 40, left : left + 40])
    assert adata.X.dtype == np.float32 and adata.X.format == "csr"


def test_pixel_size_comes_from_the_pitch(root):
    images, _ = load_her2st(root, "A1", "155um", 32)
    np.testing.assert_allclose(images.mpp, 200 / PITCH_PX, rtol=1e-9)
    np.testing.assert_allclose(images.patch_mpp, 5 * 31 / 32)
    plain = spot_table()[["x", "y", "pixel_x", "pixel_y"]]
    write(plain, root / "data/ST-spotfiles/A1_selection.tsv", index=False)
    np.testing.assert_allclose(load_her2st(root, "A1")[0].mpp, 5, rtol=1e-2)


def test_what_has_no_partner_is_dropped_and_logged(root, caplog):
    with caplog.at_level(logging.INFO, logger="histoexpr"):
        _, adata = load_her2st(root, "A1")
    assert len(adata) == 16
    assert "section A1: 16 spots; dropped 1 without a position and 1 without" in caplog.text


def test_genes_are_joined_by_name(root):
    _, adata = load_her2st(root)
    assert set(adata.var_names) == {"shared", "ACTB", "only_A1", "only_A2", "only_B1"}
    assert adata.var_names.is_unique
    elsewhere = adata[adata.obs["section"] != "A1", "only_A1"].X
    assert elsewhere.nnz == 0 and adata[adata.obs["section"] == "A1", "only_A1"].X.sum() > 0
    _, inner = load_her2st(root, join="inner")
    assert set(inner.var_names) == {"shared", "ACTB"}
    np.testing.assert_array_equal(
        inner[:, ["ACTB"]].X.toarray(), adata[inner.obs_names, ["ACTB"]].X.toarray()
    )
    with pytest.raises(ValueError, match="join must be 'outer' or 'inner'; got 'left'"):
        load_her2st(root, join="left")


def test_labels_are_joined_and_missing_where_there_are_none(root, tmp_path):
    _, adata = load_her2st(root)
    obs = adata.obs.reset_index()
    domain = obs.set_index(["section", "array_col", "array_row"])["domain"]
    assert domain.loc["A1"].loc[(2, 3)] == "invasive cancer"  # the pathologist before clusters
    assert domain.loc["A1"].loc[(4, 3)] == "undetermined"
    assert domain.loc["A1"].isna().sum() == 1
    assert domain.loc["A2"].loc[(3, 3)] == "1"
    assert domain.loc["A2"].isna().sum() == 6
    assert domain.loc["B1"].isna().all()
    types = obs.set_index(["section", "array_col", "array_row"])["cell_type"]
    assert types.loc["A2"].loc[(2, 3)] == "B-cells" and types.loc["A2"].loc[(5, 4)] == "T-cells"
    assert types.loc["A2"].isna().sum() == 1
    assert types.loc["A1"].isna().all()
    for key in ("domain", "cell_type", "section", "patient"):
        assert isinstance(adata.obs[key].dtype, pd.CategoricalDtype)
    assert set(unpack_target(adata).cell_type) > {"nan", "CAFs"}

    adata.write_h5ad(tmp_path / "whole.h5ad")
    again = anndata.read_h5ad(tmp_path / "whole.h5ad")
    pd.testing.assert_frame_equal(again.obs, adata.obs)
    _, bare = load_her2st(root, "B1")
    assert bare.obs["cell_type"].isna().all() and bare.obs["domain"].isna().all()
    bare.write_h5ad(tmp_path / "bare.h5ad")
    assert anndata.read_h5ad(tmp_path / "bare.h5ad").obs["domain"].isna().all()


def test_an_unpacked_copy_gives_the_same(root):
    before = load_her2st(root, "A2")[1]
    with zipfile.ZipFile(root / "res/ST-deconv/props/major.zip") as archive:
        archive.extractall(root / "res/ST-deconv/props")
    (root / "res/ST-deconv/props/major.zip").unlink()
    for path in [root / "data/ST-cnts/A2.tsv.gz", *(root / "res/ST-cluster/lbl").glob("*.gz")]:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    after = load_her2st(root, "A2")[1]
    pd.testing.assert_frame_equal(after.obs, before.obs)
    np.testing.assert_array_equal(after.X.toarray(), before.X.toarray())


def test_chosen_sections_keep_their_order(root):
    images, _ = load_her2st(root, ["B1", "A1"])
    assert list(dict.fromkeys(images.section.tolist())) == ["B1", "A1"]


def test_sections_refused(root):
    with pytest.raises(ValueError, match="no section 'Z9'; there are A1, A2, B1"):
        load_her2st(root, ["A1", "Z9"])
    with pytest.raises(ValueError, match="each section once"):
        load_her2st(root, ["A1", "A1"])
    with pytest.raises(ValueError, match="each section once"):
        load_her2st(root, [])
    with pytest.raises(ValueError, match="'224px' or '155um'"):
        load_her2st(root, patch_size=224)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("data/ST-spotfiles/A1_selection.tsv", "no A1_selection.tsv.*root must hold"),
        ("data/ST-imgs/A/A1/BT_0 any name.jpg", "no image in.*root must hold"),
    ],
)
def test_missing_files(root, missing, message):
    (root / missing).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load_her2st(root, "A1")


def test_a_wrong_root(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no count tables.*almaan/her2st"):
            load_her2st(root)


def test_broken_tables(root):
    spots = root / "data/ST-spotfiles/A1_selection.tsv"
    table = pd.read_csv(spots, sep="\t")

    def check(message):
        with pytest.raises(ValueError, match=message):
            load_her2st(root, "A1")

    write(table.drop(columns="pixel_y"), spots, index=False)
    check("lacks the column 'pixel_y'")
    write(table.assign(x=table["x"] + 50), spots, index=False)
    check("Section 'A1' is empty")
    write(table.assign(pixel_x=table["pixel_x"] + 300), spots, index=False)
    check("section 'A1' have their centre outside the image")
    write(table, spots, index=False)
    Image.new("RGB", (4, 4)).save(root / "data/ST-imgs/A/A1/second.png")
    check("holds 2 images, 'BT_0 any name.jpg', 'second.png'")
    (root / "data/ST-imgs/A/A1/second.png").unlink()
    counts = root / "data/ST-cnts/A1.tsv.gz"
    raw = pd.read_csv(counts, sep="\t", index_col=0)
    write(raw.astype(object).where(raw != raw.iloc[0, 0], "many"), counts)
    check("counts of section 'A1' are not all numbers")
    write(raw.rename({"2x3": "spot_1"}), counts)
    check("rows 'spot_1'; spots are named by their array position")


def test_spots_named_twice_are_taken_once(root):
    spots = root / "data/ST-spotfiles/A1_selection.tsv"
    table = pd.read_csv(spots, sep="\t")
    write(pd.concat([table, table[:2]]), spots, index=False)
    _, adata = load_her2st(root, "A1")
    assert len(adata) == 16 and adata.obs_names.is_unique


def test_real_sections(shared):
    images, adata = load_her2st(shared / "data" / "her2st", ["B4", "C2"])
    assert adata.obs["section"].value_counts().to_dict() == {"B4": 283, "C2": 187}
    np.testing.assert_allclose(images.mpp, 0.6885, atol=5e-4)  # field.md: B to H about 0.69
    assert set(images.section_images) == {"B4", "C2"}
    assert adata.obs["cell_type"].notna().all() and adata.obs["domain"].isna().sum() > 0
    panel = (shared / "data" / "panels" / "her2st_785.txt").read_text().split()
    assert (np.asarray(adata[:, panel].X.sum(axis=1)) == 0).sum() == 2  # one spot in each
    patch = images[0]
    assert patch.shape == (224, 224, 3) and 20 < patch.std() < 100  # tissue, not paper

    # Where a spot caught many counts the tissue is dark: x and y are not swapped.
    depth = np.log1p(np.asarray(adata.X.sum(axis=1)).ravel())
    view = images[images.section == "B4"]
    darkness = -np.asarray(view).mean(axis=(1, 2, 3))
    assert np.corrcoef(darkness, depth[: len(view)])[0, 1] > 0.6
