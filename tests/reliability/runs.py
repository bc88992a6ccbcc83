"""Trainings that are killed: functions for `killing`, which must be importable."""

import joblib
import numpy as np
import torch
from torch import nn

from histoexpr import Trainer
from histoexpr._types import LossOutput, SpotBatch


class Regression(nn.Module):
    """The smallest module, with dropout, so that torch's generators count."""

    def __init__(self, width=64):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(8, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 4)
            )

    def forward(self, batch):
        loss = (self.layers(batch.features) - batch.expression).square().mean()
        return LossOutput(loss, {"squared_error": loss.detach()})


def spots(n_spots=120):
    rng = np.random.default_rng(0)
    features, expression = rng.normal(size=(n_spots, 8)), rng.normal(size=(n_spots, 4))
    return SpotBatch(
        torch.tensor(features, dtype=torch.float32), torch.tensor(expression, dtype=torch.float32)
    )


SETTINGS = {
    "spots": dict(max_epochs=25, schedule="cosine", warmup_epochs=3, max_grad_norm=0.5),
    "early stopping": dict(max_epochs=25, early_stopping=True, patience=20, optimizer="adamw"),
    "sections": dict(max_epochs=25),
}


def train(begin, kind, checkpoints, out):
    """Train a small module, and write its weights and history."""
    trainer = Trainer(
        batch_size=32, lr=0.01, random_state=1, checkpoint_dir=checkpoints, **SETTINGS[kind]
    )
    module, data, groups = Regression(), spots(), None
    if kind == "sections":
        data = [data[:20], data[20:70], data[70:]]
    elif kind == "early stopping":
        groups = np.repeat(["A", "B", "C"], 40)
    begin()
    trainer.fit(module, data, groups)
    history = [{k: v for k, v in e.items() if k != "seconds"} for e in trainer.history_]
    weights = {k: v.numpy() for k, v in module.state_dict().items()}
    joblib.dump((weights, history, trainer.best_epoch_), out)


def fit_with_backbone(begin, checkpoints, out):
    """Fit a method whose backbone is trained, with augmentation; write what it predicts."""
    from histoexpr import PatchAugment, STco, TimmFeaturizer
    from histoexpr.datasets import make_spatial_expression

    images, adata = make_spatial_expression(
        2, grid=(5, 5), n_genes=6, mpp=2.0, out_px=32, random_state=0
    )
    model = STco(
        TimmFeaturizer(
            "test_resnet", pretrained=False, trainable=True, input_size=32, augment=PatchAugment()
        ),
        trainer=Trainer(max_epochs=4, lr=1e-3, checkpoint_dir=checkpoints),
        random_state=0,
    )
    begin()
    model.fit(images, adata)
    np.save(out, model.predict(images))
