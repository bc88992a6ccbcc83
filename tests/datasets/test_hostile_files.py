"""Tables and counts that were damaged, or made to harm."""

import gzip
import json
import zipfile

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from drawn import CROP_PX, write_cscc, write_hest, write_visium

from histoexpr.datasets import from_anndata, load_cscc, load_hest, load_visium, load_visium_hd
from histoexpr.datasets._her2st import _cell_types
from histoexpr.exceptions import HistoexprError

CUT = {"patch_size": "40um", "out_px": CROP_PX, "patient": "P"}
LIMIT = "HISTOEXPR_MAX_DECODED_GB"


@pytest.fixture(autouse=True)
def no_file_is_trusted(monkeypatch):
    monkeypatch.delenv("HISTOEXPR_TRUST_FILES")


@pytest.fixture
def h5ad(tmp_path, drawn):
    adata = drawn.adata()
    adata.X = scipy.sparse.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "s.h5ad")
    return tmp_path / "s.h5ad"


def refused(match, read, *args, **kwargs):
    with pytest.raises(ValueError, match=match) as caught:
        read(*args, **kwargs)
    assert isinstance(caught.value, HistoexprError)


# more than fits --------------------------------------------------------------------------------


def test_an_hdf5_file_that_says_it_holds_terabytes(outs, h5ad, drawn):
    path = outs / "filtered_feature_bc_matrix.h5"
    with h5py.File(path, "r+") as file:
        del file["matrix/data"]
        file["matrix"].create_dataset("data", (2**40,), "f4", chunks=True)
    assert path.stat().st_size < 10**5
    refused(LIMIT, load_visium, outs, drawn.image, **CUT)
    with h5py.File(h5ad, "r+") as file:
        file["obsm"].create_dataset("X_pca", (2**36, 8), "f4", chunks=True)
    refused(LIMIT, from_anndata, h5ad, drawn.image, **CUT)


def test_tables_that_unfold(tmp_path, drawn, monkeypatch):
    monkeypatch.setenv(LIMIT, str(2**23 / 2**30))
    write_cscc(tmp_path, drawn)
    path = next(tmp_path.glob("*_stdata.tsv"))
    path.with_suffix(".tsv.gz").write_bytes(gzip.compress(b"\tA\n" + b"1x1\t0\n" * 2**18))
    path.unlink()
    refused(LIMIT, load_cscc, tmp_path)
    props = tmp_path / "res/ST-deconv/props"
    props.mkdir(parents=True)
    with zipfile.ZipFile(props / "major.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A1-proportion.tsv", b"\tA\n" + b"1x1\t0\n" * 2**18)
    refused(LIMIT, _cell_types, tmp_path, "A1")


def test_a_matrix_that_says_it_is_huge(tmp_path, drawn):
    outs = write_visium(tmp_path, drawn, matrix="mtx")
    text = b"%%MatrixMarket matrix coordinate integer general\n6 99999999999999 1\n1 1 1\n"
    (outs / "filtered_feature_bc_matrix/matrix.mtx.gz").write_bytes(gzip.compress(text))
    refused(LIMIT, load_visium, outs, drawn.image, **CUT)


def test_a_parquet_of_equal_rows(tmp_path, drawn, monkeypatch):
    outs = write_visium(tmp_path, drawn, version="hd")
    path = outs / "spatial/tissue_positions.parquet"
    table = pd.concat([drawn.spots.iloc[:1]] * 40_000)
    table.to_parquet(path, index=False)
    monkeypatch.setenv(LIMIT, str(2**20 / 2**30))
    assert path.stat().st_size < 10**5
    refused(LIMIT, load_visium, outs, drawn.image, **CUT)


# damaged ---------------------------------------------------------------------------------------


def test_indices_beyond_the_matrix(outs, h5ad, drawn):
    """Compiled code would write there, and did: the process ended."""
    with h5py.File(outs / "filtered_feature_bc_matrix.h5", "r+") as file:
        file["matrix/indices"][3] = 2**40
    refused("a sparse matrix in it is damaged", load_visium, outs, drawn.image, **CUT)
    with h5py.File(h5ad, "r+") as file:
        file["X/indices"][3] = 2**20
    refused("a sparse matrix in it is damaged", from_anndata, h5ad, drawn.image, **CUT)


def test_a_heap_of_zeros(h5ad, drawn):
    """As of a download that left out a block: HDF5 would read it for ever."""
    content = bytearray(h5ad.read_bytes())
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 400] = bytes(384)
    h5ad.write_bytes(content)
    refused("a part of it was never written", from_anndata, h5ad, drawn.image, **CUT)


def test_data_in_other_files(tmp_path, h5ad, drawn):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(8 * len(drawn.counts)))
    with h5py.File(h5ad, "r+") as file:
        shape = (len(drawn.counts),)
        file["obs"].create_dataset("x", shape, "f8", external=[(str(secret), 0, 2**20)])
    refused("from another (file|place)", from_anndata, h5ad, drawn.image, **CUT)
    with h5py.File(h5ad, "r+") as file:
        del file["obs/x"]
        file["obs/x"] = h5py.ExternalLink(str(secret), "/")
    refused("from another (file|place)", from_anndata, h5ad, drawn.image, **CUT)


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_counts_that_are_none(tmp_path, h5ad, drawn, bad):
    adata = anndata.read_h5ad(h5ad)
    adata.X.data[2] = bad
    refused("must be raw counts, finite and at least 0", from_anndata, adata, drawn.image, **CUT)
    counts, _ = write_cscc(tmp_path / "c", drawn)
    path = next((tmp_path / "c").glob("*_stdata.tsv"))
    counts.astype(float).replace(3.0, bad).to_csv(path, sep="\t")
    refused("must be raw counts", load_cscc, tmp_path / "c", patch_size="80um", out_px=16)


@pytest.mark.parametrize("value", [[], "x", True, -1, 10**400, float("nan"), {}])
def test_scale_factors_of_other_kinds(outs, drawn, value):
    path = outs / "spatial/scalefactors_json.json"
    factors = json.loads(path.read_text())
    path.write_text(json.dumps({**factors, "tissue_hires_scalef": value}))
    refused("tissue_hires_scalef", load_visium, outs, **CUT)
    for text in ("[]", "[" * 10_000, "{", "", "3", "\xff"):
        path.write_text(text, encoding="latin-1")
        refused("is not a JSON object", load_visium, outs, **CUT)


@pytest.mark.parametrize("value", ["inf", "-inf", "1e400", "x", "-3", "0.5", "1e18"])
def test_grid_positions_of_other_kinds(outs, drawn, value):
    path = outs / "spatial/tissue_positions.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[3, "array_row"] = value
    table.to_csv(path, index=False)
    refused("rows|positions", load_visium, outs, drawn.image, **CUT)


@pytest.mark.parametrize("metadata", [{"patient": [1, 2]}, {"patient": {}}, {"patient": None}])
def test_metadata_of_other_kinds(tmp_path, drawn, metadata):
    write_hest(tmp_path, drawn, pixel_size_um_estimated=[], **metadata)
    with pytest.warns(UserWarning, match="has no patient"):
        _, adata = load_hest(tmp_path, patch_size="40um", out_px=CROP_PX)
    assert set(adata.obs["patient"]) == {"S1"}


def test_a_folder_of_hd_without_its_pixel_size(tmp_path, drawn):
    outs = write_visium(tmp_path, drawn, version="hd")
    with pytest.raises(OSError, match="binned_outputs"):
        load_visium_hd(outs)
