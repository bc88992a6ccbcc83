"""The training loop: what it learns, what it leaves alone, where it goes on after a stop."""

import random

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from histoexpr import Trainer
from histoexpr._types import LossOutput, SpotBatch
from histoexpr.training import check_trainer
from histoexpr.training._optimizers import learning_rate


class Regression(nn.Module):
    """The smallest module that a Trainer can train; with dropout, to see the generators."""

    def __init__(self, seed=0, dropout=0.1):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.linear = nn.Linear(4, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch):
        loss = (self.dropout(self.linear(batch.features)) - batch.expression).square().mean()
        return LossOutput(loss, {"squared_error": loss.detach()})


def data(n_spots=50, noise=0.05):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n_spots, 4)).astype(np.float32)
    expression = features @ rng.normal(size=(4, 2)) + noise * rng.normal(size=(n_spots, 2))
    return SpotBatch(torch.tensor(features), torch.tensor(expression, dtype=torch.float32))


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_loss_falls_and_history_says_so():
    module = Regression(dropout=0.0)
    trainer = Trainer(max_epochs=30, batch_size=16, lr=0.05, random_state=0).fit(module, data())
    assert [e["epoch"] for e in trainer.history_] == list(range(30))
    assert trainer.history_[-1]["loss"] < 0.1 * trainer.history_[0]["loss"]
    assert set(trainer.history_[0]) == {"epoch", "loss", "squared_error", "lr", "seconds"}
    assert not module.training and trainer.best_epoch_ == 29


def test_same_seed_same_weights_and_other_seed_others():
    modules = [Regression() for _ in range(3)]
    for module, seed in zip(modules, (1, 1, 2)):
        Trainer(max_epochs=3, batch_size=8, random_state=seed).fit(module, data())
    assert torch.equal(weights(modules[0]), weights(modules[1]))
    assert not torch.equal(weights(modules[0]), weights(modules[2]))


def test_integers_may_be_those_of_numpy():
    """As a grid of np.arange gives them."""
    modules = [Regression() for _ in range(2)]
    for module, kind in zip(modules, (int, np.int64)):
        Trainer(max_epochs=kind(2), batch_size=kind(8), random_state=0).fit(module, data())
    assert torch.equal(*map(weights, modules))


def test_global_generators_threads_and_dtype_are_left_alone():
    def state():
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
        )

    before = state()
    Trainer(max_epochs=2, random_state=0).fit(Regression(), data())
    assert state() == before


def test_early_stopping_holds_out_whole_groups_and_keeps_the_best_weights():
    groups = np.repeat(["P1", "P2", "P3", "P4", "P5"], 10)
    spots = data(noise=2.0)
    trainer = Trainer(
        max_epochs=300, lr=0.1, early_stopping=True, patience=5, random_state=0, batch_size=16
    )
    module = Regression(dropout=0.0)
    trainer.fit(module, spots, groups)
    assert len(trainer.validation_groups_) == 1
    losses = [e["validation_loss"] for e in trainer.history_]
    assert len(losses) < 300 and trainer.best_epoch_ == int(np.argmin(losses))
    assert len(losses) - 1 - trainer.best_epoch_ == 5
    held = spots[torch.as_tensor(np.flatnonzero(groups == trainer.validation_groups_[0]))]
    np.testing.assert_allclose(module(held).loss.item(), min(losses), rtol=1e-5)


def test_held_out_groups_do_not_move_the_weights():
    groups = np.repeat(["P1", "P2"], 25)
    spots = data()
    trainer = Trainer(max_epochs=4, early_stopping=True, patience=100, random_state=0)
    trainer.fit(Regression(), spots, groups)
    losses = [e["loss"] for e in trainer.history_]
    changed = spots.expression.clone()
    changed[torch.as_tensor(groups == trainer.validation_groups_[0])] += 100
    trainer.fit(Regression(), SpotBatch(spots.features, changed), groups)
    assert [e["loss"] for e in trainer.history_] == losses
    assert trainer.history_[0]["validation_loss"] > 1000


def test_sections_are_whole_batches():
    seen = []

    class Witness(Regression):
        def forward(self, batch):
            seen.append(len(batch))
            return super().forward(batch)

    spots = data()
    sections = [spots[:5], spots[5:25], spots[25:]]
    module = Witness(dropout=0.0)
    trainer = Trainer(max_epochs=40, lr=0.05, batch_size=7, random_state=0)
    trainer.fit(module, sections)
    assert sorted(seen[:3]) == [5, 20, 25] and len(seen) == 120
    assert trainer.history_[-1]["loss"] < 0.2 * trainer.history_[0]["loss"]
    with_stop = Trainer(max_epochs=2, early_stopping=True, random_state=0)
    with_stop.fit(module, sections, groups=["P1", "P1", "P2"])
    assert len(with_stop.validation_groups_) == 1


@pytest.mark.parametrize("groups", [None, np.full(50, "P1")])
def test_early_stopping_needs_two_groups(groups):
    with pytest.raises(ValueError, match="early_stopping=True holds out whole patients"):
        Trainer(early_stopping=True).fit(Regression(), data(), groups)


def test_early_stopping_refuses_unknown_groups():
    groups = np.array(["P1"] * 20 + ["nan"] * 30)
    with pytest.raises(ValueError, match="30 spots have no patient"):
        Trainer(early_stopping=True).fit(Regression(), data(), groups)


class Stop(Exception):
    """Stands for the kill of a run."""


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    settings = dict(max_epochs=8, batch_size=16, lr=0.01, random_state=3, schedule="cosine")
    whole = Regression()
    Trainer(**settings).fit(whole, data())

    class Dying(Trainer):
        def _epoch(self, run, *args):
            if len(run.history) == 4:
                raise Stop
            super()._epoch(run, *args)

    with pytest.raises(Stop):
        Dying(**settings, checkpoint_dir=tmp_path).fit(Regression(), data())
    resumed = Regression()
    trainer = Trainer(**settings, checkpoint_dir=tmp_path).fit(resumed, data())
    assert torch.equal(weights(resumed), weights(whole))
    assert [e["epoch"] for e in trainer.history_] == list(range(8))
    assert len(list(tmp_path.iterdir())) == 1


def test_another_run_does_not_take_over_a_checkpoint(tmp_path):
    settings = dict(max_epochs=2, random_state=0, checkpoint_dir=tmp_path)
    Trainer(**settings).fit(Regression(), data())
    Trainer(**settings).fit(Regression(), data(n_spots=40))
    Trainer(**settings, lr=0.5).fit(Regression(), data())
    Trainer(**settings, precision="bfloat16").fit(Regression(), data())
    Trainer(**settings).fit(Regression(dropout=0.5), data())  # in no tensor of the module
    Trainer(**settings).fit(Regression(), [data()])
    assert len(list(tmp_path.iterdir())) == 6


def test_diverging_training_is_an_error():
    with pytest.raises(FloatingPointError, match="lower lr"):
        spots = data()
        Trainer(max_epochs=3).fit(Regression(), SpotBatch(spots.features * 1e30, spots.expression))


def test_a_loss_that_diverges_in_the_midst_of_an_epoch_is_an_error(tmp_path):
    class Falling(Regression):
        n_calls = 0

        def forward(self, batch):
            self.n_calls += 1
            output = super().forward(batch)
            return LossOutput(output.loss * (float("nan") if self.n_calls == 7 else 1.0))

    module = Falling(dropout=0.0)
    with pytest.raises(FloatingPointError, match="loss became nan in epoch 0; lower lr"):
        Trainer(batch_size=5, checkpoint_dir=tmp_path).fit(module, data())
    assert module.n_calls == 10 and not list(tmp_path.iterdir())


def test_gradient_clipping_bounds_the_step():
    module = Regression(dropout=0.0)
    start = weights(module)
    Trainer(
        max_epochs=1, batch_size=50, lr=1.0, weight_decay=0.0, max_grad_norm=1e-12
    ).fit(module, data())
    # Adam divides by the gradient's size plus 1e-8: a clipped gradient hardly moves anything.
    assert (weights(module) - start).abs().max() < 1e-3


def test_schedules():
    usual = dict(lr=1.0, min_lr=0.1, warmup_epochs=4, max_epochs=14)
    constant = [learning_rate(e, schedule="constant", **usual) for e in range(14)]
    assert constant == [0.25, 0.5, 0.75, 1.0] + [1.0] * 10
    cosine = [learning_rate(e, schedule="cosine", **usual) for e in range(14)]
    assert cosine[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert cosine[9] == pytest.approx(0.55) and np.all(np.diff(cosine[4:]) < 0)
    assert 0.1 < cosine[-1] < 0.15  # the last epoch trains, too


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"lr": 0.0}, "'lr' parameter of Trainer"),
        ({"optimizer": "sgd"}, "'optimizer' parameter of Trainer"),
        ({"device": "nonsense"}, "device='nonsense' is not a torch device"),
        ({"device": "cuda:63"}, "no such device on this machine"),
        pytest.param(
            {"device": "cuda"},
            "device='cuda' was asked for, but torch finds no such device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
    ],
)
def test_bad_settings_are_refused_before_training(settings, message):
    module = Regression()
    start = weights(module)
    with pytest.raises(ValueError, match=message):
        Trainer(**settings).fit(module, data())
    assert torch.equal(weights(module), start) and module.training


def test_check_trainer_fills_what_is_unset_and_leaves_the_users_object():
    users = Trainer(max_epochs=7)
    own = check_trainer(users, Trainer(max_epochs=400, lr=5e-4, optimizer="adamw"))
    assert (own.max_epochs, own.lr, own.optimizer) == (7, 5e-4, "adamw")
    assert users.lr is None and clone(users).get_params() == users.get_params()
    with pytest.raises(TypeError, match="Trainer or None; got dict"):
        check_trainer({"lr": 1}, Trainer())


def test_bfloat16_trains():
    module = Regression(dropout=0.0)
    trainer = Trainer(max_epochs=20, lr=0.05, precision="bfloat16", random_state=0)
    trainer.fit(module, data())
    assert trainer.history_[-1]["loss"] < 0.5 * trainer.history_[0]["loss"]
    assert weights(module).dtype == torch.float32
