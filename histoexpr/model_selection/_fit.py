"""One fit of a benchmark, in whatever process it runs."""

import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone

from .. import _keys
from ..data import unpack_target
from ..exceptions import InputError
from ..metrics import score_table
from ..metrics._scorer import _final_estimator, _truth
from ..training import Trainer
from ._fingerprint import key_of
from ._methods import WITHIN, Method
from ._protocols import Fold
from ._readings import apply_reading, searches

SCORES = ("pearson", "rmse", "mae")
N_NEIGHBORS = 10  # of those that a prediction is made of, kept for pictures

# torch's generators belong to the process: fits that share one (backends of threads) take turns.
_FITTING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Job:
    """A fit to be done.

    Attributes
    ----------
    name : str
        Of the method.
    method : Method
        Its estimator lacks nothing but the fit.
    fold : Fold
    input_key : str
        Which X it is fitted on.
    key : str
        Of the fit: what it depends on.
    """

    name: str
    method: Method
    fold: Fold
    input_key: str
    key: str

    def rows(self):
        """Names of the rows of results, each with its Reading and the key of that."""
        rows = self.method.row_names(self.name).items()
        return [
            (row, reading, key_of(self.key, reading.parameters, reading.returned))
            for row, reading in rows
        ]


def run_job(job, X, adata, seed, store=None, with_predictions=False, checkpoints=False):
    """Fit, predict and score; what fails is told, not raised.

    Parameters
    ----------
    job : Job
    X : SpotPatches or SpotFeatures
    adata : AnnData of shape (n_spots, n_genes)
    seed : int
        Of the shuffled control.
    store : Store or None
        Where a fit that has ended is written to at once.
    with_predictions : bool
    checkpoints : bool
        Whether a training writes its state after each epoch (into the store).

    Returns
    -------
    dict of str to dict
        For each row of results: ``scores``, ``predictions``, ``units``, ``error``,
        ``traceback``, ``seconds_fit``, ``seconds_predict`` and ``peak_memory``.
    """
    with _FITTING, PeakMemory() as memory:
        try:
            entries = _fit_and_read(job, X, adata, seed, store, with_predictions, checkpoints)
        except Exception as error:
            entries = failed_entries(job, error)
    for row, _, key in job.rows():
        if entries[row]["error"]:
            continue
        entries[row]["peak_memory"] = memory.peak
        if store is not None:
            store.write(key, entries[row])
    if store is not None and not any(entry["error"] for entry in entries.values()):
        store.forget_checkpoints(job.key)
    return entries


def failed_entries(job, error):
    """The rows of a fit that failed."""
    return {row: _failed(error) for row, *_ in job.rows()}


def _fit_and_read(job, X, adata, seed, store, with_predictions, checkpoints):
    train = job.fold.train
    model = clone(job.method.estimator)
    if checkpoints and store is not None:
        keep_state(model, store.checkpoints(job.key))
    y = adata[train]
    if job.method.shuffled is not None:
        y = shuffle_spots(y, job.method.shuffled == WITHIN, seed)
    import scanpy  # noqa: F401  (loaded at its first use: those seconds are no method's)

    started = time.perf_counter()
    model.fit(X[train], y)
    seconds = time.perf_counter() - started
    if isinstance(getattr(model, "trainer_", None), Trainer):
        # A training that went on from a checkpoint has epochs of an earlier run.
        epochs = getattr(model.trainer_, "history_", ())
        seconds = max(seconds, sum(epoch["seconds"] for epoch in epochs))
    entries = {}
    for row, reading, _ in job.rows():
        try:
            entry = _read(apply_reading(model, reading, y), job, X, adata, with_predictions)
            entries[row] = {**entry, "seconds_fit": seconds}
        except Exception as error:
            entries[row] = _failed(error)
    return entries


def _read(model, job, X, adata, with_predictions):
    """Predict and score one reading."""
    test = job.fold.test
    started = time.perf_counter()
    predicted = np.asarray(model.predict(X[test]))
    seconds = time.perf_counter() - started
    target = unpack_target(adata[test])
    truth = _truth(model, target)
    final = _final_estimator(model)
    units, genes = getattr(final, "units_", ""), _genes(final)
    predicted = predicted.reshape(len(predicted), -1)
    if predicted.shape != truth.shape:
        raise InputError(
            f"predict returned shape {predicted.shape} where {truth.shape} was to be predicted: "
            "one row a spot and one column a gene of expression_."
        )
    predictions = None
    if with_predictions:
        predictions = _predictions(predicted, truth, genes, adata, test)
        if searches(model):
            found = model.kneighbors(X[test], return_distance=False)
            predictions.obsm["neighbors"] = job.fold.train[found[:, :N_NEIGHBORS]]
    return {
        "scores": score_by_section(truth, predicted, target.section, genes),
        "predictions": predictions,
        "units": units,
        "seconds_predict": seconds,
        "error": "",
        "traceback": "",
    }


def score_by_section(truth, predicted, section, genes):
    """Correlation and errors of each gene in each section.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_spots, n_genes)
    section : ndarray of shape (n_spots,) or None
        None takes all spots as one, called "".
    genes : ndarray of shape (n_genes,)

    Returns
    -------
    DataFrame
        Columns section, gene, n_spots, pearson, rmse, mae; a row a section and gene.
    """
    section = np.full(len(truth), "") if section is None else section
    tables = {score: score_table(truth, predicted, section, score=score) for score in SCORES}
    names = tables["pearson"].index
    n_spots = pd.Series(section).value_counts()[names].to_numpy()
    columns = {
        _keys.SECTION: np.repeat(names, len(genes)),
        "gene": np.tile(genes, len(names)),
        "n_spots": np.repeat(n_spots, len(genes)),
        **{score: table.to_numpy().ravel() for score, table in tables.items()},
    }
    return pd.DataFrame(columns).astype({_keys.SECTION: object, "gene": object})


def shuffle_spots(adata, within_sections, seed):
    """The same spots, with counts that they have exchanged at random.

    Parameters
    ----------
    adata : AnnData of shape (n_spots, n_genes)
    within_sections : bool
        Whether only spots of one section exchange theirs.
    seed : int

    Returns
    -------
    AnnData of shape (n_spots, n_genes)
        A copy; names, sections and places stay where they are.
    """
    section = unpack_target(adata).section
    section = np.zeros(adata.n_obs) if section is None else section
    by_name = np.argsort(section, kind="stable")  # in whichever order sections come
    groups = section if within_sections else np.zeros(adata.n_obs)
    order = np.arange(adata.n_obs)
    generator = np.random.default_rng(seed)
    for name in np.unique(groups):
        rows = by_name[groups[by_name] == name]
        order[rows] = generator.permutation(rows)
    shuffled = adata.copy()
    shuffled.X = shuffled.X[order]
    return shuffled


def keep_state(model, folder):
    """Let the Trainer of a method write checkpoints, unless it does already."""
    if "trainer" not in model.get_params(deep=False):
        return
    trainer = Trainer() if model.trainer is None else model.trainer
    if trainer.checkpoint_dir is None:
        model.set_params(trainer=trainer.set_params(checkpoint_dir=folder))


class PeakMemory:
    """The most resident memory that the process has had within a block.

    Attributes
    ----------
    peak : float
        MiB, by the kernel's own counter: interpreter, libraries and data included, memory of a
        GPU not. NaN where the system has no such counter that can be set back (not Linux).
    """

    peak = np.nan

    def __enter__(self):
        try:
            Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
            self._counts = True
        except OSError:
            self._counts = False
        return self

    def __exit__(self, *error):
        if self._counts:
            status = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            self.peak = int(status["VmHWM"].split()[0]) / 1024


def _predictions(predicted, truth, genes, adata, test):
    from anndata import AnnData

    kept = (_keys.SECTION, _keys.PATIENT, _keys.ARRAY_ROW, _keys.ARRAY_COL)
    obs = adata.obs.loc[:, [key for key in kept if key in adata.obs]].iloc[test].copy()
    obs["row"] = test
    predictions = AnnData(
        predicted.astype(np.float32),
        obs=obs,
        var=pd.DataFrame(index=pd.Index(genes)),
        layers={_keys.MEASURED: truth.astype(np.float32)},
    )
    if _keys.SPATIAL in adata.obsm:
        predictions.obsm[_keys.SPATIAL] = np.asarray(adata.obsm[_keys.SPATIAL])[test]
    return predictions


def _genes(final):
    genes = getattr(final, "genes_", None)
    return np.asarray(final.expression_.genes_ if genes is None else genes).astype(str)


def _failed(error):
    return {
        "scores": None,
        "predictions": None,
        "units": "",
        "seconds_fit": np.nan,
        "seconds_predict": np.nan,
        "peak_memory": np.nan,
        "error": f"{type(error).__name__}: {error}",
        "traceback": "".join(traceback.format_exception(error)),
    }
