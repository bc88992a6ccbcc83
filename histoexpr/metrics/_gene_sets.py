"""The genes over which a mean is taken, each set named by how it was chosen."""

import logging
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval

from ..data import unpack_target
from ..exceptions import InputError
from ..preprocessing import ExpressionTransformer
from ..utils import name_some
from ..utils._sklearn import validate_params
from ..utils._validation import as_array

logger = logging.getLogger(__name__)


@validate_params(
    {
        "n_genes": [Interval(Integral, 1, None, closed="left")],
        "min_share": [Interval(Real, 0, 1, closed="left")],
        "scores": [dict, None],
        "markers": [dict, None],
    },
    prefer_skip_nested_validation=True,
)
def gene_sets(y, genes=None, *, n_genes=50, min_share=0.1, scores=None, markers=None):
    """Sets of genes to average scores over.

    Every set is chosen on what is passed in, so **pass training spots**: the genes that vary
    most, or are predicted best, on the test spots are known only to those who have seen them.

    Parameters
    ----------
    y : AnnData of shape (n_spots, n_genes_in), DataFrame or array-like of the same shape
        Raw counts of the training spots.
    genes : array-like of str, default=None
        The genes that are predicted (``model.genes_``); None takes all of `y`.
    n_genes : int, default=50
        Size of the sets that are ranked.
    min_share : float, default=0.1
        Part of the spots in which a gene must have counts to be ranked by how it varies:
        genes that a handful of spots caught vary most, and nobody can predict them.
    scores : dict of str to Series or DataFrame, default=None
        A score of each gene (larger is better), by gene; of a DataFrame, such as
        :func:`score_table` gives for the held-out folds of a cross-validation *inside* the
        training spots, the mean over rows. The key says in words what was scored.
    markers : dict of str to list of str, default=None
        Sets of your own.

    Returns
    -------
    dict of str to ndarray of str
        - "all": the predicted genes;
        - "top-50 expressed": those with the most counts;
        - "top-50 variable": those that :func:`scanpy.pp.highly_variable_genes` ranks first, by
          section (as :class:`ExpressionTransformer` chooses them);
        - "most predictable (by <key>)": the 50 with the highest of the `scores`. Chosen by
          scores on test spots, its mean is no result, and the key must say so;
        - `markers` under their own names.

        Ranked sets keep the order of "all". One that would need more genes than qualify is
        left out, with a line in the log.

    Raises
    ------
    ValueError
        If `y` holds no counts, a gene is missing from `y`, a marker is not among the predicted
        genes, `scores` have none of them, or two sets share a name.

    Examples
    --------
    >>> from histoexpr.datasets import make_spatial_expression
    >>> from histoexpr.metrics import gene_sets
    >>> _, adata = make_spatial_expression(1, grid=(6, 6), n_genes=40, mpp=2, random_state=0)
    >>> sets = gene_sets(adata, n_genes=10, markers={"tumour": ["gene_003", "gene_007"]})
    >>> {name: len(genes) for name, genes in sets.items()}
    {'all': 40, 'top-10 expressed': 10, 'top-10 variable': 10, 'tumour': 2}
    """
    target = unpack_target(y)
    panel = ExpressionTransformer(genes).fit(target).genes_
    columns = pd.Index(target.genes).get_indexer(panel)
    target = replace(target, matrix=target.matrix[:, columns], genes=panel)
    least = max(1, int(np.ceil(min_share * len(target))))
    rankings = {
        f"top-{n_genes} expressed": ("highly_expressed", 1),
        f"top-{n_genes} variable": ("highly_variable", least),
    }
    spots = np.asarray((target.matrix > 0).sum(axis=0)).ravel()
    sets = {"all": panel}
    for name, (rule, least) in rankings.items():
        if _enough(name, int((spots >= least).sum()), n_genes):
            chosen = ExpressionTransformer(rule, n_genes=n_genes, min_spots=least - 1)
            sets[name] = chosen.fit(target).genes_
    for what, values in (scores or {}).items():
        name = f"most predictable (by {what})"
        scored = _mean_score(values, panel, what)
        if _enough(name, len(scored), n_genes):
            first = scored.sort_values(ascending=False, kind="stable").index[:n_genes]
            sets[name] = panel[np.isin(panel, first)]
    for name, chosen in (markers or {}).items():
        if name in sets:
            raise InputError(f"markers name a set {name!r}, which is there already: rename it.")
        sets[name] = _check_markers(chosen, panel, name)
    return sets


@validate_params(
    {"scores": [pd.DataFrame], "sets": [dict]}, prefer_skip_nested_validation=True
)
def summarize_gene_sets(scores, sets):
    """Mean score of each set of genes: over its genes, then over sections.

    Parameters
    ----------
    scores : DataFrame of shape (n_sections, n_genes)
        As :func:`score_table` or :func:`pearson_per_section` gives it, columns named by gene.
    sets : dict of str to array-like of str
        As :func:`gene_sets` gives it.

    Returns
    -------
    DataFrame of shape (n_sets, 4)
        A row for each set. "mean": every section weighs the same, a section without any score
        is left out; of a pooled table, the mean over genes. "n_genes"; "n_sections": how many
        have a mean; "n_undefined": the pairs of section and gene without a score (NaN), which
        are left out.

    Raises
    ------
    ValueError
        If a gene of a set is not among the columns.
    """
    rows = {}
    for name, genes in sets.items():
        genes = as_array(genes, f"the set {name!r}", dtype=object).ravel().tolist()
        missing = [gene for gene in genes if gene not in scores.columns]
        if missing:
            raise InputError(
                f"the set {name!r} has genes without a column in scores: {name_some(missing)}."
            )
        chosen = scores[genes]
        means = chosen.mean(axis=1)
        rows[name] = {
            "mean": means.mean(),
            "n_genes": chosen.shape[1],
            "n_sections": int(means.notna().sum()),
            "n_undefined": int(chosen.isna().to_numpy().sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("gene_set")


def _enough(name, n_candidates, n_genes):
    if n_candidates < n_genes:
        logger.info("no set %r: only %d genes qualify", name, n_candidates)
    return n_candidates >= n_genes


def _mean_score(values, panel, what):
    """The score of each gene of the panel that has one, in the order of the panel."""
    values = values.mean(axis=0) if isinstance(values, pd.DataFrame) else _as_series(values, what)
    if not values.index.isin(panel).any():
        raise InputError(
            f"scores[{what!r}] has none of the {len(panel)} predicted genes: its index (of a "
            "DataFrame, its columns) must name genes."
        )
    return values.reindex(panel).dropna()


def _as_series(values, what):
    try:
        return pd.Series(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"scores[{what!r}] must be a number for each gene ({error}).") from error


def _check_markers(chosen, panel, name):
    chosen = as_array(chosen, f"markers[{name!r}]", dtype=str).ravel()
    missing = chosen[~np.isin(chosen, panel)]
    if missing.size or not chosen.size:
        raise InputError(
            f"markers[{name!r}] must name genes that are predicted; got {chosen.size}, of which "
            f"{missing.size} are not among the {len(panel)}: {name_some(missing)}."
        )
    return chosen
