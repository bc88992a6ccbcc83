"""Several sections into one: genes joined by name, unreadable sections told at the end."""

import warnings

import anndata
import pandas as pd

from .. import _keys
from ..data import SpotPatches
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ._section import with_categories


def join_sections(sections, *, genes="intersection"):
    """Put sections together, whatever reader they came from; genes are joined by name.

    Parameters
    ----------
    sections : list of (SpotPatches, AnnData)
        As the readers return them.
    genes : {"intersection", "union"} or list of str, default="intersection"
        Genes that all sections have measured; those that any has; or a panel, in its order.

    Returns
    -------
    images : SpotPatches
    adata : AnnData
        With ``genes="union"``, ``varm["measured"]`` says which gene was measured in which
        section (bool, n_genes x n_sections): ``X`` holds 0 where it was not.

    Raises
    ------
    ValueError
        If there are no sections, two have one name, they have no gene in common, or a section
        lacks genes of the panel.

    Warns
    -----
    UserWarning
        With ``genes="union"``, if genes are missing somewhere: a model cannot tell "not
        measured" from "not expressed", and takes the zeros for the latter.
    """
    try:
        sections = [(images, adata) for images, adata in sections]
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"sections must be pairs (images, adata) as the readers return; got {sections!r:.200}."
        ) from error
    check_genes(genes)
    if not sections:
        raise InputError("There are no sections to join.")
    parts = [adata for _, adata in sections]
    names = [list(part.obs[_keys.SECTION].unique()) for part in parts]
    check_unique_sections([name for some in names for name in some])
    images = SpotPatches.concatenate([images for images, _ in sections])
    chosen = _choose_genes(parts, names, genes)
    wanted = set(chosen)
    parts = [part[:, [g in wanted for g in part.var_names]] for part in parts]
    adata = anndata.concat(parts, join="outer", merge="first", fill_value=0)[:, chosen].copy()
    adata.varm.pop(_keys.MEASURED, None)
    if isinstance(genes, str) and genes == "union":
        adata.varm[_keys.MEASURED] = _measured(adata, parts, names)
    return images, with_categories(adata)


def check_genes(genes):
    """Refuse what is no rule for genes, before anything is read."""
    if isinstance(genes, str) and genes in ("intersection", "union"):
        return
    listed = hasattr(genes, "__len__") and getattr(genes, "ndim", 1) == 1
    if isinstance(genes, str) or not listed:
        raise InputError(f"genes must be 'intersection', 'union' or a list; got {genes!r}.")
    named = all(isinstance(gene, str) for gene in genes)
    if not named or len(genes) == 0 or len(set(genes)) < len(genes):
        raise InputError(
            f"genes must name each gene of the panel once, and at least one; got {genes!r:.200}."
        )


def check_unique_sections(names):
    """Refuse a name that stands for two sections."""
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InputError(
            f"Section {name_some(sorted(repeated))} is named more than once: give each its own "
            "name (section=)."
        )


def _choose_genes(parts, names, genes):
    if isinstance(genes, str):
        union = genes == "union"
        first, *others = (part.var_names if union else _everywhere(part) for part in parts)
        for other in others:
            first = first.union(other, sort=False) if union else first[first.isin(other)]
        if not len(first) and any(part.n_vars for part in parts):
            raise InputError(
                f"The {len(parts)} sections have no gene in common, e.g. "
                f"{name_some(parts[0].var_names, 2)} in {names[0][0]!r} and "
                f"{name_some(parts[-1].var_names, 2)} in {names[-1][0]!r}. Are some names symbols "
                "and others Ensembl identifiers?"
            )
        return list(first)
    for part, some in zip(parts, names):
        had = set(_everywhere(part))
        lacking = [gene for gene in genes if gene not in had]
        if lacking:
            raise InputError(
                f"section {name_some(some)} lacks {len(lacking)} of the {len(genes)} genes of the "
                f"panel: {name_some(lacking)}. Leave them out of genes=, or the section out."
            )
    return list(genes)


def _everywhere(part):
    """Genes that each section of an AnnData has measured."""
    measured = part.varm.get(_keys.MEASURED)
    return part.var_names if measured is None else part.var_names[measured.all(axis=1)]


def _measured(adata, parts, names):
    """Which gene each section has, as a table; a warning if some lack some."""
    table = {
        name: adata.var_names.isin(part.var_names)
        if _keys.MEASURED not in part.varm
        else part.varm[_keys.MEASURED][name].reindex(adata.var_names, fill_value=False).to_numpy()
        for part, some in zip(parts, names)
        for name in some
    }
    table = pd.DataFrame(table, index=adata.var_names)
    partly = int((~table.all(axis=1)).sum())
    if partly:
        warnings.warn(
            f"{partly} of {len(table)} genes are not measured in all sections; their counts are 0 "
            f"there, which a model takes for 'not expressed' (varm[{_keys.MEASURED!r}] says "
            "where). genes='intersection' leaves them out.",
            stacklevel=3,
        )
    return table


def read_sections(jobs, *, genes, unreadable="raise"):
    """Read all sections, and only then say which cannot be read.

    Parameters
    ----------
    jobs : list of (str, callable)
        The name of each section, and a function of no arguments that reads it.
    genes : see `join_sections`
    unreadable : {"raise", "skip"}, default="raise"
        "skip": sections that cannot be read are left out, with a warning.

    Returns
    -------
    images : SpotPatches
    adata : AnnData
    """
    check_genes(genes)
    if unreadable not in ("raise", "skip"):
        raise InputError(f"unreadable must be 'raise' or 'skip'; got {unreadable!r}.")
    names = [name for name, _ in jobs]
    if not all(map(pd.api.types.is_scalar, names)):
        raise InputTypeError(f"section must be a str, the name of one; got {name_some(names)}.")
    check_unique_sections(names)
    read, failed = [], {}
    for name, reader in jobs:
        try:
            read.append(reader())
        except (OSError, ValueError) as error:
            failed[name] = error
    if failed:
        if len(jobs) == 1:
            raise next(iter(failed.values()))
        reasons = "\n".join(f"  {name}: {error}" for name, error in failed.items())
        summary = f"{len(failed)} of {len(jobs)} sections cannot be read:\n{reasons}"
        if unreadable == "raise" or not read:
            raise InputError(summary) from next(iter(failed.values()))
        warnings.warn(f"{summary}\nThe other {len(read)} are returned.", stacklevel=3)
    return join_sections(read, genes=genes)


def per_section(paths, **columns):
    """One dict a section out of arguments that are each one value or a list.

    Parameters
    ----------
    paths : path, or list of path
    **columns : value or list
        A list goes with a list of paths; one value stands for all.

    Returns
    -------
    list of dict
        With the path as "path".
    """
    several = isinstance(paths, (list, tuple))
    paths = list(paths) if several else [paths]
    if not paths:
        raise InputError("There are no paths: the list is empty.")
    spread = {}
    for name, value in columns.items():
        listed = several and isinstance(value, (list, tuple))
        if listed and len(value) != len(paths):
            raise InputError(f"{name} has {len(value)} entries for {len(paths)} paths.")
        spread[name] = list(value) if listed else [value] * len(paths)
    return [{"path": path, **{k: v[i] for k, v in spread.items()}} for i, path in enumerate(paths)]
