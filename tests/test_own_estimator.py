"""The example that puts the recommended estimator beside its bar, on files as users have them."""

import functools
import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from histoexpr import ContrastiveEnsemble, LinearProbe
from histoexpr.datasets import make_spatial_expression

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def own_estimator(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import own_estimator

    # One of three networks a fit, few folds and small patches: what is tested is the example.
    ours = functools.partial(ContrastiveEnsemble, n_heads=1, cv=2)
    monkeypatch.setattr(own_estimator, "ContrastiveEnsemble", ours)
    monkeypatch.setattr(own_estimator, "LinearProbe", functools.partial(LinearProbe, cv=2))
    monkeypatch.setitem(own_estimator.PATCH, "out_px", 64)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["own_estimator.py", *map(str, arguments)])
        own_estimator.main()

    return run


@pytest.fixture
def files(tmp_path):
    """Two sections of two patients as h5ad and image, and the weights of a small network."""
    images, adata = make_spatial_expression(
        n_patients=2, grid=(8, 8), mpp=2.0, out_px=32, n_genes=40, random_state=0
    )
    options = ["--backbone", "test_resnet", "--weights", tmp_path / "weights.safetensors"]
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), options[-1])
    for side, (name, image) in zip(("train", "test"), images.section_images.items()):
        section = adata[(adata.obs["section"] == name).to_numpy()].copy()
        section.obs = section.obs[["array_row", "array_col"]].copy()
        section.write_h5ad(tmp_path / f"{side}.h5ad")
        Image.fromarray(image.pixels()).save(tmp_path / f"{side}.png")
        options += [f"--{side}-h5ad", tmp_path / f"{side}.h5ad"]
        options += [f"--{side}-image", tmp_path / f"{side}.png"]
    return options


def test_one_section_from_another(own_estimator, files, tmp_path, capsys):
    with pytest.warns(UserWarning, match="one training group only"):
        own_estimator(*files, "--json", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["ContrastiveEnsemble", "tuned ridge", "kNN"]
    assert [row["ours"] for row in rows] == [True, False, False]
    for row in rows:
        assert row["protocol"] == "train-test" and row["section"] == "test"
        assert row["seconds"] > 0 and not row["patient_in_training"]
        assert row["mean_pcc"] < 1.2 * row["ceiling"]
    assert 0.6 < rows[0]["coverage_90"] <= 1 and rows[1]["coverage_90"] is None
    printed = capsys.readouterr().out
    assert "share of the ceiling" in printed and "as published" not in printed


@pytest.mark.parametrize(
    "wrong", [["--root", "her2st"], ["--train-h5ad", "a.h5ad"], ["--root", "r", "--train", "B4"]]
)
def test_options_that_do_not_belong_together(own_estimator, wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        own_estimator("--weights", "w", *wrong)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "give --root and --genes" in message or "--root needs --genes" in message
