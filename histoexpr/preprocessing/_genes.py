"""Which genes: named by the user, or chosen by a rule from the training spots."""

import warnings

import numpy as np
import pandas as pd
import scipy.sparse

from .. import _keys
from ..exceptions import InputError
from ..utils import name_some
from ..utils._validation import as_array

_ROUNDING = 16 * np.finfo(np.float32).eps
RANKED = {"highly_variable", "highly_expressed"}
RULES = RANKED | {"expressed"}


def check_names(genes):
    """Gene names as an array of str, refusing an empty list, other things, and repeats."""
    genes = as_array(genes, "genes")
    if genes.ndim != 1 or genes.size == 0 or not all(isinstance(gene, str) for gene in genes):
        raise InputError(
            "genes must be a rule or a non-empty list of names; got an array of shape "
            f"{genes.shape} and dtype {genes.dtype}."
        )
    genes = genes.astype(str)
    names, times = np.unique(genes, return_counts=True)
    if (times > 1).any():
        raise InputError(f"genes are named more than once: {name_some(names[times > 1])}.")
    return genes


def find_columns(genes, target, what):
    """Columns of `target` that hold `genes`, in their order."""
    columns = pd.Index(target.genes).get_indexer(genes)
    missing = genes[columns < 0]
    if missing.size == 0:
        return columns
    hint = "Keep them in adata, or fit with genes that all data share."
    by_lower = {gene.lower(): gene for gene in target.genes}
    close = [by_lower[gene.lower()] for gene in missing if gene.lower() in by_lower]
    if close:
        hint = f"Names differ in case: adata has {name_some(close)}."
    elif not target.from_adata and target.genes[0] == "x0":
        hint = "An array has no gene names: pass an AnnData or a DataFrame."
    raise InputError(
        f"{missing.size} of the {genes.size} {what} are missing among the {len(target.genes)} "
        f"given: {name_some(missing)}. {hint}"
    )


def choose_genes(target, rule, n_genes, min_spots):
    """Columns that a rule chooses, ascending.

    Parameters
    ----------
    target : SpotTarget
        Raw counts.
    rule : {"highly_variable", "highly_expressed", "expressed"}
    n_genes, min_spots : int or None
        See :class:`ExpressionTransformer`.

    Returns
    -------
    ndarray of int

    Raises
    ------
    ValueError
        If the rule lacks its number, or too few genes have counts.
    """
    import scanpy as sc

    if rule in RANKED and n_genes is None:
        raise InputError(f"genes={rule!r} needs n_genes=, the number of genes to choose.")
    if rule == "expressed" and (min_spots is None or n_genes is not None):
        raise InputError(
            f"genes='expressed' needs min_spots= and takes no n_genes; got min_spots={min_spots}, "
            f"n_genes={n_genes}. 'highly_expressed' chooses a given number of genes."
        )
    least = (min_spots or 0) + 1
    kept, _ = sc.pp.filter_genes(target.matrix, min_cells=least, inplace=False)
    candidates = np.flatnonzero(kept)
    if len(candidates) < (n_genes or 1):
        raise InputError(
            f"genes={rule!r} is to choose {n_genes or 'some'} genes, but {len(candidates)} of "
            f"{len(kept)} have counts in at least {least} of the {len(target)} spots; lower "
            "n_genes or min_spots."
        )
    if rule == "expressed":
        return candidates
    counts = target.matrix[:, candidates]
    if rule == "highly_expressed":
        sums = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
        first = np.argsort(-sums, kind="stable")[:n_genes]
    else:
        first = _most_variable(counts, target.section, int(n_genes))
    return np.sort(candidates[first])


def _most_variable(counts, section, n_genes):
    """Indices of the genes that scanpy ranks first, ties broken by order."""
    import scanpy as sc
    from anndata import AnnData

    adata = AnnData(counts.astype(np.float32))  # astype copies: scanpy works in place
    section = np.zeros(len(adata), dtype=int) if section is None else section
    with warnings.catch_warnings():
        # spots without counts, and bins in which too few genes fall to have a deviation
        warnings.simplefilter("ignore")
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        names = [name for name in np.unique(section) if _varies(adata.X[section == name])]
        if not _varies(adata.X):
            return np.arange(n_genes)  # all tie; scanpy would fail
        batch_key = None
        if len(names) > 1:
            batch_key = _keys.SECTION
            adata.obs[batch_key] = pd.Categorical(section)
            adata = adata[np.isin(section, names)].copy()
        try:
            table = sc.pp.highly_variable_genes(
                adata, n_top_genes=n_genes, batch_key=batch_key, inplace=False
            )
        except IndexError:  # no gene has a normalised dispersion
            return np.arange(n_genes)  # all tie
    # scanpy returns more genes than asked for when dispersions tie, so rank them here
    table = table.loc[adata.var_names].reset_index(drop=True)
    by = [c for c in ("highly_variable_nbatches", "dispersions_norm") if c in table]
    ranked = table.sort_values(by, ascending=False, na_position="last", kind="stable")
    return ranked.index.to_numpy()[:n_genes]


def _varies(matrix):
    """Whether any gene varies over spots, by more than float32 rounds."""
    high, low = (
        value.toarray() if scipy.sparse.issparse(value) else value
        for value in (matrix.max(axis=0), matrix.min(axis=0))
    )
    return bool((high - low > _ROUNDING * high).any())
