"""AnnData on disk, written through memory."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from histoexpr.utils._h5ad import write_h5ad


def contents(path):
    found = {}

    def visit(name, item):
        values = item[()] if isinstance(item, h5py.Dataset) else None
        found[name] = (str(dict(item.attrs)), str(values), getattr(item, "compression", None))

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return found


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "empty"])
def test_the_file_is_that_of_anndata(tmp_path, kind, compression):
    counts = np.arange(6, dtype=np.float32).reshape(3, 2)
    X = {"dense": counts, "sparse": scipy.sparse.csr_matrix(counts), "empty": None}[kind]
    obs = pd.DataFrame({"section": pd.Categorical(["A", "B", "A"])}, index=list("abc"))
    adata = anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=["g", "h"]))
    adata.obsm["spatial"] = counts.astype(float)
    adata.uns["histoexpr"] = {"units": "u", "mpp": 0.5, "versions": {"torch": "2"}}
    write_h5ad(adata, tmp_path / "ours.h5ad", compression)
    adata.write_h5ad(tmp_path / "theirs.h5ad", compression=compression)
    assert contents(tmp_path / "ours.h5ad") == contents(tmp_path / "theirs.h5ad")
    if kind == "dense":
        assert anndata.read_h5ad(tmp_path / "ours.h5ad", backed="r").raw is None
