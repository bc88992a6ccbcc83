"""The state of one training run: all of what a checkpoint must hold."""

import contextlib
import copy
import zipfile

import torch

from ..utils import written_aside
from ..utils._reading import reading
from ._optimizers import learning_rate, make_optimizer


class Run:
    """A module in training, with its optimiser, generators and history.

    Parameters
    ----------
    module : torch.nn.Module
        On the device it is trained on. It may give ``parameter_groups()``, as torch's optimisers
        take them, in which ``lr_scale`` multiplies the learning rate, and ``read_ahead(batches)``,
        a generator of these batches.
    settings : dict
        ``max_epochs``, ``batch_size``, ``optimizer``, ``lr``, ``weight_decay``, ``schedule``,
        ``warmup_epochs``, ``min_lr``, ``max_grad_norm``, and ``patience``: None without early
        stopping.
    seed : int
        Decides the batches.
    """

    def __init__(self, module, settings, seed):
        self.module = module
        self.settings = settings
        self.optimizer = make_optimizer(
            settings["optimizer"],
            getattr(module, "parameter_groups", module.parameters)(),
            lr=settings["lr"],
            weight_decay=settings["weight_decay"],
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.history = []
        self.best_epoch = -1
        self.best_weights = None

    @property
    def finished(self):
        """Whether the epochs are used up, or the held-out loss has stopped falling."""
        if len(self.history) >= self.settings["max_epochs"]:
            return True
        patience = self.settings["patience"]
        return patience is not None and len(self.history) - 1 - self.best_epoch >= patience

    def begin_epoch(self):
        """Set the learning rate of the coming epoch and return it."""
        names = ("schedule", "lr", "min_lr", "warmup_epochs", "max_epochs")
        lr = learning_rate(len(self.history), **{name: self.settings[name] for name in names})
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.module.train()
        return lr

    def batches(self, data, generator):
        """A context that gives an epoch of batches; a module that reads patches reads ahead."""
        read_ahead = getattr(self.module, "read_ahead", iter)
        return contextlib.closing(read_ahead(data.epoch(generator)))

    def step(self, loss):
        """Move the weights against the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.settings["max_grad_norm"] is not None:
            torch.nn.utils.clip_grad_norm_(
                self.module.parameters(), self.settings["max_grad_norm"]
            )
        self.optimizer.step()

    def end_epoch(self, entry):
        """Add an epoch to the history and keep its weights when it is the best so far."""
        self.history.append(entry)
        if self.settings["patience"] is None:
            self.best_epoch = entry["epoch"]
            return
        losses = [e["validation_loss"] for e in self.history]
        if self.best_weights is None or losses[-1] < losses[self.best_epoch]:
            self.best_epoch = entry["epoch"]
            self.best_weights = copy.deepcopy(self.module.state_dict())

    def finish(self):
        """Put the best weights back; the module ends on the CPU, in evaluation mode."""
        if self.best_weights is not None:
            self.module.load_state_dict(self.best_weights)
        self.optimizer.zero_grad(set_to_none=True)
        self.module.cpu().eval()

    def save(self, path):
        """Write the state; torch's global generators (dropout) belong to it."""
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
            "dropout_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }
        with written_aside(path) as aside:
            torch.save(state, aside)

    def load(self, path):
        """Take the state of a checkpoint over. Call it inside ``isolated_seed``."""
        with reading(repr(str(path)), "is no whole checkpoint: remove it, to train from the start"):
            with zipfile.ZipFile(path) as file:  # torch does not compare the checksums
                if file.testzip() is not None:
                    raise ValueError("it is not as it was written")
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["batches"])
            torch.set_rng_state(state["dropout"])
            if state["dropout_cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["dropout_cuda"])
            self.history = state["history"]
            self.best_epoch = state["best_epoch"]
            self.best_weights = state["best_weights"]
