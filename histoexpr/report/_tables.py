"""The results of a benchmark as tables."""

import numpy as np
import pandas as pd

from .. import _keys
from ..model_selection import summarize
from ._blocks import Column, Group, Table
from ._words import amount, listed, number, percent, seconds

FAILED = "failed"


def score_table(results, ceiling=None, published=None):
    """Methods by sections: mean PCC, what it was made with and what it is measured against.

    Parameters
    ----------
    results : DataFrame
        Of one protocol, as `histoexpr.model_selection.benchmark` returns it.
    ceiling : Series or None, default=None
        The counting-noise ceiling of the mean PCC, by section.
    published : DataFrame or None, default=None
        Published mean PCC: a row for each section, a column for each method.

    Returns
    -------
    Table
    """
    summary = summarize(results).droplevel(0)
    sections = list(dict.fromkeys(results[_keys.SECTION]))
    settings = results.attrs.get("settings", {}).get("methods", {})
    controls = set(results.loc[results["control"], "method"])

    units = results.loc[results["units"] != ""].groupby("method")["units"].first()
    usual = units.mode().iloc[0] if len(units) else ""  # those of the ceiling

    def row(name, scores, **more):
        scores = scores.reindex(sections).astype(float)
        cells = {_key(section): number(score) for section, score in scores.items()}
        own = units.get(name, usual)
        if own != usual:
            more["note"] = ". ".join(filter(None, [more.get("note"), f"In {own}"]))
        return {"name": name, **cells, **_mean(scores, ceiling if own == usual else None), **more}

    groups = {"Methods": [], "Controls": [], "As published": []}
    for name, line in summary.sort_values("mean", ascending=False, kind="stable").iterrows():
        note = settings.get(name, {}).get("note", "")
        made = row(name, line, undefined=amount(line["undefined"]), note=note)
        for section in _failed_sections(results, name):
            made[_key(section)] = FAILED
        groups["Controls" if name in controls else "Methods"].append(made)
    for name in () if published is None else published:
        groups["As published"].append(row(name, published[name], share=""))
    foot = _sizes(results, sections)
    if ceiling is not None:
        foot.insert(0, row("Counting-noise ceiling", ceiling, share=""))
    columns = [
        Column("name", "Method", ""),
        *(Column(_key(name), name, notes=_patient(results, name)) for name in sections),
        Column("mean", "Mean", notes=["over sections"]),
        Column("share", "Reached", notes=["of the ceiling"]),
        Column("undefined", "NaN", notes=["gene × section"]),
        Column("note", "Settings", "words"),
    ]
    groups = [Group(name, rows) for name, rows in groups.items() if rows]
    used = {key for g in groups for row in g.rows for key, cell in row.items() if cell}
    return Table(
        _score_caption(usual),
        [column for column in columns if column.key in used],
        groups,
        foot,
        _score_notes(results, ceiling, published),
        wide=True,
    )


def cost_table(results):
    """What each method costs: seconds and memory."""
    rows = []
    fits = results.drop_duplicates(["method", "fold"])
    for name, part in fits.groupby("method", sort=False):
        rows.append(
            {
                "name": name,
                "fit": seconds(part["seconds_fit"].mean()),
                "predict": seconds(part["seconds_predict"].mean()),
                "memory": seconds(part["peak_memory"].max() / 1024),
            }
        )
    columns = [
        Column("name", "Method", ""),
        Column("fit", "Fit", notes=["seconds, mean over folds"]),
        Column("predict", "Predict", notes=["seconds, mean over folds"]),
        Column("memory", "Memory", notes=["GiB at the peak"]),
    ]
    caption = (
        "Cost of a fold. Features are computed once for all methods and are not in it; rows of "
        "one fit share it; the memory is that of the whole process, data included."
    )
    return Table(caption, columns, [Group("", rows)])


def error_table(results):
    """The fits that failed, and why; None when there are none."""
    failed = results[results["error"] != ""].drop_duplicates(["method", "fold"])
    if failed.empty:
        return None
    rows = [
        {"name": method, "fold": listed(part["fold"]), "error": error}
        for (method, error), part in failed.groupby(["method", "error"], sort=False)
    ]
    columns = [
        Column("name", "Method", ""),
        Column("fold", "Folds", "names"),
        Column("error", "Error", "words"),
    ]
    caption = "Fits that failed. Their sections are left out of the method's mean."
    return Table(caption, columns, [Group("", rows)])


def fold_table(folds):
    """Who was tested, and from whom was learnt.

    Parameters
    ----------
    folds : list of dict
        With ``name``, ``train``, ``test`` (names of sections) and ``shared_patients``.

    Returns
    -------
    Table
    """
    rows = [
        {
            "name": fold["name"],
            "test": listed(fold["test"]),
            "train": listed(fold["train"]),
            "shared": _shared(fold["shared_patients"]),
        }
        for fold in folds
    ]
    columns = [
        Column("name", "Fold", ""),
        Column("test", "Test sections", "names"),
        Column("train", "Training sections", "names"),
        Column("shared", "Patients on both sides", ""),
    ]
    return Table("Folds of the protocol.", columns, [Group("", rows)])


def _key(section):
    return f"section {section}"


def _mean(scores, ceiling):
    known = scores.notna()
    if not known.any():
        return {"mean": number(np.nan)}
    mean = number(scores.mean()) + (f" ({known.sum()} of {len(known)})" if not known.all() else "")
    if ceiling is None:
        return {"mean": mean}
    possible = ceiling.reindex(scores.index[known]).mean()
    return {"mean": mean, "share": percent(scores.mean() / possible)}


def _failed_sections(results, method):
    failed = (results["method"] == method) & (results["error"] != "")
    return results.loc[failed, _keys.SECTION].unique()


def _patient(results, section):
    """What stands below the name of a section."""
    first = results.loc[results[_keys.SECTION] == section].iloc[0]
    seen = first["patient_in_training"]
    return [
        *[f"patient {first[_keys.PATIENT]}"] * bool(first[_keys.PATIENT]),
        *["also in training"] * (not pd.isna(seen) and bool(seen)),
    ]


def _sizes(results, sections):
    """Rows of the foot: how many genes and spots a section's scores stand on."""
    scored = results[results["error"] == ""]
    by_method = scored.groupby([_keys.SECTION, "method"], observed=True)["pearson"].count()
    genes = by_method.groupby(level=0).min().reindex(sections, fill_value=0)
    spots = results.groupby(_keys.SECTION, observed=True)["n_spots"].first()
    return [
        {"name": title, **{_key(section): amount(counts[section]) for section in sections}}
        for title, counts in (("Genes scored", genes), ("Spots", spots))
    ]


def _shared(patients):
    return "not known" if patients is None else listed(patients) or "none"


def _score_caption(units):
    return (
        "Pearson correlation (PCC) of predicted and measured expression over the spots of the test "
        f"section, mean over genes. Expression: {units}."
    )


def _score_notes(results, ceiling, published):
    notes = []
    n_nan = int((results["pearson"].isna() & (results["error"] == "")).sum())
    if n_nan:
        notes.append(
            "NaN: pairs of a gene and a section in which the gene does not vary, so that it has no "
            "correlation. They are left out of the means."
        )
    if ceiling is not None:
        notes.append(
            "Counting-noise ceiling: what counting a sample of the molecules leaves possible, from "
            "counts split in two; on average no predictor passes it."
        )
    if published is not None:
        notes.append(
            "As published: figures of the papers for these sections, with the papers' own training "
            "sections (mostly more), features and normalisation: beside ours for orientation, not "
            "on one scale."
        )
    return notes
