"""``histoexpr benchmark`` as a shell runs it: files, exit codes, one-line errors, resuming."""

import json
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

from histoexpr.cli import main
from histoexpr.cli._benchmark import PROTOCOLS, RESULTS


@pytest.fixture
def invoke():
    """Run the command in this process, fits too; standard output and error apart."""

    def run(*arguments):
        return CliRunner().invoke(main, ["benchmark", "--jobs", "1", *map(str, arguments)])

    return run


@pytest.fixture
def no_report(monkeypatch):
    """Leave the report out where it is not looked at: it takes longest."""
    from histoexpr.cli import _benchmark

    monkeypatch.setattr(_benchmark, "_write_report", lambda *args: None)


@pytest.fixture(scope="module")
def usual(sheet):
    """Arguments of a run of seconds."""
    return [
        "--data", sheet, "--methods", "StInfer-retrieval", "--featurizer", "texture",
        "--genes", sheet.parent / "genes.txt", "--patch-size", "64um",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(usual, tmp_path_factory):
    """A folder with results, and what was printed."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    arguments = ["--jobs", "1", *map(str, usual), "--show-genes", "gene_000", "--out", str(out)]
    run = CliRunner().invoke(main, ["benchmark", *arguments])
    assert run.exit_code == 0, run.stderr
    return out, run.stdout


def test_writes_results_summary_and_report(finished):
    out, printed = finished
    results = pd.read_parquet(out / "results.parquet")
    summary = pd.read_csv(out / "summary.csv", index_col=["protocol", "method"])
    assert results.attrs["settings"]["protocol"] == "patient-out"
    assert set(results["gene"]) == {f"gene_{i:03d}" for i in range(20)}
    assert {"StInfer-retrieval", "mean", "kNN"} <= set(results["method"])
    scored = results[results["method"] == "StInfer-retrieval"]
    expected = scored.groupby("section")["pearson"].mean().mean()
    assert summary.loc[("patient-out", "StInfer-retrieval"), "mean"] == pytest.approx(expected)
    assert f"{expected:.3f}" in printed and str(out / "report.html") in printed
    page = (out / "report.html").read_text()
    assert "--methods StInfer-retrieval" in page and "Gene maps" in page
    assert "What predictions are made of" in page and "Counting-noise ceiling" in page


def test_a_second_run_reads_back(finished, usual, invoke, no_report):
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "fits").iterdir()}
    results = pd.read_parquet(out / "results.parquet")
    run = invoke(*usual, "--out", out, "--json")
    assert run.exit_code == 0
    summary = json.loads(run.stdout)
    assert summary["protocol"] == "patient-out" and summary["failed_fits"] == 0
    (row,) = [row for row in summary["rows"] if row["method"] == "StInfer-retrieval"]
    assert set(row["sections"]) == {"A1", "B1", "C1"} and not row["control"]
    assert {path: path.stat().st_mtime_ns for path in (out / "fits").iterdir()} == before
    pd.testing.assert_frame_equal(pd.read_parquet(out / "results.parquet"), results)


def test_goes_on_after_a_stop(finished, usual, invoke, no_report, tmp_path):
    """What a killed run leaves: some fits, no results."""
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    for name in RESULTS:
        (out / name).unlink()
    kept = sorted((out / "fits").iterdir())[::2]
    for path in set((out / "fits").iterdir()) - set(kept):
        path.unlink()
    before = [path.stat().st_mtime_ns for path in kept]
    assert invoke(*usual, "--out", out).exit_code == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
    one, two = (pd.read_parquet(folder / "results.parquet") for folder in (out, finished[0]))
    pd.testing.assert_series_equal(one["pearson"], two["pearson"])


def test_other_settings_are_refused_and_lose_nothing(finished, usual, invoke):
    out, _ = finished
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    run = invoke(*usual, "--out", out, "--seed", 1)
    assert run.exit_code == 1
    assert "other settings (seed: 0, now 1)" in run.stderr and "--overwrite" in run.stderr
    assert before == {path: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_overwrite_keeps_the_fits(finished, usual, invoke, no_report, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    fits = set((out / "fits").iterdir())
    run = invoke(*usual, "--out", out, "--protocol", "section-out", "--overwrite")
    assert run.exit_code == 0, run.stderr
    assert set(pd.read_parquet(out / "results.parquet")["protocol"]) == {"section-out"}
    assert fits <= set((out / "fits").iterdir())


def test_a_folder_of_other_things_is_refused(usual, invoke, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    run = invoke(*usual, "--out", tmp_path)
    assert run.exit_code == 1 and "thesis.txt" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    run = invoke(*usual, "--out", tmp_path / "thesis.txt")
    assert run.exit_code == 2 and "is a file" in run.stderr


def test_featurizers():
    from histoexpr.cli._inputs import make_featurizer

    timm = make_featurizer("timm:hf-hub:a/b", "weights.bin", verbose=1)
    assert (timm.model_name, timm.checkpoint_path) == ("hf-hub:a/b", "weights.bin")
    context = make_featurizer("context:resnet18", "weights.bin")
    assert context.featurizer.pooling == "stages"
    assert context.featurizer.checkpoint_path == "weights.bin"


def test_protocols_are_those_of_the_library():
    from histoexpr import model_selection

    assert set(PROTOCOLS) == {*model_selection.PROTOCOLS, "published"}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--methods", "Stcco"], "Did you mean 'STco'"),
        (["--protocol", "train-test"], "both --train and --test"),
        (["--protocol", "patient-out", "--train", "A1", "--test", "B1"], "belong to train-test"),
        (["--folds", "3"], "belongs to patient-k-fold"),
        (["--published"], "for her2st under section-out alone"),
        (["--featurizer", "resnet18"], "write timm:resnet18"),
        (["--featurizer", "context:"], "write context:resnet50"),
        (["--weights", __file__], "texture has no weights"),
        (["--data", "her2st:nowhere"], "no folder 'nowhere'"),
        (["--data", "nowhere.csv"], "is not there"),
        (["--data", __file__], "is no CSV or TSV"),
        (["--show-genes", "GENE_001"], "There they are written 'gene_001'"),
        (["--methods", "STco,STco"], "must name each thing once"),
        (["--preset", "large"], "'large'"),
    ],
)
def test_typed_wrongly(arguments, words, usual, invoke, tmp_path):
    run = invoke(*usual, "--out", tmp_path / "out", *arguments)
    assert run.exit_code == 2
    assert words in run.stderr and "Traceback" not in run.stderr and not run.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "lines, words",
    [
        ("gene_001\nNOPE\n", "1 of 2 genes are not among the 30 of the data: 'NOPE'"),
        ("gene_001\n\n# a comment\ngene_001\n", "names 'gene_001' more than once"),
        ("# nothing\n", "names no gene"),
    ],
)
def test_gene_files(lines, words, usual, invoke, tmp_path):
    genes = tmp_path / "genes.txt"
    genes.write_text(lines)
    run = invoke(*usual, "--out", tmp_path / "out", "--genes", genes)
    assert run.exit_code == 2 and words in " ".join(run.stderr.split())
    assert not (tmp_path / "out").exists()


def test_data_that_a_protocol_does_not_allow(sheet, usual, invoke, tmp_path):
    """No patients, one patient, an unknown section: said in one line, nothing is written."""
    table = pd.read_csv(sheet)
    table["path"] = [str(sheet.parent / path) for path in table["path"]]
    table["image"] = [str(sheet.parent / path) for path in table["image"]]
    one = tmp_path / "one.csv"
    table.assign(patient="A").to_csv(one, index=False)
    cases = [
        (["--data", one], "patient"),
        (["--train", "A1", "--test", "Z9"], "unknown sections of test: 'Z9'"),
        (["--protocol", "patient-k-fold", "--folds", "7"], "n_splits=7"),
    ]
    for arguments, words in cases:
        run = invoke(*usual, "--out", tmp_path / "out", *arguments)
        assert run.exit_code == 1
        (line,) = [line for line in run.stderr.splitlines() if line.startswith("Error: ")]
        assert words in line and not run.stdout
        assert not (tmp_path / "out").exists()


def test_a_method_that_fails_is_told(finished, usual, invoke, tmp_path, monkeypatch):
    """Exit code 1, the others are there, and so is the report."""
    from histoexpr import StInfer

    def fit(self, X, y):
        raise RuntimeError("no luck")

    monkeypatch.setattr(StInfer, "fit", fit)
    shutil.copytree(finished[0] / "features", tmp_path / "out" / "features")
    few = ["--train", "A1,B1", "--test", "C1", "--show-genes", "gene_000"]
    run = invoke(*usual, *few, "--out", tmp_path / "out", "--overwrite", "--json")
    assert run.exit_code == 1
    summary = json.loads(run.stdout)
    rows = {row["method"]: row for row in summary["rows"]}
    assert rows["StInfer-retrieval"]["mean"] is None and rows["StInfer-retrieval"]["failed"] == 1
    assert rows["mean"]["mean"] == 0 and summary["failed_fits"] >= 1
    assert "no luck" in (tmp_path / "out" / "report.html").read_text()


def test_interrupted(usual, invoke, tmp_path, monkeypatch):
    from histoexpr import model_selection

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_selection, "benchmark", stop)
    run = invoke(*usual, "--out", tmp_path / "out")
    assert run.exit_code == 130 and "The same command goes on" in run.stderr


def test_a_bug_shows_its_place_with_debug(usual, invoke, tmp_path, monkeypatch):
    from histoexpr import model_selection

    def fail(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(model_selection, "benchmark", fail)
    run = invoke(*usual, "--out", tmp_path / "out")
    assert run.exit_code == 1 and "Error: RuntimeError: a bug" in run.stderr
    run = invoke(*usual, "--out", tmp_path / "out", "--debug")
    assert run.exit_code == 1 and isinstance(run.exception, RuntimeError)
