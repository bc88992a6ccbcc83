"""The examples that run in seconds, and the parts of the long ones that can fail quietly."""

import ast
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
    scores = plot_new_method.main(["--out", str(picture), "--patients", "3", "--grid", "7"])
    printed = capsys.readouterr().out
    assert "passed" in printed and "failed" not in printed
    assert list(scores.index) == ["AngleST", "STco"]
    assert (scores > 0.2).all().all()
    assert picture.stat().st_size > 10_000


def test_benchmark_runs(tmp_path, capsys):
    import plot_benchmark

    picture = tmp_path / "benchmark.png"
    table = plot_benchmark.main(["--out", str(picture), "--patients", "3", "--grid", "7"])
    assert "p_holm" in capsys.readouterr().out
    means = table["mean"].droplevel("protocol")
    assert (means[["STco", "StInfer", "linear probe"]] > 0.15).all()
    assert abs(means["mean"]) < 0.01 and abs(means["shuffled"]) < 0.1
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


def test_methods_stand_beside_what_papers_report(cohort, tmp_path):
    import her2st_methods

    from histoexpr import SpotFeatures, STco, Trainer
    from histoexpr.model_selection import Method

    images, adata = cohort
    features = SpotFeatures.of(images, np.asarray(images).mean(axis=(1, 2)))
    methods = {"STco": Method(STco(featurizer=None, trainer=Trainer(max_epochs=1)), note="small")}
    genes = list(adata.var_names[:5])
    results, differ, predictions = her2st_methods.compare(
        methods, features, adata, genes, tmp_path, controls=["mean", "kNN"]
    )
    table = her2st_methods.table(results["section-out"], "section-out")
    assert list(table.index[:3]) == ["STco", "mean", "kNN"]
    assert table.index[3] == "Reg2ST as published" and table.loc[table.index[3], "B1"] == 0.2939
    assert (table["s/fit"][:3] > 0).all()
    assert her2st_methods.notes(results["section-out"])[0] == "STco: small"
    assert table["failed"][:3].eq(0).all()
    by_patient = her2st_methods.table(results["patient-out"], "patient-out")
    assert list(by_patient.index) == list(differ.index) == ["STco", "mean", "kNN"]
    for protocol, scores in (("section-out", table), ("patient-out", by_patient)):
        np.testing.assert_allclose(differ[protocol], scores["mean"][:3])
    her2st_methods.draw_maps(predictions, "STco", genes, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "genes_A1.png", "genes_B1.png", "genes_C1.png"
    ]
