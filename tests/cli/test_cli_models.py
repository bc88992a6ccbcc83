"""fit, info, predict, predict-slide, doctor and demo, as a shell runs them."""

import configparser
import json
import subprocess
import sys
import urllib.error
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import histoexpr
from histoexpr.cli import main
from histoexpr.cli._main import COMMANDS


def run(*arguments):
    """A command in this process; standard output and error apart."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(sheet, tmp_path_factory):
    """A model of two patients, from the shell."""
    path = tmp_path_factory.mktemp("model") / "model.histoexpr"
    done = run(
        "fit", sheet, "--method", "StInfer-retrieval", "--featurizer", "texture", "--genes",
        sheet.parent / "genes.txt", "--patch-size", "64um", "--sections", "A1,B1", "--out", path,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "training patients  A, B" in done.stdout
    return path


def test_help_is_fast_and_complete():
    """Every command has help with an example, and none of it loads torch."""
    names = " ".join(COMMANDS)
    code = (
        "import sys; from click.testing import CliRunner; from histoexpr.cli import main\n"
        f"for name in '{names}'.split():\n"
        "    shown = CliRunner().invoke(main, [name, '--help'])\n"
        "    assert shown.exit_code == 0\n"
        "    assert f'histoexpr {name} ' in shown.output.partition('xample')[2]\n"
        "print(*{'torch', 'sklearn', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert not shown.stdout.split()


def test_commands_that_are_not_there():
    done = run("bencmark")
    assert done.exit_code == 2 and "Did you mean 'benchmark'?" in done.stderr
    assert run("--version").output.strip() == f"histoexpr, version {histoexpr.__version__}"


def test_info(model):
    told = json.loads(run("info", model, "--json").stdout)
    assert told["method"] == "StInfer" and told["genes"][:1] == ["gene_000"]
    assert told["units"] == "log1p of counts per 10,000 over the panel, by spot"
    assert told["training_sections"] == ["A1", "B1"] and told["training_patients"] == ["A", "B"]
    assert told["patch_um"] == 64 and told["mpp"] == pytest.approx(64 / 224, abs=1e-3)
    assert told["versions"]["histoexpr"] == histoexpr.__version__
    assert "gene_000" in run("info", model).stdout


def test_info_shows_the_card(model):
    shown = run("info", model, "--card")
    assert shown.exit_code == 0 and shown.output == histoexpr.load(model).card()
    assert "- Patients: 2: A, B" in shown.output


def test_joblib_is_read_by_consent(model, tmp_path):
    path = tmp_path / "model.joblib"
    histoexpr.save(histoexpr.load(model), path)
    refused = run("info", path)
    assert refused.exit_code == 1 and "--allow-pickle" in refused.stderr
    told = json.loads(run("info", path, "--json", "--allow-pickle").stdout)
    assert told["method"] == "StInfer" and " fit " in told["fitted_by"]


def test_predict_is_that_of_the_library(model, sheet, tmp_path):
    out = tmp_path / "predicted.h5ad"
    done = run("predict", sheet, "--model", model, "--sections", "C1", "--out", out)
    assert done.exit_code == 0, done.stderr
    predicted = anndata.read_h5ad(out)
    images, adata = histoexpr.datasets.load_sheet(sheet, patch_size="64um")
    rows = (adata.obs["section"] == "C1").to_numpy()
    expected = histoexpr.load(model).predict(images[rows])
    assert np.allclose(predicted.X, expected)
    assert list(predicted.obs_names) == list(adata.obs_names[rows])
    assert np.allclose(predicted.obsm["spatial"], adata.obsm["spatial"][rows])
    again = run("predict", sheet, "--model", model, "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.stderr


def test_predict_slide_is_that_of_the_library(model, sheet, tmp_path):
    from histoexpr.slides import predict_slide

    slide = sheet.parent / "C1.png"
    options = ["--model", model, "--mpp", 2.0, "--grid", "square", "--pitch", "100um"]
    done = run("predict-slide", slide, *options, "--out", tmp_path / "one.h5ad", "--json")
    assert done.exit_code == 0, done.stderr
    written = anndata.read_h5ad(json.loads(done.stdout)[str(slide)])
    expected = predict_slide(histoexpr.load(model), slide, mpp=2.0, grid="square", pitch="100um")
    assert np.allclose(written.X, expected.X) and "spatial" in written.uns

    done = run("predict-slide", tmp_path / "no.png", slide, *options, "--out", tmp_path / "all")
    assert done.exit_code == 1 and "1 of 2 slides were not predicted" in done.stderr
    assert "no slide at" in done.stderr and "C1.h5ad" in done.stdout
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["C1.h5ad"]

    options += ["--maps", "gene_001,gene_000"]
    done = run("predict-slide", slide, *options, "--out", tmp_path / "all", "--genes", "gene_000")
    assert done.exit_code == 2 and "gene_001 will not be predicted" in done.stderr
    done = run("predict-slide", slide, *options, "--out", tmp_path / "all")
    assert done.exit_code == 0, done.stderr
    drawn = {path.name for path in (tmp_path / "all" / "maps").iterdir()}
    assert drawn == {"C1_gene_000.png", "C1_gene_001.png"}

    done = run("predict-slide", slide, slide, *options, "--out", tmp_path / "one.h5ad")
    assert done.exit_code == 2 and "for 2 slides name a folder" in done.stderr


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--method", "StInfer"], 2, "Did you mean 'StInfer-"),
        (["--method", "STco", "--sections", "a1"], 2, "There they are written 'A1'"),
        (["--method", "STco", "--out", __file__], 2, "--overwrite"),
        (["--method", "STco", "--patch-size", "64"], 1, "64"),
    ],
)
def test_fit_refuses(arguments, code, words, sheet, tmp_path):
    out = tmp_path / "model.histoexpr"
    done = run("fit", sheet, "--featurizer", "texture", "--out", out, *arguments)
    assert done.exit_code == code and words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not out.exists()


def test_files_that_are_no_models(sheet):
    done = run("info", sheet)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1


def test_doctor(monkeypatch):
    from histoexpr.cli import _doctor

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(_doctor.urllib.request, "urlopen", refuse)
    monkeypatch.setitem(_doctor.OPTIONAL, "magic", ("no_such_module", "wand"))
    done = run("doctor", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["magic"] == "no: pip install 'histoexpr[wand]'"
    assert told["pictures and reports"].startswith("yes")
    assert "no network" in told["model hub"] and told["device"]
    assert json.loads(run("doctor", "--no-hub", "--json").stdout)["model hub"] == "not tried"
    monkeypatch.setattr(_doctor, "CORE", ("torch", "no-such-package"))
    done = run("doctor", "--no-hub")
    assert done.exit_code == 1 and "not installed: no-such-package" in done.stderr


def test_doctor_knows_the_extras():
    """Each extra that it names is one of the package's."""
    from histoexpr.cli._doctor import OPTIONAL

    parser = configparser.ConfigParser()
    parser.read(Path(histoexpr.__file__).parents[1] / "setup.cfg")
    assert {extra for _, extra in OPTIONAL.values()} <= set(parser["options.extras_require"])


def test_demo(tmp_path, monkeypatch):
    from histoexpr.cli import _demo

    monkeypatch.setattr(_demo, "COHORT", {"n_patients": 2, "grid": (5, 5), "n_genes": 12})
    monkeypatch.setattr(_demo, "METHODS", ["StInfer-retrieval"])
    done = run("demo", "--out", tmp_path / "demo")
    assert done.exit_code == 0, done.stderr
    assert "StInfer-retrieval" in done.stdout
    assert set(pd.read_parquet(tmp_path / "demo" / "results.parquet")["section"]) == {"A1", "B1"}
    assert "Demonstration" in (tmp_path / "demo" / "report.html").read_text()


def test_every_method_takes_images():
    """Each method that fit knows gets the featurizer and the seed."""
    from histoexpr import TextureFeaturizer
    from histoexpr.cli._fit import _make_model
    from histoexpr.model_selection import METHOD_NAMES

    featurizer = TextureFeaturizer()
    for name in METHOD_NAMES:
        model = _make_model(name, "quick", featurizer, seed=3)
        assert model.featurizer is featurizer and model.random_state == 3
