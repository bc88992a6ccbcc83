"""Training: one loop for every method."""

from ._trainer import Trainer, check_trainer

__all__ = ["Trainer", "check_trainer"]
