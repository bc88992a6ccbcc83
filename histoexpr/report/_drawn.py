"""Which predictions are drawn: by rules that look at no test score."""

import numpy as np

from .. import _keys
from ..exceptions import InputError
from ..metrics import noise_ceiling
from ..preprocessing import ExpressionTransformer
from ..utils import name_some
from ._blocks import Section
from ._pictures import NEIGHBORS_KEY, map_figure, neighbor_figure

ALIKE = 0.5  # correlation over training spots, from which on a second gene shows nothing new


def drawn_sections(results, predictions, images, adata, *, method, section, genes, n_genes):
    """Genes of one test section as maps, and the neighbours of a few of its spots.

    Parameters
    ----------
    results, predictions, images, adata, method, section, genes, n_genes
        See `write_report`.

    Returns
    -------
    list of Section
    """
    shown = _choose_method(results, predictions, method)
    predicted = _choose_section(predictions[shown], shown, section)
    rules = []
    if method is None:
        rules.append(f"{shown} is the first of the methods that were asked for.")
    if section is None:
        rules.append("The section is the one with the most spots.")
    if genes is None:
        train = _training_rows(results, predicted, adata)
        genes = choose_genes(list(predicted.var_names), adata[train], n_genes)
        rules.append(
            "The genes are those measured best in the training sections of this fold (highest "
            f"counting-noise ceiling), each correlating below {ALIKE} with those before it there."
        )
    rule = " ".join(rules)
    found = [Section("maps", "Gene maps", [map_figure(predicted, shown, genes, images, rule)])]
    for name in () if images is None else [shown] if method else [shown, *predictions]:
        other = predictions[name]
        if NEIGHBORS_KEY not in other.obsm:
            continue
        # by row, not by name: barcodes repeat from section to section
        same = other[other.obs["row"].isin(predicted.obs["row"]).to_numpy()]
        if same.n_obs == predicted.n_obs:
            blocks = [neighbor_figure(same.copy(), name, images)]
            return [*found, Section("neighbours", "What predictions are made of", blocks)]
    return found


def choose_genes(genes, adata, n_genes):
    """The genes that are measured best, each unlike those before it.

    In the order of their counting-noise ceiling (they vary over a section, and by more than the
    chance of counting), passing over those that correlate with one that is chosen.

    Parameters
    ----------
    genes : list of str
        To choose from.
    adata : AnnData of shape (n_spots, n_genes)
        Raw counts of the training spots.
    n_genes : int

    Returns
    -------
    list of str
        `n_genes` or fewer.
    """
    expression = ExpressionTransformer(genes).fit(adata)
    ceiling = noise_ceiling(adata, expression, n_splits=2, random_state=0).mean()
    values = expression.transform(adata)
    columns = dict(zip(genes, values.T))
    chosen = []
    for gene in ceiling.dropna().sort_values(ascending=False, kind="stable").index:
        if len(chosen) == n_genes:
            break
        alike = [np.corrcoef(columns[gene], columns[other])[0, 1] for other in chosen]
        if all(abs(r) < ALIKE for r in alike):
            chosen.append(gene)
    return chosen


def _choose_method(results, predictions, method):
    """The method asked for, or the first with predictions, controls last."""
    if method is None:
        controls = set(results.loc[results["control"], "method"])
        return min(predictions, key=lambda name: name in controls)
    if method not in predictions:
        raise InputError(
            f"method={method!r} has no predictions; there are {name_some(predictions)}."
        )
    return method


def _choose_section(predicted, method, section):
    names = predicted.obs[_keys.SECTION].astype(str)
    if section is None:
        section = names.value_counts().index[0]
    if section not in set(names):
        raise InputError(
            f"section={section!r} has no predictions of {method}; there are "
            f"{name_some(names.unique())}."
        )
    chosen = predicted[(names == section).to_numpy()]
    # a method that chooses genes in each fold has predicted others elsewhere
    return chosen[:, np.isfinite(chosen.X).all(axis=0)].copy()


def _training_rows(results, predicted, adata):
    """The training spots of the fold that predicted these."""
    folds = results.attrs.get("settings", {}).get("folds", [])
    section = predicted.obs[_keys.SECTION].iloc[0]
    train = next((fold["train"] for fold in folds if section in fold["test"]), [])
    if adata is None or not train:
        raise InputError(
            "genes are chosen on training spots, for which adata and the settings of the results "
            "(results.attrs) are needed; name the genes to draw: genes=[...]."
        )
    return adata.obs[_keys.SECTION].isin(train).to_numpy()
