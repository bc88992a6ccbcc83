"""The examples that run in seconds, and the parts of the long ones that can fail quietly."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def examples_importable(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def test_new_method_runs(tmp_path, capsys):
    import plot_new_method

    picture = tmp_path / "genes.png"
    scores = plot_new_method.main(["--out", str(picture), "--patients", "3", "--grid", "9"])
    printed = capsys.readouterr().out
    assert "passed" in printed and "failed" not in printed
    assert list(scores.index) == ["AngleST", "STco"]
    assert (scores > 0.2).all().all()
    assert picture.stat().st_size > 10_000


def test_new_method_has_40_lines():
    tree = ast.parse((EXAMPLES / "plot_new_method.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 2
    lines = set()
    for node in classes:
        docstring = node.body.pop(0)
        assert isinstance(docstring.value, ast.Constant)
        covered = [range(part.lineno, part.end_lineno + 1) for part in node.body]
        lines |= {node.lineno, *(number for part in covered for number in part)}
    source = (EXAMPLES / "plot_new_method.py").read_text().splitlines()
    code = [number for number in lines if source[number - 1].strip()]
    assert len(code) <= 40


@pytest.fixture
def small(cohort):
    """Features with places, counts, and methods that fit in a moment."""
    from her2st_methods import methods

    from histoexpr import SpotFeatures, Trainer

    images, adata = cohort
    features = SpotFeatures.of(images, np.asarray(images).mean(axis=(1, 2)))
    models = methods(list(adata.var_names), "quick")
    models["Reg2ST"].set_params(hidden_dim=16, n_layers=1)
    models = {name: models[name] for name in ("STco", "Reg2ST", "mean")}
    for name in ("STco", "Reg2ST"):
        models[name].set_params(trainer=Trainer(max_epochs=1))
    return features, adata, models


def test_methods_resume(small, tmp_path, monkeypatch):
    import her2st_common
    import her2st_methods

    features, adata, models = small
    fits = her2st_methods.Fits(tmp_path / "fits.jsonl")
    started = []
    fit = her2st_common.fit

    def stopped_at_the_fourth(model, *args):
        if len(started) == 3:
            raise KeyboardInterrupt
        started.append(model)
        return fit(model, *args)

    monkeypatch.setattr(her2st_common, "fit", stopped_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        her2st_methods.run(models, features, adata, "data", fits, tmp_path / "checkpoints")
    assert len(fits.read()) == 3

    started.clear()
    monkeypatch.setattr(her2st_common, "fit", lambda *a: started.append(a[0]) or fit(*a))
    results = her2st_methods.run(models, features, adata, "data", fits, tmp_path / "checkpoints")
    # three patients of one section each: both protocols have the same three folds
    assert len(started) == 3 * len(models) - 3
    assert not (tmp_path / "checkpoints").exists()
    entries = [json.loads(line) for line in fits.path.read_text().splitlines()]
    assert len(entries) == 3 * len(models)
    assert entries[0]["seed"] == 0 and entries[0]["test"] == ["A1"]
    rows = ["STco", "Reg2ST, decoder", "Reg2ST, retrieval", "mean"]
    assert list(results["method"].unique()) == rows
    assert len(results) == 2 * 3 * len(rows)

    started.clear()
    again = her2st_methods.run(models, features, adata, "data", fits)
    assert not started
    assert again.equals(results)


@pytest.mark.parametrize("projection_dim, data", [(8, "data"), (256, "other data")])
def test_methods_fit_again_what_has_changed(projection_dim, data, small, tmp_path):
    import her2st_methods

    features, adata, models = small
    models = {"STco": models["STco"]}
    fits = her2st_methods.Fits(tmp_path / "fits.jsonl")
    her2st_methods.run(models, features, adata, "data", fits)
    models["STco"].set_params(projection_dim=projection_dim)
    her2st_methods.run(models, features, adata, data, fits)
    assert len(fits.read()) == 6


def test_table_names_what_quick_makes_smaller(small, capsys, tmp_path):
    import her2st_methods
    from her2st_common import print_tables

    features, adata, models = small
    fits = her2st_methods.Fits(tmp_path / "fits.jsonl")
    results = her2st_methods.run(models, features, adata, "data", fits)
    print_tables(results, None, her2st_methods.describe("quick"))
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("Reg2ST, ")]
    assert len(lines) == 4
    for line in lines:
        assert "hidden_dim 256 (1024), n_layers 2 (6), max_epochs 100 (400)" in line
    assert printed.count("leave one patient out") == printed.count("leave one section out") == 1
    assert "seed 0" in printed and "s/fit" in printed
    assert "(1024)" not in "".join(her2st_methods.describe("paper").values())
