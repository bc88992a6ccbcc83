"""Methods by name, and the controls beside them."""

import numpy as np
import pytest
from sklearn.base import clone

from histoexpr import SpotFeatures, Trainer
from histoexpr.model_selection import (
    CONTROL_NAMES,
    METHOD_NAMES,
    TrainTest,
    benchmark,
    method_presets,
    summarize,
)


def test_the_five_methods_have_names():
    assert {
        "STco", "MclSTExp", "GR2ST", "StInfer-retrieval", "StInfer-regression", "Reg2ST",
    } <= set(METHOD_NAMES)  # fmt: skip
    assert list(method_presets()) == list(METHOD_NAMES)
    for method in method_presets("paper").values():
        assert clone(method.estimator).featurizer is None
        assert method.note == "" and not method.control


def test_quick_says_what_it_makes_smaller():
    quick, paper = (method_presets(preset)["Reg2ST"] for preset in ("quick", "paper"))
    assert "hidden_dim 256 (1024), n_layers 2 (6), max_epochs 100 (400)" in quick.note
    small, large = quick.estimator, paper.estimator
    assert (small.hidden_dim, small.n_layers, small.trainer.max_epochs) == (256, 2, 100)
    assert (large.hidden_dim, large.n_layers) == (1024, 6)
    defaults = large._default_trainer()
    assert defaults.max_epochs == 400 and large.trainer.max_epochs in (None, 400)
    for name in set(METHOD_NAMES) - {"Reg2ST"}:
        one, other = (method_presets(preset)[name] for preset in ("quick", "paper"))
        if not one.note:
            assert repr(one.estimator) == repr(other.estimator)


def test_presets_are_nobody_elses():
    method_presets()["STco"].estimator.set_params(projection_dim=3)
    assert method_presets()["STco"].estimator.projection_dim == 256


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"names": ["Reg2st", "STco"]}, "unknown methods: 'Reg2st'. Did you mean 'Reg2ST'"),
        ({"names": "MclSTExpr"}, "Did you mean 'MclSTExp'"),
        ({"names": ["xyz"]}, "unknown methods: 'xyz'. There are 'ContrastiveEnsemble'"),
        ({"preset": "papers"}, "Did you mean 'paper'"),
    ],
)
def test_says_what_was_meant(settings, message):
    with pytest.raises(ValueError, match=message):
        method_presets(**settings)


def test_all_methods_and_controls_in_one_table(sampled, monkeypatch):
    features, adata = sampled
    epochs = Trainer._settings
    monkeypatch.setattr(Trainer, "_settings", lambda self: {**epochs(self), "max_epochs": 1})
    generator = np.random.default_rng(0)
    wide = SpotFeatures.of(features, generator.normal(size=(len(features), 32)))
    table = benchmark("all", wide, adata, TrainTest(["A1", "B1"], ["C1"]))
    assert not set(table["error"]) - {""}
    rows = list(table["method"].unique())
    assert rows[-len(CONTROL_NAMES):] == list(CONTROL_NAMES)
    assert {"STco", "Reg2ST-decoder", "Reg2ST-retrieval", "StInfer-regression"} <= set(rows)
    assert table["units"].nunique() == 1  # Reg2ST's own would be log10
    assert (summarize(table)["failed"] == 0).all()
