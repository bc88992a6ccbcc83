"""From the scores of single fits to tables."""

import logging

import numpy as np
import pandas as pd

from .. import _keys
from ..utils._tables import check_columns
from ._fit import SCORES
from ._names import check_known

logger = logging.getLogger(__name__)


def tidy(jobs, entries, target, random_state):
    """The results of all fits, one row a method, fold, section and gene.

    Parameters
    ----------
    jobs : list of Job
    entries : list of dict of str to dict
        What `run_job` gave for each.
    target : SpotTarget
    random_state : int

    Returns
    -------
    DataFrame
        See `benchmark`.
    """
    section = np.full(len(target), "") if target.section is None else target.section
    patients = {}
    if target.patient is not None:
        patients = dict(zip(section.tolist(), target.patient.tolist()))
    frames = []
    for job, rows in zip(jobs, entries):
        for row, entry in rows.items():
            frame = entry["scores"]
            if entry["error"]:
                frame = _failed_rows(section[job.fold.test])
            shared = job.fold.shared_patients
            patient = frame[_keys.SECTION].map(patients).fillna("")
            known = pd.NA if shared is None else patient.isin(shared)
            columns = {
                "protocol": job.fold.protocol,
                "method": row,
                "control": job.method.control,
                "fold": job.fold.name,
                _keys.SECTION: frame[_keys.SECTION],
                _keys.PATIENT: patient,
                "patient_in_training": pd.Series(known, frame.index, dtype="boolean"),
                "gene": frame["gene"],
                **{score: frame[score] for score in SCORES},
                "units": entry["units"],
                "n_train": len(job.fold.train),
                "n_spots": frame["n_spots"],
                "seconds_fit": entry["seconds_fit"],
                "seconds_predict": entry["seconds_predict"],
                "peak_memory": entry["peak_memory"],
                "seed": random_state,
                "error": entry["error"],
                "fit": job.key,
            }
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def join_predictions(plan, entries):
    """The predictions of each method in all folds, as one AnnData in the order of the spots.

    Parameters
    ----------
    plan : Plan
    entries : list of dict of str to dict
        What `run_job` gave for each of its jobs.

    Returns
    -------
    dict of str to AnnData
        Genes that were not predicted in a fold are NaN there.
    """
    import anndata

    parts, units = {}, {}
    for job, rows in zip(plan.jobs, entries):
        for row, entry in rows.items():
            if not entry["error"]:
                # Protocols share fits, so a kept prediction does not know its fold.
                fold = entry["predictions"].copy()
                fold.obs["fold"] = pd.Categorical([job.fold.name] * fold.n_obs)
                parts.setdefault(row, []).append(fold)
                units[row] = entry["units"]
    joined = {}
    for row, folds in parts.items():
        whole = anndata.concat(folds, join="outer")
        joined[row] = whole[np.argsort(whole.obs["row"].to_numpy(), kind="stable")].copy()
        joined[row].uns[_keys.UNS] = {
            "method": row,
            "units": units[row],
            "protocol": plan.settings["protocol"],
            "versions": plan.settings["versions"],
        }
    return joined


def _failed_rows(section):
    names, n_spots = np.unique(section, return_counts=True)
    nothing = dict.fromkeys(SCORES, np.nan)
    return pd.DataFrame({_keys.SECTION: names, "gene": "", "n_spots": n_spots, **nothing})


def summarize(results, score="pearson"):
    """Mean score of each method in each section: over genes, then over sections.

    Parameters
    ----------
    results : DataFrame
        As `benchmark` returns it; several may be concatenated.
    score : {"pearson", "rmse", "mae"}, default="pearson"

    Returns
    -------
    DataFrame
        Index (protocol, method), in order of appearance. A column for each section: the mean
        over the genes that have a score. Then "mean", over sections; "undefined", how many genes of
        all sections have none (a gene that does not vary in a section has no correlation);
        "failed", fits that failed. The sections of a failed fit are NaN and not part of "mean".

    Raises
    ------
    ValueError
        If there is no such score, or a column is missing.
    TypeError
        If `results` is no DataFrame.
    """
    check_known([score], SCORES, "scores")
    index = ["protocol", "method"]
    check_columns(results, "results", [*index, "fold", _keys.SECTION, "error"], [score])
    failed = results["error"] != ""
    table = results.groupby([*index, _keys.SECTION], sort=False)[score].mean().unstack()
    order = list(dict.fromkeys(results[_keys.SECTION]))
    table = table[order].rename_axis(columns=None)
    sections = table.columns
    table = table.loc[list(dict.fromkeys(zip(*(results[name] for name in index))))]
    table["mean"] = table[sections].mean(axis=1)
    undefined = results[score].isna() & ~failed
    failed &= ~results.duplicated([*index, "fold"])
    for name, rows in (("undefined", undefined), ("failed", failed)):
        counts = rows.groupby([results[column] for column in index], sort=False).sum()
        table[name] = counts.reindex(table.index).astype(int)
    return table
