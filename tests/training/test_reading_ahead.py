"""A backbone in training: the next patches are read while it computes, and nothing else changes."""

import threading

import numpy as np
import pytest
import torch

from histoexpr import PatchAugment, STco, TimmFeaturizer, Trainer
from histoexpr.data import SpotPatches
from histoexpr.datasets import make_spatial_expression
from histoexpr.nn import EndToEnd


@pytest.fixture(scope="module")
def cohort():
    return make_spatial_expression(2, grid=(6, 6), n_genes=8, mpp=2.0, out_px=32, random_state=0)


def stco(trainer=None, **settings):
    backbone = TimmFeaturizer(
        "test_resnet", pretrained=False, trainable=True, input_size=32, batch_size=5,
        augment=PatchAugment(), **settings,
    )  # fmt: skip
    trainer = Trainer(max_epochs=2, batch_size=12, lr=1e-3) if trainer is None else trainer
    return STco(backbone, trainer=trainer, random_state=0)


def weights(model):
    parts = [*model.featurizer_._backbone.parameters(), *model.module_.parameters()]
    return torch.cat([part.detach().flatten() for part in parts])


def readers(monkeypatch, wrong=None):
    """Names of the threads that read patches; one of the reads can go wrong."""
    names, inner = [], SpotPatches._read

    def read(self, rows):
        names.append(threading.current_thread().name)
        if len(names) == wrong:
            raise OSError("the disk is gone")
        return inner(self, rows)

    monkeypatch.setattr(SpotPatches, "_read", read)
    return names


def threads_left():
    return [t for t in threading.enumerate() if t.name.startswith("histoexpr-ahead")]


@pytest.mark.parametrize("grad_checkpointing", [False, True])
def test_reading_ahead_changes_no_bit(grad_checkpointing, cohort, monkeypatch):
    trainer = Trainer(max_epochs=2, batch_size=12, lr=1e-3, early_stopping=True)
    model = stco(trainer, grad_checkpointing=grad_checkpointing)
    with monkeypatch.context() as patch:
        patch.setattr(EndToEnd, "read_ahead", lambda self, batches: (b for b in batches))
        expected = stco(trainer, grad_checkpointing=grad_checkpointing).fit(*cohort)
    names = readers(monkeypatch)
    model.fit(*cohort)
    # Before and after the training, the featurizer looks at a few patches.
    first, last = names.index("histoexpr-ahead_0"), names[::-1].index("histoexpr-ahead_0")
    in_training = names[first : len(names) - last]
    n_chunks = 8 + 7  # at most 5 patches of batches of 12, of patients with 30 and 28 spots
    assert in_training == 2 * n_chunks * ["histoexpr-ahead_0"]
    assert torch.equal(weights(model), weights(expected))
    kept = [{k: v for k, v in e.items() if k != "seconds"} for e in expected.history_]
    assert [{k: e[k] for k in kept[0]} for e in model.history_] == kept
    assert not threads_left()


def test_what_cannot_be_read_is_an_error_and_leaves_no_thread(cohort, monkeypatch):
    model = stco().fit(*cohort)
    predicted = model.predict(cohort[0])
    names = readers(monkeypatch, wrong=6)
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(*cohort)
    assert len(names) >= 6 and not threads_left()
    np.testing.assert_array_equal(model.predict(cohort[0]), predicted)


def test_an_error_of_the_network_leaves_no_thread(cohort):
    class Wrong(PatchAugment):
        def __call__(self, images, generator=None):
            assert threads_left()
            raise KeyError("no such colour")

    model = stco().set_params(featurizer__augment=Wrong())
    with pytest.raises(KeyError, match="no such colour"):
        model.fit(*cohort)
    assert not threads_left()
