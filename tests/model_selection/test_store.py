"""Finished fits that were damaged on the disk."""

import anndata
import numpy as np
import pandas as pd
import pytest

from histoexpr.exceptions import HistoexprError
from histoexpr.model_selection._store import Store


@pytest.mark.parametrize("text", ["", "[]", '{"scores": 3}', "{}", "[" * 10_000, "\xff"])
def test_damaged_files_say_what_to_do(tmp_path, text):
    store = Store(tmp_path)
    entry = {"scores": pd.DataFrame({"a": [1.0]}), "seconds": 2.0, "predictions": None}
    store.write("k", entry)
    assert store.read("k", with_predictions=False)["seconds"] == 2.0
    (tmp_path / "fits/k.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="k.json.* damaged: remove it|is not a JSON") as caught:
        store.read("k", with_predictions=False)
    assert isinstance(caught.value, HistoexprError)
    store.write("k", entry | {"predictions": anndata.AnnData(np.ones((2, 2)))})
    (tmp_path / "predictions/k.h5ad").write_text(text, encoding="latin-1")
    store.features("k", lambda: np.ones((2, 2)))
    (tmp_path / "features/k.npy").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="k.h5ad.* damaged: remove it"):
        store.read("k", with_predictions=True)
    with pytest.raises(ValueError, match="k.npy.* damaged: remove it"):
        store.features("k", lambda: np.ones((2, 2)))


def test_a_changed_number_is_not_taken(tmp_path):
    store = Store(tmp_path)
    entry = {"scores": pd.DataFrame({"pearson": [0.25]}), "seconds": 2.0, "predictions": None}
    store.write("k", entry)
    store.features("k", lambda: np.arange(12.0).reshape(4, 3))
    fit, features = tmp_path / "fits/k.json", tmp_path / "features/k.npy"
    fit.write_text(fit.read_text().replace("0.25", "0.75"))
    with pytest.raises(ValueError, match="k.json.* damaged: remove it"):
        store.read("k", with_predictions=False)
    content = bytearray(features.read_bytes())
    content[-40] ^= 1
    features.write_bytes(content)
    with pytest.raises(ValueError, match="k.npy.* damaged: remove it"):
        store.features("k", lambda: np.ones((2, 2)))
