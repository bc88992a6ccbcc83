"""Do the fits of a plan that are not done yet."""

import logging

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from .. import _keys
from ..utils._dask import surviving, within_task
from ._fit import failed_entries, run_job
from ._prepare import compute_features, holds_features, with_places

logger = logging.getLogger(__name__)


def run_plan(
    plan, images, adata, target, *, store, n_jobs, with_predictions, checkpoints, verbose
):
    """Read the fits that are finished, and do the others in parallel.

    Parameters
    ----------
    plan : Plan
    images : SpotPatches, SpotFeatures or array-like
    adata : AnnData of shape (n_spots, n_genes)
    target : SpotTarget
        Of `adata`.
    store : Store or None
    n_jobs : int or None
    with_predictions, checkpoints : bool
    verbose : int

    Returns
    -------
    list of dict of str to dict
        What `run_job` gives, for each job of the plan.
    """
    entries = [_finished(job, store, with_predictions) for job in plan.jobs]
    todo = [i for i, entry in enumerate(entries) if entry is None]
    logger.info("%d of %d fits are done already", len(entries) - len(todo), len(entries))
    keys = dict.fromkeys(plan.jobs[i].input_key for i in todo)
    inputs, refused = _compute_inputs(plan, keys, images, adata, target, store)
    for i in todo:
        error = refused.get(plan.jobs[i].input_key)
        if error is not None:
            entries[i] = failed_entries(plan.jobs[i], error)
    tasks = [
        delayed(_numbered)(
            i,
            plan.jobs[i],
            inputs[plan.jobs[i].input_key],
            adata,
            plan.settings["random_state"],
            store,
            with_predictions,
            checkpoints,
        )
        for i in todo
        if entries[i] is None
    ]
    with (
        surviving(adata, *inputs.values()),
        tqdm(total=len(todo), desc="Fits", unit="fit", disable=not verbose) as bar,
    ):
        n_jobs = max(1, min(effective_n_jobs(n_jobs), len(tasks)))
        # As they end, where the backend can say so.
        streams = get_active_backend()[0].supports_return_generator
        parallel = Parallel(n_jobs, return_as="generator_unordered" if streams else "list")
        for i, done in parallel(tasks):
            entries[i] = done
            if store is not None:
                _keep(plan.jobs[i], done, store)
            bar.update()
            _tell(plan.jobs[i], done)
    return entries


def _numbered(i, job, X, adata, seed, store, *options):
    """One fit in a worker, which writes it down where it sees the folder of the caller."""
    with within_task():
        here = store if store is not None and store.is_here() else None
        return i, run_job(job, X, adata, seed, here, *options)


def _keep(job, done, store):
    """Write what a worker that does not see the folder sent back."""
    for row, _, key in job.rows():
        entry = done[row]
        if not entry["error"] and not store.has(key, entry["predictions"] is not None):
            store.write(key, entry)


def _finished(job, store, with_predictions):
    """The rows of a fit from the store, or None when one of them is missing."""
    if store is None:
        return None
    rows = {row: store.read(key, with_predictions) for row, _, key in job.rows()}
    return None if None in rows.values() else rows


def _compute_inputs(plan, keys, images, adata, target, store):
    """X by key; and by key the error of a featurizer that failed."""
    inputs, refused = {}, {}
    for key in keys:
        try:
            inputs[key] = _compute_input(plan.inputs[key], key, images, adata, target, store)
        except Exception as error:
            refused[key] = error
    if refused and not inputs:
        raise next(iter(refused.values()))
    return inputs, refused


def _compute_input(given, key, images, adata, target, store):
    spatial = adata.obsm.get(_keys.SPATIAL)
    if given.featurizer is None:
        if holds_features(images):
            return with_places(images, images, target, spatial)
        return images

    def compute():
        return compute_features(given.featurizer, images, given.train)

    features = compute() if store is None else store.features(key, compute)
    return with_places(images, features, target, spatial)


def _tell(job, rows):
    for row, entry in rows.items():
        if entry["error"]:
            logger.warning("%s failed, %s: %s", row, job.fold.name, entry["error"])
            logger.info("%s", entry["traceback"])
