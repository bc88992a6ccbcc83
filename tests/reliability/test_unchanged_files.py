"""No reader, writer or command changes what is not its own, the files that it reads included."""

import ast
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import small_models
from click.testing import CliRunner
from world import state, unchanged_world

import histoexpr
from histoexpr import datasets
from histoexpr.cli import main

HERE = Path(__file__).parent
for folder in ("datasets", "fuzz"):
    sys.path.append(str(HERE.parent / folder))
import formats  # noqa: E402

# The others are read in test_unchanged.py.
KINDS = [formats.VisiumHD, formats.Her2st, formats.Patches, formats.Sheet, formats.Zarr]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore")
def test_reading_sections(kind, tmp_path):
    if kind is formats.Zarr:
        pytest.importorskip("spatialdata", reason="reading SpatialData needs the extra spatialdata")
    folder = tmp_path / "files"
    folder.mkdir()
    kind().write(folder)
    before = contents(folder)
    with unchanged_world():
        images, adata = kind().read(folder)
        np.asarray(images)
        histoexpr.data.clear_image_cache()
    for path in folder.rglob("*"):
        if path.suffix in (".csv", ".tsv", ".h5", ".h5ad", ".json", ".parquet", ".gz"):
            path.write_bytes(path.read_bytes()[:7])
    with unchanged_world(), pytest.raises((ValueError, OSError)):
        kind().read(folder)
    for path, content in before.items():
        assert content.startswith(path.read_bytes())


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """A sheet of two sections, and their genes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("sheet")
    images, adata = datasets.make_spatial_expression(
        2, grid=(5, 5), n_genes=8, mpp=2.0, random_state=0
    )
    lines = ["section,patient,path,image,mpp"]
    for name, image in images.section_images.items():
        Image.fromarray(image.pixels()).save(folder / f"{name}.png")
        adata[(adata.obs["section"] == name).to_numpy()].copy().write_h5ad(folder / f"{name}.h5ad")
        lines.append(f"{name},{name[0]},{name}.h5ad,{name}.png,2.0")
    (folder / "sheet.csv").write_text("\n".join(lines))
    return folder / "sheet.csv"


def invoke(code, *arguments):
    """A command in this process, that ends with this code."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output


def test_commands(sheet, tmp_path, monkeypatch):
    # The report, which takes longest, is written in test_unchanged.py.
    monkeypatch.setattr("histoexpr.cli._benchmark._write_report", lambda *args: None)
    model, slide = tmp_path / "model.histoexpr", sheet.parent / "A1.png"
    usual = ["--featurizer", "texture", "--patch-size", "64um"]
    method = "StInfer-retrieval"
    fit = ["fit", sheet, "--method", method, *usual, "--out", model]
    predict = ["predict", sheet, "--out", tmp_path / "p.h5ad", "--model"]
    on_slide = ["predict-slide", slide, "--mpp", 2.0, "--out", tmp_path / "s.h5ad", "--model"]
    compare = ["benchmark", "--data", sheet, "--methods", method, *usual, "--jobs", 1, "--out"]
    right = [
        fit,
        ["info", model, "--card"],
        [*predict, model],
        [*on_slide, model],
        [*compare, tmp_path / "out"],
        ["doctor", "--no-hub"],
    ]
    wrong = [
        (2, fit),  # there is a model already
        (2, [*predict, model]),
        (1, ["predict", sheet, "--out", tmp_path / "q.h5ad", "--model", slide]),
        (1, ["info", sheet]),
        (2, ["fti"]),
    ]
    before = contents(sheet.parent)
    small_models.timm().fit(np.zeros((2, 32, 32, 3), np.uint8))  # torch and timm set themselves up
    for code, command in [(0, command) for command in right] + wrong:
        with unchanged_world():
            invoke(code, *command)
    assert contents(sheet.parent) == before


# what is held ------------------------------------------------------------------------------------

PACKAGES = ["calibration", "datasets", "methods", "metrics", "plotting", "report", "slides"]
OTHERS = {"benchmark", "bootstrap_intervals", "card", "compare_methods", "rank_groups",
          "rank_methods", "summarize"}  # fmt: skip
# The first by the methods, which inherit from it; the other is an exception.
NOT_CALLED = {"BaseExpressionRegressor", "SlidesFailed"}


def called_in(path):
    """Names of the functions and classes that a file calls, or calls a method of."""
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    parts = [part for call in calls for part in ast.walk(call)]
    return {getattr(part, "attr", getattr(part, "id", None)) for part in parts}


def test_every_entry_is_called():
    """What users call is called here or in test_unchanged.py; docs/reliability.md counts them."""
    files = HERE / "test_unchanged.py", HERE.parent / "small_models.py", Path(formats.__file__)
    called = set().union(*map(called_in, files))
    modules = [importlib.import_module(f"histoexpr.{name}") for name in PACKAGES]
    entries = OTHERS.union(histoexpr._HOME, *(module.__all__ for module in modules)) - NOT_CALLED
    assert not entries - called, "these are not called"
    assert (len(state()), len(entries)) == (25, 70), "change them in docs/reliability.md, too"
