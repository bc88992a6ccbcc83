"""How a module is trained, whatever the method."""

import logging
import math
import time
from numbers import Integral, Real
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm.auto import tqdm

from .. import _keys
from ..exceptions import DivergenceError, InputError, InputTypeError
from ..utils import fill_unset
from ..utils._sklearn import Estimator
from ..utils._torch import PRECISIONS, autocast, draw_seed, isolated_seed, resolve_device
from ._batches import SectionBatches, SpotBatches
from ._optimizers import OPTIMIZERS, SCHEDULES
from ._run import Run

logger = logging.getLogger(__name__)

_STEPS_A_LOOK = 50  # from one look at the loss to the next: a GPU is waited for


class Trainer(Estimator):
    """Trains a module on spots by gradient descent.

    A parameter left at None takes the value of the method's paper, or, when the trainer is
    used alone, the value in brackets.

    Parameters
    ----------
    max_epochs : int, default=None
        Passes over the training spots [100].
    batch_size : int, default=None
        Spots a step [128].
    lr : float, default=None
        Learning rate [1e-4].
    weight_decay : float, default=None
        [1e-3].
    optimizer : {"adam", "adamw"}, default=None
        ["adam"].
    schedule : {"constant", "cosine"}, default=None
        The learning rate after the warm-up: kept, or half a cosine down to `min_lr`
        ["constant"].
    warmup_epochs : int, default=None
        Epochs over which the learning rate rises linearly to `lr` [0].
    min_lr : float, default=None
        Where "cosine" ends [0].
    max_grad_norm : float or None, default=None
        Clip the gradient to this L2 norm; None does not clip.
    early_stopping : bool, default=False
        Hold out whole groups of the training data, stop when their loss has not fallen for
        `patience` epochs, and keep the weights of the best epoch. The test fold is never seen.
    validation_fraction : float, default=0.2
        Share of the training groups held out for early stopping (at least one).
    patience : int, default=10
    checkpoint_dir : str, Path or None, default=None
        Where the state is written after each epoch. A run with the same data, settings and
        integer `random_state` goes on from there; any other run has a file of its own.
    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        "auto" is bfloat16 autocast on CUDA and float32 elsewhere.
    random_state : int, RandomState or None, default=None
        Decides batches, dropout and held-out groups. torch's global generators are left alone.
    verbose : int, default=0
        From 1 on, a progress bar over epochs.

    Attributes
    ----------
    history_ : list of dict
        One entry an epoch: ``epoch``, ``loss`` and its terms (means over spots), ``lr``,
        ``seconds``, and with early stopping ``validation_loss``.
    best_epoch_ : int
        The epoch whose weights were kept (the last one without early stopping).
    validation_groups_ : ndarray of str
        The groups held out; empty without early stopping.
    """

    _defaults = {
        "max_epochs": 100,
        "batch_size": 128,
        "lr": 1e-4,
        "weight_decay": 1e-3,
        "optimizer": "adam",
        "schedule": "constant",
        "warmup_epochs": 0,
        "min_lr": 0.0,
    }

    _parameter_constraints = {
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [Interval(Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS)), None],
        "schedule": [StrOptions(set(SCHEDULES)), None],
        "warmup_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "min_lr": [Interval(Real, 0, None, closed="left"), None],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "checkpoint_dir": [str, Path, None],
        "device": [str, torch.device],
        "precision": [StrOptions(PRECISIONS)],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        max_epochs=None,
        batch_size=None,
        lr=None,
        weight_decay=None,
        *,
        optimizer=None,
        schedule=None,
        warmup_epochs=None,
        min_lr=None,
        max_grad_norm=None,
        early_stopping=False,
        validation_fraction=0.2,
        patience=10,
        checkpoint_dir=None,
        device="auto",
        precision="auto",
        random_state=None,
        verbose=0,
    ):
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.min_lr = min_lr
        self.max_grad_norm = max_grad_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.checkpoint_dir = checkpoint_dir
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, module, data, groups=None):
        """Train a module in place; it ends on the CPU, in evaluation mode.

        Parameters
        ----------
        module : torch.nn.Module
            Called with a SpotBatch, it returns a LossOutput. It may give ``parameter_groups()``,
            as torch's optimisers take them, in which ``lr_scale`` multiplies the learning rate.
        data : SpotBatch or list of SpotBatch
            All training spots, from which batches are drawn; or whole sections, a batch each.
        groups : array-like of shape (n_spots,) or (n_sections,), or None, default=None
            The patient (or section) of each spot, or of each section when ``data`` is a list;
            needed for early stopping alone.

        Returns
        -------
        Trainer
            self.

        Raises
        ------
        ValueError
            If a parameter is not allowed, the device is not there, or early stopping has
            fewer than two groups to hold one out of.
        FloatingPointError
            If the loss becomes NaN or infinite.
        """
        self.check(groups)
        device = resolve_device(self.device)
        seed = draw_seed(self.random_state)
        settings = self._settings()
        batches = (
            SectionBatches(data)
            if isinstance(data, list)
            else SpotBatches(data, settings["batch_size"])
        )
        train, validation, held_out = self._split(batches, groups, seed)
        path = self._checkpoint_path(module, settings, seed, device, (train, validation))
        run = Run(module.to(device), settings, seed)
        train, validation = train.to(device), validation.to(device)
        with isolated_seed(seed, device):
            if path is not None and path.exists():
                run.load(path)
                logger.info("Going on after %d epochs from %s", len(run.history), path)
            with tqdm(
                total=settings["max_epochs"],
                initial=len(run.history),
                desc="Training",
                unit="epoch",
                disable=not self.verbose,
            ) as bar:
                while not run.finished:
                    self._epoch(run, train, validation)
                    bar.set_postfix(loss=f"{run.history[-1]['loss']:.3f}", refresh=False)
                    bar.update()
                    if path is not None:
                        run.save(path)
        run.finish()
        if not all(torch.isfinite(weight).all() for weight in module.parameters()):
            raise DivergenceError(
                "training left weights that are not finite; lower lr or set max_grad_norm."
            )
        self.history_ = run.history
        self.best_epoch_ = run.best_epoch
        self.validation_groups_ = held_out
        return self

    def check(self, groups=None):
        """Refuse what `fit` would refuse, before anything is computed.

        Parameters
        ----------
        groups : array-like of shape (n_spots,) or None, default=None
            As in `fit`.

        Raises
        ------
        ValueError
            If a parameter is not allowed, the device is not there, or early stopping has
            fewer than two groups to hold one out of, or spots of none.
        """
        self._validate_params()
        resolve_device(self.device)
        if not self.early_stopping:
            return
        found = np.unique([] if groups is None else np.asarray(groups).astype(str))
        if _keys.MISSING in found:
            n_missing = int(np.sum(np.asarray(groups) == _keys.MISSING))
            raise InputError(
                f"early_stopping=True holds out whole groups, but {n_missing} spots have no "
                "patient (or section); fill adata.obs or drop those spots."
            )
        if len(found) < 2:
            raise InputError(
                "early_stopping=True holds out whole patients (or sections), but the training "
                f"data names {len(found)}; give adata.obs a patient or section column with at "
                "least two values, or use early_stopping=False."
            )

    def _settings(self):
        """What shapes the weights, with the unset parameters filled in."""
        own = {name: getattr(self, name) for name in self._defaults}
        settings = {k: self._defaults[k] if v is None else v for k, v in own.items()}
        settings["max_grad_norm"] = self.max_grad_norm
        settings["patience"] = self.patience if self.early_stopping else None
        return settings

    def _split(self, batches, groups, seed):
        """Training batches, held-out ones (none without early stopping), held-out groups."""
        if not self.early_stopping:
            return batches, batches.take([]), np.array([], dtype=str)
        labels = np.asarray(groups)
        found = np.unique(labels)
        n_held = min(len(found) - 1, max(1, round(self.validation_fraction * len(found))))
        splitter = GroupShuffleSplit(1, test_size=n_held, random_state=seed)
        train, held = next(splitter.split(labels, groups=labels))
        held_out = np.unique(labels[held]).astype(str)
        return batches.take(train), batches.take(held), held_out

    def _checkpoint_path(self, module, settings, seed, device, parts):
        """A file name that only the same run has: same start, data and settings."""
        if self.checkpoint_dir is None:
            return None
        # What a module computes is also in plain attributes: temperatures, rates of dropout.
        plain = [
            (name, type(part).__name__, {k: v for k, v in vars(part).items() if _is_plain(v)})
            for name, part in module.named_modules()
        ]
        values = [*module.parameters(), *module.buffers()]
        values += [value for part in parts for value in part.values()]
        arrays = [_without_device(value) for value in values]
        kinds = [type(part).__name__ for part in parts]
        run = [settings, seed, device.type, self.precision, plain, kinds, arrays]
        return Path(self.checkpoint_dir) / f"{joblib.hash(run)}.pt"

    def _epoch(self, run, train, validation):
        started = time.perf_counter()
        lr = run.begin_epoch()
        means = _Means()
        with run.batches(train, run.generator) as batches:
            for step, batch in enumerate(batches):
                with autocast(batch.features.device, self.precision):
                    output = run.module(batch)
                means.add(output, len(batch))
                if step % _STEPS_A_LOOK == 0:
                    _check_finite(means, run)
                run.step(output.loss)
        _check_finite(means, run)
        entry = {"epoch": len(run.history), **means.values(), "lr": lr}
        if len(validation):
            entry["validation_loss"] = self._validation_loss(run, validation)
        entry["seconds"] = time.perf_counter() - started
        run.end_epoch(entry)

    def _validation_loss(self, run, validation):
        # A contrastive loss depends on which spots meet in a batch: the same ones every epoch.
        run.module.eval()
        means = _Means()
        drawn = torch.Generator().manual_seed(0)
        with torch.no_grad(), run.batches(validation, drawn) as batches:
            for batch in batches:
                with autocast(batch.features.device, self.precision):
                    means.add(run.module(batch), len(batch))
        return means.values()["loss"]


def _check_finite(means, run):
    loss = means.values()["loss"]
    if not math.isfinite(loss):
        raise DivergenceError(
            f"the training loss became {loss} in epoch {len(run.history)}; lower lr, set "
            "max_grad_norm, or standardise the features (sklearn.preprocessing.StandardScaler)."
        )


def _is_plain(value):
    return value is None or isinstance(value, (bool, int, float, str, tuple))


def _without_device(value):
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


class _Means:
    """Means over spots of the loss and its terms, read from the device once an epoch."""

    def __init__(self):
        self.n_spots = 0
        self.sums = {}

    def add(self, output, n_spots):
        self.n_spots += n_spots
        for name, value in {"loss": output.loss.detach(), **output.terms}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * n_spots

    def values(self):
        return {name: float(total) / self.n_spots for name, total in self.sums.items()}


def check_trainer(trainer, default):
    """A Trainer of the estimator's own: a clone, its unset parameters those of the method.

    Parameters
    ----------
    trainer : Trainer or None
        What the user gave.
    default : Trainer
        What the method's paper did.

    Returns
    -------
    Trainer

    Raises
    ------
    TypeError
        If ``trainer`` is something else.
    """
    if trainer is None:
        return default
    if not isinstance(trainer, Trainer):
        raise InputTypeError(
            f"trainer must be a histoexpr.Trainer or None; got {type(trainer).__name__}."
        )
    return fill_unset(clone(trainer), default)
