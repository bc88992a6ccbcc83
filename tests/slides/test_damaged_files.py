"""What a run left behind, damaged: said in words, or done again."""

import anndata
import numpy as np
import pytest

from histoexpr.exceptions import HistoexprError
from histoexpr.slides import write_gene_maps
from histoexpr.slides._blocks import Blocks


def test_a_damaged_block_says_what_to_do(tmp_path):
    rows = [np.arange(3), np.arange(3, 5)]
    blocks = Blocks(rows, tmp_path / "b", "key")
    for number, mine in enumerate(rows):
        blocks.put(number, np.ones((len(mine), 2), np.float32))
    path = tmp_path / "b" / "000001.npy"
    path.write_bytes(path.read_bytes()[:90])
    blocks = Blocks(rows, tmp_path / "b", "key")
    with pytest.raises(ValueError, match="remove it, and it is predicted again") as caught:
        blocks.read(0, 5)
    assert isinstance(caught.value, HistoexprError)
    assert blocks.missing() == [1]  # and it is, in a run that goes on
    path = tmp_path / "b" / "000000.npy"
    content = path.read_bytes()
    for place in (8, 21, 63, 130, len(content) - 1):  # length of the head, type, shape, numbers
        path.write_bytes(content[:place] + bytes([content[place] ^ 2]) + content[place + 1 :])
        with pytest.raises(ValueError, match="remove it, and it is predicted again"):
            Blocks(rows, tmp_path / "b", "key").read(0, 3)
    (tmp_path / "b" / "key.txt").write_bytes(b"\xff\xfe")  # no text: another prediction's
    assert Blocks(rows, tmp_path / "b", "key").missing() == [0, 1]


def test_predictions_that_are_none(tmp_path):
    adata = anndata.AnnData(np.ones((2, 1), np.float32))
    adata.var_names = ["A"]
    adata.uns["spatial"], adata.uns["histoexpr"] = {"S": {}}, {"units": "counts"}
    adata.write_h5ad(tmp_path / "p.h5ad")
    (tmp_path / "text.h5ad").write_text("no HDF5")
    for kind, path in (("png", "p.h5ad"), ("ome.tiff", "p.h5ad"), ("png", "text.h5ad")):
        with pytest.raises(ValueError, match="must be what predict_slide gave"):
            write_gene_maps(tmp_path / path, tmp_path / "maps", kind=kind)
    with pytest.raises(FileNotFoundError):
        write_gene_maps(tmp_path / "none.h5ad", tmp_path / "maps")
    assert not (tmp_path / "maps").exists() or not list((tmp_path / "maps").iterdir())
