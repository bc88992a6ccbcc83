"""Killed at any moment, nothing is lost: no half file, and trainings end as if nothing was."""

import ast
import contextlib
import os
import shutil
import time
from pathlib import Path

import joblib
import numpy as np
import pytest

import histoexpr
import killing
import runs
import writers
from histoexpr.slides._blocks import Blocks

SEED = 0
ASIDE = f".{'[0-9a-f]' * 32}.*"  # what a killed writer leaves
PACKAGE = Path(histoexpr.__file__).parent


def kill_training(function, seconds, n_kills, rng, folder, *args):
    """Kill and resume a training until it was killed so often; then let it end.

    ``function(begin, *args, checkpoints, out)``; one that ended too early starts over.
    """
    checkpoints, out = folder / "checkpoints", folder / "resumed"
    killed = 0
    while killed < n_kills:
        if killing.kill_within(seconds, rng, function, *args, checkpoints, out):
            killed += 1
        else:
            shutil.rmtree(checkpoints)
    killing.finish(function, *args, checkpoints, out)
    assert len(list(checkpoints.glob("[!.]*.pt"))) == 1
    return out


def kill_writer(name, n_kills, rng, folder):
    """Kill a writer so often, reading before and after."""
    writer = writers.WRITERS[name]
    writer.write(folder, 0)
    for _ in range(n_kills):
        with killing.begun(writers.write_forever, name, folder) as process:
            process.join(rng.uniform(0, 3 * writer.seconds))
            _read(name, folder)
            assert process.exitcode is None, "the writer failed"
            process.kill()
            process.join()
        _read(name, folder)
    hour_ago = time.time() - 3601
    for path in folder.rglob(ASIDE):
        os.utime(path, (hour_ago, hour_ago))
    for version in (0, 1):
        writer.write(folder, version)
        assert writer.read(folder) == (0 if name == "gene map as PNG" else version)
    assert not list(folder.rglob(ASIDE)) and not list(folder.rglob(".*blocks"))


# Between two names of a folder there is none; features of a key are removed to be written again.
GAPS = ("slide as zarr", "features of a benchmark")


def _read(name, folder):
    with contextlib.suppress(FileNotFoundError) if name in GAPS else contextlib.nullcontext():
        writers.WRITERS[name].read(folder)


# trainings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", runs.SETTINGS)
def test_a_killed_training_ends_with_the_same_weights(kind, tmp_path):
    rng = np.random.default_rng(SEED)
    seconds = killing.finish(runs.train, kind, None, tmp_path / "whole")
    out = kill_training(runs.train, seconds / 2, 4, rng, tmp_path, kind)
    (weights, *rest), (found, *rest_found) = map(joblib.load, (tmp_path / "whole", out))
    assert rest_found == rest
    for name, values in weights.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_killed_training_of_a_backbone_ends_with_the_same_predictions(tmp_path):
    rng = np.random.default_rng(SEED)
    whole = tmp_path / "whole.npy"
    seconds = killing.finish(runs.fit_with_backbone, None, whole)
    resumed = tmp_path / "resumed"
    kill_training(runs.fit_with_backbone, seconds, 2, rng, tmp_path)
    np.testing.assert_array_equal(np.load(f"{resumed}.npy"), np.load(whole))


# files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", writers.WRITERS)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(name, tmp_path):
    n_kills = 12 if writers.WRITERS[name].seconds < 0.1 else 4  # 100 in all
    kill_writer(name, n_kills, np.random.default_rng(SEED), tmp_path)


WRITES = {"write_text", "write_bytes", "to_csv", "to_parquet", "to_json", "savefig", "write_h5ad",
          "write_zarr", "imwrite", "np.save", "torch.save", "joblib.dump", "json.dump",
          "save_file"}  # fmt: skip
# Into memory; into a folder that is moved as a whole; to the kernel.
ELSEWHERE = {
    "report/_svg.py", "slides/_write.py", "utils/_h5ad.py", "model_selection/_fit.py:PeakMemory"
}  # fmt: skip


def writing(tree):
    """(line, names of the classes around) of calls that write files, outside `written_aside`."""

    def visit(node, classes):
        if isinstance(node, ast.With) and "written_aside" in ast.dump(node.items[0]):
            return
        if isinstance(node, ast.ClassDef):
            classes = (*classes, node.name)
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            modes = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant)]
            opened = name.endswith(("open", "ZipFile")) and set(map(str, modes)) & {"w", "wb", "a"}
            if name in WRITES or name.rpartition(".")[2] in WRITES or opened:
                yield node.lineno, classes
        for child in ast.iter_child_nodes(node):
            yield from visit(child, classes)

    yield from visit(tree, ())


def test_every_file_is_written_aside():
    found = []
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        for line, classes in writing(ast.parse(path.read_text())):
            if not {name, *(f"{name}:{c}" for c in classes)} & ELSEWHERE:
                found.append(f"{name}:{line}")
    assert not found, "use histoexpr.utils.written_aside"


class Stop(BaseException):
    """Stands for a kill at a place of our choice."""


def stop(*args):
    raise Stop


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_killed_after_the_last_block_a_slide_leaves_no_blocks(suffix, tmp_path, monkeypatch):
    name = f"slide as {suffix[1:]}"
    with monkeypatch.context() as patch:
        patch.setattr(Blocks, "remove", stop)
        with pytest.raises(Stop):
            writers.WRITERS[name].write(tmp_path, 0)
    assert list(tmp_path.glob(".*blocks")) and writers.WRITERS[name].read(tmp_path) == 0
    writers.WRITERS[name].write(tmp_path, 0)
    assert not list(tmp_path.glob(".*"))
