"""Whether methods differ: intervals, paired tests, ranks."""

from ..model_selection import bootstrap_intervals, compare_methods, rank_methods
from ..plotting import plot_ranks
from ._blocks import Column, Figure, Group, Table, Text
from ._svg import to_svg
from ._words import amount, listed, number, plural

# What methods are tested against, where it is there: the first of them.
REFERENCES = ("tuned ridge", "kNN")
_LEAST_P = 1e-4


def statistics_blocks(results):
    """Tables and a figure on the differences between methods.

    Returns
    -------
    list of blocks
    """
    scored = results[results["pearson"].notna()]
    if scored["units"].nunique() > 1:
        units = listed(dict.fromkeys(scored["units"]))
        text = f"The methods are not compared by tests: they predict in several units ({units})."
        return [Text(text)]
    if scored["method"].nunique() < 2:
        return []
    results = results[results["method"].isin(scored["method"])]
    reference = next((name for name in REFERENCES if name in set(scored["method"])), None)
    tested = [] if reference is None else [_test_table(results, reference)]
    return [_intervals(results), *tested, _rank_figure(results)]


def _intervals(results):
    """Intervals over patients as a table, or why there are none."""
    intervals = bootstrap_intervals(results)
    if intervals["low"].isna().all():
        return Text(f"There are no intervals over patients: {listed(set(intervals['note']))}.")
    rows = [
        {
            "name": name,
            "mean": number(row["mean"]),
            "low": number(row["low"]),
            "high": number(row["high"]),
            "patients": number(row["n_patients"], 0),
            "sections": amount(row["n_sections"]),
        }
        for name, row in intervals.sort_values("mean", ascending=False, kind="stable").iterrows()
    ]
    columns = [
        Column("name", "Method", ""),
        Column("mean", "Mean PCC"),
        Column("low", "95 % from"),
        Column("high", "to"),
        Column("patients", "Patients"),
        Column("sections", "Sections"),
    ]
    caption = (
        "Mean PCC with its 95 % interval over patients (percentile bootstrap: patients are drawn "
        "with all of their sections)."
    )
    return Table(caption, columns, [Group("", rows)], notes=_sentences(intervals["note"]))


def _test_table(results, reference):
    compared = compare_methods(results, reference=reference)
    unit, n = compared["unit"].iloc[0], int(compared["n"].max())
    order = compared.sort_values("median_difference", ascending=False, kind="stable")
    rows = [
        {
            "name": row["method"],
            "difference": number(row["median_difference"]),
            "effect": number(row["effect_size"], 2),
            "p": _p_value(row["p_value"]),
            "holm": _p_value(row["p_holm"]),
        }
        for _, row in order.iterrows()
    ]
    columns = [
        Column("name", "Method", ""),
        Column("difference", "Difference", notes=["median of pairs"]),
        Column("effect", "Effect size", notes=["rank-biserial, −1 to 1"]),
        Column("p", "p"),
        Column("holm", "p", notes=["corrected (Holm)"]),
    ]
    caption = (
        f"Each method against {reference}: Wilcoxon's signed-rank test, paired by {unit} "
        f"({plural(n, unit)}), two-sided."
    )
    return Table(caption, columns, [Group("", rows)], notes=_sentences(compared["note"]))


def _rank_figure(results):
    complete = results.groupby("method")["error"].transform(lambda e: (e == "").all())
    if results.loc[complete, "method"].nunique() < 2:
        return None
    ranked = rank_methods(results[complete])
    ax = plot_ranks(ranked, controls=set(results.loc[results["control"], "method"]))
    unit, n = ranked["unit"].iloc[0], int(ranked["n"].iloc[0])
    caption = (
        f"Mean rank of each method over {plural(n, unit)}. Upright bars join methods whose ranks "
        "differ by less than the critical difference (Nemenyi's test, 5 %). Friedman's test of "
        f"no difference at all: p {_p_value(ranked['p_friedman'].iloc[0])}."
    )
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in ranked["mean_rank"].items())
    return Figure(caption, [to_svg(ax, "ranks", f"Mean ranks, the best first: {ranks}.")])


def _p_value(p):
    return f"< {_LEAST_P:.4f}" if p < _LEAST_P else number(p, 4)


def _sentences(notes):
    """What limits conclusions, each said once."""
    return [f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes) if note]
