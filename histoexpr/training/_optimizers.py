"""Optimisers and learning-rate schedules by name."""

import math

import torch

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("constant", "cosine")


def make_optimizer(name, parameters, *, lr, weight_decay):
    """An optimiser over parameters, or groups of them, in torch's fused implementation."""
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay, fused=True)


def learning_rate(epoch, *, schedule, lr, min_lr, warmup_epochs, max_epochs):
    """The learning rate of an epoch, counted from 0.

    A linear rise over ``warmup_epochs`` epochs, which ends at ``lr``; after it ``lr``
    throughout ("constant"), or half a cosine down towards ``min_lr``, which it
    would reach after the last epoch ("cosine").
    """
    if epoch < warmup_epochs:
        return lr * (epoch + 1) / warmup_epochs
    if schedule == "constant":
        return lr
    done = (epoch - warmup_epochs) / (max_epochs - warmup_epochs)
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
