"""What the library keeps for itself, changed at random: never a wrong number out of it.

It is computed again, or refused in words. Model files: test_model_file.py; what a benchmark keeps:
test_readers.py.
"""

import json
import os
import random
import warnings

import click
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import json_values, raw

from histoexpr import Trainer
from histoexpr._types import LossOutput, SpotBatch
from histoexpr.cli._inputs import read_genes
from histoexpr.cli._run_folder import claim
from histoexpr.exceptions import HistoexprError
from histoexpr.featurizers._cache_folder import FolderStore
from histoexpr.slides._blocks import Blocks

FUZZING = bool(float(os.environ.get("HISTOEXPR_FUZZ_SECONDS", 0)))
SEEDS = st.integers(0, 2**63)


def few(n):
    """So many examples in `make test`; in `make fuzz` the time decides."""
    return settings(max_examples=50 if FUZZING else n)


def damage(folder, seed, pattern="*"):
    """Change one to three files of a folder."""
    rng = random.Random(seed)
    paths = [path for path in sorted(folder.rglob(pattern)) if path.is_file()]
    for path in rng.choices(paths, k=rng.choice([1, 1, 3])):
        path.write_bytes(raw(path.read_bytes(), rng))


# features ----------------------------------------------------------------------------------------

NAMES = [bytes([n]) * 16 for n in range(2)]
ROWS = {
    name: {bytes([i]) * 16: np.random.default_rng([i, name[0]]).bytes(24) for i in range(12)}
    for name in NAMES
}


@few(25)
@given(seed=SEEDS)
def test_features(tmp_path, seed):
    for path in tmp_path.glob("*.features"):
        path.unlink()
    store = FolderStore(tmp_path, 10**6)
    store.open()
    for name, rows in ROWS.items():
        for keys in (list(rows)[:5], list(rows)[5:]):
            store.put(name, {key: rows[key] for key in keys})
    readers = [store, FolderStore(tmp_path, 10**6)]  # one knows the blocks from before
    damage(tmp_path, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for reader in readers:
            reader.open()
            for name, rows in ROWS.items():
                found = reader.fill(name, list(rows), lambda new: {k: rows[k] for k in new})
                assert found == rows


# a training --------------------------------------------------------------------------------------


class Line(torch.nn.Module):
    """The smallest module."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        with torch.no_grad():
            self.layer.weight.fill_(0.5)
            self.layer.bias.fill_(0.0)

    def forward(self, batch):
        loss = (self.layer(batch.features) - batch.expression).square().mean()
        return LossOutput(loss, {})


def trained(folder, max_epochs=4):
    """Weights and losses of a training that goes on from what is in a folder."""
    rng = np.random.default_rng(0)
    spots = SpotBatch(*(torch.tensor(rng.normal(size=(8, n)), dtype=torch.float32) for n in (3, 2)))
    module = Line()
    trainer = Trainer(
        max_epochs=max_epochs, batch_size=4, lr=0.1, random_state=0, checkpoint_dir=folder,
        early_stopping=True, validation_fraction=0.5,
    )  # fmt: skip
    trainer.fit(module, spots, groups=np.repeat(["A", "B"], 4))
    losses = [entry["loss"] for entry in trainer.history_]
    return [*module.layer.weight.detach().flatten().tolist(), *losses]


@few(12)
@given(seed=SEEDS)
def test_checkpoints(tmp_path, seed):
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    right = trained(tmp_path)
    damage(tmp_path, seed, "*.pt")
    try:
        found = trained(tmp_path)
    except HistoexprError as error:
        assert "no whole checkpoint: remove it" in str(error)
    else:
        assert found == right


def test_a_changed_weight_is_not_taken(tmp_path):
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    trained(tmp_path)
    (path,) = tmp_path.glob("*.pt")
    weights = torch.load(path, weights_only=True)["module"]["layer.weight"].numpy().tobytes()
    content = path.read_bytes()
    assert weights in content
    path.write_bytes(content.replace(weights, bytes(len(weights))))
    with pytest.raises(ValueError, match="no whole checkpoint: remove it.*not as it was written"):
        trained(tmp_path)


# blocks of a slide -------------------------------------------------------------------------------


@few(25)
@given(seed=SEEDS)
def test_blocks(tmp_path, seed):
    rows = [np.arange(0, 9, 2), np.arange(1, 9, 2)]
    values = np.arange(18, dtype=np.float32).reshape(9, 2)
    blocks = Blocks(rows, tmp_path / "blocks", "key")
    for number, mine in enumerate(rows):
        blocks.put(number, values[mine])
    damage(tmp_path, seed)
    blocks = Blocks(rows, tmp_path / "blocks", "key")
    for number in blocks.missing():
        blocks.put(number, values[rows[number]])
    np.testing.assert_array_equal(blocks.read(0, 9), values, strict=True)


# what a command reads ----------------------------------------------------------------------------

SETTINGS = {"data": "sheet.csv", "methods": "STco", "genes": None}


@few(60)
@given(seed=SEEDS)
def test_settings_of_a_run(tmp_path, seed):
    rng = random.Random(seed)
    content = json.dumps(SETTINGS).encode()
    change = rng.choice([json_values, raw])
    (tmp_path / "run.json").write_bytes(change(content, rng))
    (tmp_path / "results.csv").write_text("a\n")
    try:
        claim(tmp_path, "run.json", SETTINGS, ["results.csv"], overwrite=False)
    except (click.ClickException, HistoexprError) as error:
        assert len(str(error)) > 15
    else:
        assert json.loads((tmp_path / "run.json").read_bytes()) == SETTINGS


@few(60)
@given(seed=SEEDS)
def test_lists_of_genes(tmp_path, seed):
    path, known = tmp_path / "genes.txt", [f"GENE{i}" for i in range(9)]
    path.write_bytes(raw("# panel\n".encode() + "\n".join(known).encode(), random.Random(seed)))
    try:
        genes = read_genes(path, known)
    except (click.ClickException, HistoexprError) as error:
        assert 15 < len(str(error)) < 3000
    else:
        assert genes and set(genes) <= set(known) and len(set(genes)) == len(genes)
