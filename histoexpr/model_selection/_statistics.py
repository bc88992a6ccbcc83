"""Whether differences between methods are more than chance: tests, intervals, ranks."""

import itertools
import logging
from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.utils._param_validation import Interval, StrOptions

from .. import _keys
from ..exceptions import InputError
from ..utils import name_some
from ..utils._sklearn import validate_params
from ..utils._tables import check_columns
from ._names import check_known

logger = logging.getLogger(__name__)

GENE, METHOD = "gene", "method"
UNITS = (_keys.PATIENT, _keys.SECTION, GENE)  # the largest first
LEAST_PAIRS = 6  # of fewer, no Wilcoxon p-value is below 0.05: 2 / 2^5
LEAST_PATIENTS = 3
ERRORS = ("rmse", "mae")  # less is better

_CONSTRAINTS = {
    "results": [pd.DataFrame],
    "score": [str],
    "unit": [StrOptions(set(UNITS)), None],
    "reference": [str, None],
    "alpha": [Interval(Real, 0, 1, closed="neither")],
    "greater_is_better": ["boolean", None],
    "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    "n_resamples": [Interval(Integral, 1, None, closed="left")],
    "random_state": ["random_state"],
}


def _checked(*names):
    constraints = {name: _CONSTRAINTS[name] for name in ("results", "score", *names)}
    return validate_params(constraints, prefer_skip_nested_validation=True)


@_checked("reference", "unit")
def compare_methods(results, score="pearson", *, reference=None, unit=None):
    """Test every two methods against each other: paired, two-sided, corrected.

    Parameters
    ----------
    results : DataFrame
        One row a method, section and gene, with the columns ``method``, ``section``, ``patient``
        ("" where not known), ``gene`` and `score`, of one protocol and in one unit, as
        :func:`benchmark` returns it. Rows of one method, section and gene (several seeds) are
        averaged first.
    score : str, default="pearson"
        The column to compare.
    reference : str, default=None
        Compare each method with this one alone; None compares all pairs.
    unit : {"patient", "section", "gene"}, default=None
        What a pair is of: the mean score of a patient (over genes, then over its sections), of
        a section, or of a gene (over sections). None takes the largest with at least 6 pairs in
        each comparison, because of fewer no p-value can be below 0.05; else "gene".

    Returns
    -------
    DataFrame
        A row for each comparison. "method", "other"; "unit" and "n", the number of pairs;
        "median_difference", `method` minus `other`; "effect_size", the matched-pairs
        rank-biserial correlation [2]_ in [-1, 1], 1 when `method` is larger in every pair;
        "p_value" of Wilcoxon's signed-rank test [1]_, and "p_holm", corrected for all
        comparisons of the table [3]_; "note", what limits the conclusion.

    Raises
    ------
    ValueError
        If a column is missing, there are several protocols or units, fewer than two methods
        have scores, or a method or patients are not known.

    Notes
    -----
    Only sections and genes that both methods have a score for take part. Pairs without a
    difference count in "n", not in the test.

    A conclusion about *patients* needs patients as pairs. Sections of a patient resemble each
    other, and genes of a section even more: as if independent, they make any difference
    significant. Their p-values are about these sections only.

    References
    ----------
    .. [1] F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1,
       80-83 (1945).
    .. [2] D. S. Kerby, "The simple difference formula: an approach to teaching nonparametric
       correlation", Comprehensive Psychology 3 (2014).
    .. [3] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
       Journal of Statistics 6, 65-70 (1979).
    """
    from statsmodels.stats.multitest import multipletests

    wide = _wide(results, score)
    if reference is None:
        pairs = list(itertools.combinations(wide.columns, 2))
    else:
        check_known([reference], wide.columns, "methods")
        pairs = [(name, reference) for name in wide.columns if name != reference]
    tables = [wide[list(pair)].dropna() for pair in pairs]
    unit = _choose_unit([table for table in tables if len(table)], unit)
    rows = [
        {METHOD: one, "other": other, "unit": unit, **_test(_aggregate(table, unit), unit)}
        for (one, other), table in zip(pairs, tables)
    ]
    compared = pd.DataFrame(rows).astype({"p_value": float})
    tested = compared["p_value"].notna()
    compared["p_holm"] = np.nan
    if tested.any():
        corrected = multipletests(compared.loc[tested, "p_value"], method="holm")[1]
        compared.loc[tested, "p_holm"] = corrected
    return compared[[c for c in compared if c != "note"] + ["note"]]


@_checked("reference", "confidence_level", "n_resamples", "random_state")
def bootstrap_intervals(
    results,
    score="pearson",
    *,
    reference=None,
    confidence_level=0.95,
    n_resamples=9999,
    random_state=0,
):
    """Confidence interval of each method's mean score, over patients.

    Parameters
    ----------
    results : DataFrame
        As :func:`compare_methods` takes it.
    score : str, default="pearson"
        The column whose mean is wanted: over genes, then over sections.
    reference : str, default=None
        Give intervals of the difference from this method instead, on the sections and genes
        that both have.
    confidence_level : float, default=0.95
    n_resamples : int, default=9999
    random_state : int, RandomState instance or None, default=0
        Draws the patients.

    Returns
    -------
    DataFrame
        Index "method". "mean", "low", "high"; "n_patients", "n_sections"; "note". The interval
        is NaN, and "note" says why, under 3 patients or where they are not known.

    Raises
    ------
    ValueError
        As :func:`compare_methods`.

    Notes
    -----
    Percentile bootstrap with patients as clusters: patients are drawn with replacement, all
    sections of a patient together, and the mean is over the sections that were drawn. The
    intervals are too narrow for few patients: in a simulation with one to four sections each,
    those of 95 % covered the truth in 73 % of the cases with 3 patients, 81 % with 5, 89 % with
    8 and 92 % with 20.
    """
    wide = _wide(results, score, least=1 if reference is None else 2)
    names = list(wide.columns)
    if reference is not None:
        check_known([reference], names, "methods")
        names.remove(reference)
    rows = {}
    for name in names:
        values = wide[name] if reference is None else wide[name] - wide[reference]
        sections = _aggregate(values.dropna(), _keys.SECTION)
        patients = sections.groupby(_keys.PATIENT).agg(["sum", "size"])
        known = not (patients.index == "").any()
        low = high = np.nan
        if known and len(patients) >= LEAST_PATIENTS:
            low, high = stats.bootstrap(
                (patients["sum"].to_numpy(), patients["size"].to_numpy()),
                lambda sums, sizes, axis=-1: sums.sum(axis=axis) / sizes.sum(axis=axis),
                paired=True,
                vectorized=True,
                method="percentile",
                confidence_level=confidence_level,
                n_resamples=n_resamples,
                random_state=random_state,
            ).confidence_interval
        rows[name] = {
            "mean": sections.mean(), "low": low, "high": high,
            "n_patients": len(patients) if known else np.nan, "n_sections": len(sections),
            "note": _too_few(len(patients), known),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(METHOD)


@_checked("unit", "alpha", "greater_is_better")
def rank_methods(results, score="pearson", *, unit=None, alpha=0.05, greater_is_better=None):
    """Mean rank of each method, and by how much two must differ: a critical-difference table.

    Parameters
    ----------
    results : DataFrame
        As :func:`compare_methods` takes it.
    score : str, default="pearson"
        The column to rank by.
    unit : {"patient", "section", "gene"}, default=None
        What methods are ranked on, as in :func:`compare_methods`.
    alpha : float, default=0.05
        Level of the Nemenyi test.
    greater_is_better : bool, default=None
        None: unless `score` is "rmse" or "mae".

    Returns
    -------
    DataFrame
        Index "method", the best first. "mean_rank", 1 being the best, ties averaged. The same in
        every row: "critical_difference", of mean ranks, NaN for fewer than 2 units; "p_friedman"
        of the hypothesis that all methods are equal, NaN for fewer than 3 methods; "unit" and
        "n", how many were ranked on. :func:`rank_groups` says which methods belong together.

    Raises
    ------
    ValueError
        As :func:`compare_methods`, or if no section and gene has a score of every method.

    Notes
    -----
    Friedman's test, then the critical difference of Nemenyi's, as [1]_ draws it:
    CD = q √(k (k + 1) / (6 n)), with q the quantile of the studentised range for k methods over
    √2. What :func:`compare_methods` says of units holds here, too.

    A method without any score (a fit that failed throughout) is left out, with a line in the
    log; sections and genes that one of the others has no score for are, too.

    References
    ----------
    .. [1] J. Demšar, "Statistical comparisons of classifiers over multiple data sets", Journal
       of Machine Learning Research 7, 1-30 (2006).
    """
    wide = _wide(results, score)
    table = wide.dropna()
    if table.empty:
        raise InputError(
            f"no section and gene has a {score!r} of all {wide.shape[1]} methods, so there is "
            "nothing to rank them on: leave out those that failed on sections that others have."
        )
    unit = _choose_unit([table], unit)
    values = _aggregate(table, unit)
    if greater_is_better is None:
        greater_is_better = score not in ERRORS
    # rounded, so that equal predictions tie in spite of the last digit
    ranks = values.round(12).rank(axis=1, ascending=not greater_is_better)
    n, k = ranks.shape
    quantile = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    friedman = np.nan
    if k > 2 and n > 1 and (ranks.nunique(axis=1) > 1).any():
        friedman = stats.friedmanchisquare(*ranks.to_numpy().T).pvalue
    ranked = pd.DataFrame({"mean_rank": ranks.mean()}).sort_values("mean_rank", kind="stable")
    ranked["critical_difference"] = quantile * np.sqrt(k * (k + 1) / (6 * n)) if n > 1 else np.nan
    ranked["p_friedman"], ranked["unit"], ranked["n"] = friedman, unit, n
    return ranked.rename_axis(METHOD)


def rank_groups(ranked):
    """Methods whose mean ranks differ by less than the critical difference.

    Parameters
    ----------
    ranked : DataFrame
        As :func:`rank_methods` gives it.

    Returns
    -------
    list of list of str
        The largest groups of two methods or more, the best first: what a critical-difference
        diagram joins by a bar. A method may be in several.
    """
    check_columns(ranked, "ranked", (), ("mean_rank", "critical_difference"))
    ranks = ranked["mean_rank"].to_numpy()
    ends = [
        int(np.sum(ranks < rank + width))
        for rank, width in zip(ranks, ranked["critical_difference"])
    ]
    groups = []
    for start, end in enumerate(ends):
        inside = start > 0 and end <= max(ends[:start])
        if end - start > 1 and not inside:
            groups.append(ranked.index[start:end].tolist())
    return groups


def _wide(results, score, least=2):
    """Scores with a row for each patient, section and gene, a column for each method."""
    check_columns(results, "results", (METHOD, _keys.SECTION, GENE), (score,))
    scored = results[results[score].notna()]
    for column in ("protocol", "units"):
        found = scored[column].unique() if column in scored else []
        if len(found) > 1:
            raise InputError(
                f"results hold several {column} ({name_some(found)}), whose scores cannot be "
                f"compared: choose one, results[results[{column!r}] == {str(found[0])!r}]."
            )
    patient = scored[_keys.PATIENT].astype(object).fillna("") if _keys.PATIENT in scored else ""
    scored = scored.assign(**{_keys.PATIENT: patient})
    keys = [_keys.PATIENT, _keys.SECTION, GENE]
    wide = scored.groupby([*keys, METHOD], observed=True, sort=False)[score].mean().unstack()
    names = list(dict.fromkeys(results[METHOD]))
    failed = [name for name in names if name not in wide]
    if failed:
        logger.warning("no %r of %s: left out of the statistics", score, name_some(failed))
    if wide.shape[1] < least:
        raise InputError(
            f"at least {least} methods with a {score!r} are needed; there are {wide.shape[1]}."
        )
    return wide[[name for name in names if name in wide]]


def _aggregate(table, unit):
    """Mean score of each patient, section or gene."""
    if unit == GENE:
        return table.groupby(GENE).mean()
    sections = table.groupby([_keys.PATIENT, _keys.SECTION]).mean()
    return sections if unit == _keys.SECTION else sections.groupby(_keys.PATIENT).mean()


def _choose_unit(tables, unit):
    """The unit asked for; None: the largest with enough pairs in each table."""
    known = all((table.index.get_level_values(_keys.PATIENT) != "").all() for table in tables)
    if unit == _keys.PATIENT and not known:
        raise InputError(
            f"unit={unit!r} needs the patient of every section, and results do not say all: fill "
            f"the column {_keys.PATIENT!r}, or choose {_keys.SECTION!r}."
        )
    if unit is not None:
        return unit
    for candidate in UNITS[0 if known else 1 :]:
        if all(len(_aggregate(table, candidate)) >= LEAST_PAIRS for table in tables):
            return candidate
    return GENE


def _test(pairs, unit):
    """Wilcoxon's test of the columns of a table of two."""
    # rounded, so that equal scores tie in spite of the last digit
    difference = (pairs.iloc[:, 0] - pairs.iloc[:, 1]).round(12).to_numpy()
    n = len(difference)
    changed = difference[difference != 0]
    p_value, effect = (np.nan, np.nan) if n == 0 else (1.0, 0.0)
    if changed.size:
        p_value = stats.wilcoxon(changed).pvalue
        ranks = stats.rankdata(np.abs(changed))
        effect = (ranks * np.sign(changed)).sum() / ranks.sum()
    return {
        "n": n,
        "median_difference": np.median(difference) if n else np.nan,
        "effect_size": effect,
        "p_value": p_value,
        "note": _limits(pairs, unit),
    }


def _limits(pairs, unit):
    n = len(pairs)
    if n == 0:
        return "no section that both have a score for"
    notes = []
    if n < LEAST_PAIRS:
        notes.append(f"{n} pairs: p cannot be below {min(1.0, 2 / 2**n):.2g}")
    if unit == GENE:
        notes.append("genes are not independent: p is about these sections only")
    elif unit == _keys.SECTION:
        patients = pairs.index.get_level_values(_keys.PATIENT)
        if (patients == "").any():
            notes.append("patients are not known: sections may not be independent")
        elif patients.nunique() < n:
            notes.append("sections of a patient are not independent")
    return "; ".join(notes)


def _too_few(n_patients, known):
    if not known:
        return "patients are not known: no interval"
    if n_patients < LEAST_PATIENTS:
        return f"{n_patients} patients: no interval under {LEAST_PATIENTS}"
    return f"{n_patients} patients: the interval is too narrow" if n_patients < 10 else ""
