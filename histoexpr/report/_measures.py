"""Further measures beside the mean PCC: sets of genes, errors, domains."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from .. import _keys
from ..metrics import domain_agreement, gene_sets
from ..model_selection import summarize
from ._blocks import Column, Group, Table
from ._words import listed, number

_AGREEMENT = {"ari": "ARI", "nmi": "NMI"}


def measure_table(results, adata=None, predictions=None):
    """Methods by measures, means over sections.

    Parameters
    ----------
    results : DataFrame
        Of one protocol.
    adata : AnnData or None, default=None
        The raw counts that were benchmarked: sets of genes are chosen on its training spots,
        domains are those of ``obs["domain"]``.
    predictions : dict of str to AnnData, or None, default=None

    Returns
    -------
    Table
    """
    measures = pd.DataFrame({score: _means(results, score) for score in ("rmse", "mae")})
    sets = pd.DataFrame() if adata is None else _set_means(results, adata)
    domains = possible = pd.DataFrame()
    if predictions and adata is not None and _keys.DOMAIN in adata.obs:
        with threadpool_limits(1):  # k-means of few spots waits for its threads, not for results
            domains, possible = _domain_means(predictions, adata)
    measures = measures.join(sets).join(domains)
    order = _means(results, "pearson").sort_values(ascending=False, kind="stable").index
    groups = [Group("", [_row(name, measures.loc[name]) for name in order])]
    columns = [
        Column("name", "Method", ""),
        *(Column(name, f"PCC, {name}") for name in sets),
        *(Column(name, title, notes=["domains"]) for name, title in _AGREEMENT.items()
          if name in domains),
        Column("rmse", "RMSE"),
        Column("mae", "MAE"),
    ]  # fmt: skip
    foot = [_row("Measured expression", row) for _, row in possible.iterrows()]
    return Table(_caption(results, sets, domains), columns, groups, foot, wide=True)


def _row(name, values):
    return {"name": name, **{measure: number(value) for measure, value in values.items()}}


def _means(results, score):
    return summarize(results, score).droplevel(0)["mean"]


def _set_means(results, adata):
    """Mean PCC of each method over sets of genes that each fold's training spots chose."""
    scored = results[results["error"] == ""]
    genes = scored["gene"].unique()
    parts = []
    for fold in results.attrs.get("settings", {}).get("folds", []):
        train = adata.obs[_keys.SECTION].isin(fold["train"]).to_numpy()
        if not train.any() or not len(genes):
            continue
        sets = gene_sets(adata[train], genes)
        mine = scored[scored["fold"] == fold["name"]]
        parts += [
            mine[mine["gene"].isin(chosen)].assign(set=name)
            for name, chosen in sets.items() if name != "all"
        ]  # fmt: skip
    if not parts:
        return pd.DataFrame()
    by_section = pd.concat(parts).groupby(["method", "set", _keys.SECTION], sort=False)["pearson"]
    return by_section.mean().groupby(level=[0, 1], sort=False).mean().unstack()


def _domain_means(predictions, adata):
    """Agreement with labelled domains, a row a method; and that of measured expression."""
    rows = {}
    for name, predicted in predictions.items():
        everywhere = np.isfinite(predicted.X).all(axis=0)
        given = {
            "labels": adata.obs[_keys.DOMAIN].iloc[predicted.obs["row"].to_numpy()].to_numpy(),
            _keys.SECTION: predicted.obs[_keys.SECTION].to_numpy(),
            "random_state": 0,
        }
        found = domain_agreement(predicted.X[:, everywhere], **given)
        rows[name] = found[list(_AGREEMENT)].mean()
    found = domain_agreement(predicted.layers[_keys.MEASURED][:, everywhere], **given)
    tables = pd.DataFrame(rows).T, found[list(_AGREEMENT)].mean().to_frame().T
    known = tables[0].columns[tables[0].notna().any()]
    return tables[0][known], tables[1][known]


def _caption(results, sets, domains):
    units = listed(dict.fromkeys(results.loc[results["units"] != "", "units"]))
    words = ["Further measures, means over sections, methods in the order of their mean PCC."]
    if len(sets.columns):
        words.append(
            "Sets of genes are chosen on the training spots of each fold: those with the most "
            "counts, those that vary most."
        )
    if len(domains.columns):
        words.append(
            "ARI and NMI: agreement of clusters of predicted expression (principal components, "
            "k-means) with the domains labelled in the data."
        )
    words.append(f"Errors (root mean square, mean absolute) in {units}.")
    return " ".join(words)
