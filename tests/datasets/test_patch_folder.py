"""load_patches: files of patches, and a table that names them."""

import anndata
import numpy as np
import pandas as pd
import pytest
from drawn import MPP
from PIL import Image

from histoexpr.datasets import load_patches


@pytest.fixture
def folder(tmp_path, drawn):
    """Patches of 8 spots, of two sections."""
    table = drawn.under_tissue[["array_row", "array_col"]][:8].reset_index(names="barcode")
    table["x"], table["y"] = drawn.spatial[:8].T
    table["section"] = ["S1"] * 5 + ["S2"] * 3
    table["patient"] = ["A"] * 5 + ["B"] * 3
    table["file"] = table["section"] + "/" + table["barcode"] + ".png"
    for name, patch in zip(table["file"], drawn.patches()):
        path = tmp_path / "patches" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch).save(path)
    table.to_csv(tmp_path / "patches.csv", index=False)
    drawn.counts[:8].to_csv(tmp_path / "counts.csv")
    return tmp_path / "patches"


def table_of(folder):
    return pd.read_csv(folder.parent / "patches.csv", dtype={"barcode": str})


def test_files_and_counts_are_joined_on_the_barcode(folder, drawn):
    table = table_of(folder).sample(frac=1, random_state=0)
    counts = drawn.counts[:8]
    images, adata = load_patches(folder, table, counts, MPP)
    spots = [name.split("_", 1)[1] for name in adata.obs_names]
    np.testing.assert_array_equal(adata.X.toarray(), counts.loc[spots])
    rows = counts.index.get_indexer(spots)
    np.testing.assert_array_equal(np.asarray(images), drawn.patches()[rows])
    np.testing.assert_array_equal(images.spatial, drawn.spatial[rows])
    assert list(adata.obs.columns) == ["section", "patient", "array_row", "array_col"]
    assert set(zip(images.section, images.patient)) == {("S1", "A"), ("S2", "B")}
    np.testing.assert_array_equal(images.patch_mpp, MPP)


def test_every_kind_of_table(folder, drawn):
    paths = folder.parent
    table = table_of(folder)
    first = load_patches(folder, table, drawn.counts[:8], MPP)
    adata = anndata.AnnData(drawn.counts[:8].astype(np.float32))
    adata.write_h5ad(paths / "counts.h5ad")
    table.assign(mpp=MPP).to_csv(paths / "patches.tsv", sep="\t", index=False)
    for counts in (adata, paths / "counts.h5ad", paths / "counts.csv"):
        images, found = load_patches(folder, paths / "patches.tsv", counts)
        np.testing.assert_array_equal(np.asarray(images), np.asarray(first[0]))
        np.testing.assert_array_equal(found.X.toarray(), first[1].X.toarray())


def test_little_is_needed_to_predict(folder):
    table = table_of(folder)[["file", "x", "y"]]
    with pytest.warns(UserWarning, match="'patches' has no patient"):
        images, adata = load_patches(folder, table, mpp=MPP)
    assert adata.shape == (8, 0) and set(images.section) == {"patches"}
    assert adata.obs_names[0] == f"patches_{table['file'][0].split('/')[1][:-4]}"
    images, _ = load_patches(folder, table, mpp=MPP, section="S", patient="P", patch_size="40um")
    assert set(images.section) == {"S"} and set(images.patient) == {"P"}


def test_refused(folder, drawn):
    table, counts = table_of(folder), drawn.counts[:8]

    def check(error, message, table=table, counts=counts, mpp=MPP, **kwargs):
        with pytest.raises(error, match=message):
            load_patches(folder, table, counts, mpp, **kwargs)

    check(ValueError, "how many micrometres a pixel.*pass mpp=", mpp=None)
    check(ValueError, "lacks the column 'x'", table=table.drop(columns="x"))
    check(ValueError, "has no rows", table=table[:0])
    check(ValueError, "no barcode of the counts", counts=counts.add_prefix("q", axis=0))
    check(ValueError, "show 40 um, not '112um'", patch_size="112um")
    check(TypeError, "patient= must be one value.*a column patient", patient=list("aaaabbbb"))
    missing = table[:5].replace(table["file"][0], "q")
    check(FileNotFoundError, "1 of 5 patches are not in", table=missing)
    check(ValueError, "'S2' has several patients", table=table.assign(patient=list("aaaaabcb")))
    with pytest.raises(FileNotFoundError, match="no folder of patches"):
        load_patches(folder / "none", table)
    with pytest.raises(FileNotFoundError, match="no table of patches"):
        load_patches(folder, folder / "none.csv")
    Image.new("RGB", (9, 9)).save(folder / table["file"][1])
    check(ValueError, "is 9 x 9 px, but others are 16 x 16")
    (folder / table["file"][2]).write_bytes(b"no image")
    check(ValueError, "is not an image", table=table.iloc[2:5])
