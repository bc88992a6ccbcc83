"""The results of a benchmark as pictures."""

import numpy as np
from PIL import Image

from .. import _keys
from ..exceptions import InputError
from ..metrics import pearson_per_gene
from ..plotting import plot_genes, plot_neighbors, plot_scores
from ..utils import name_some
from ._blocks import Figure
from ._svg import to_svg
from ._words import listed, number, plural

NEIGHBORS_KEY = "neighbors"  # of predictions: rows of the benchmark's data
N_SPOTS, N_NEIGHBORS = 4, 5
_MAP_PX = 1000  # the longer side of the H&E below a map


def score_figure(results):
    """The distribution of PCC over genes and sections, a row for each method.

    Returns
    -------
    Figure or None
        None when no fit has a score.
    """
    scored = results.groupby("method", sort=False)["pearson"].median().dropna()
    if scored.empty:
        return None
    controls = set(results.loc[results["control"], "method"])
    order = list(scored.sort_values(ascending=False, kind="stable").index)
    ax = plot_scores(results, methods=order, controls=controls)
    medians = ", ".join(f"{name} {scored[name]:.3f}" for name in order)
    n_sections = results[_keys.SECTION].nunique()
    caption = (
        f"PCC of every gene in each of {plural(n_sections, 'test section')}. Shape: density; bar: "
        "quartiles; line: median; dots: means over genes, one for each section. Controls are grey."
    )
    alt = f"Distributions of PCC over genes and sections. Medians: {medians}."
    return Figure(caption, [to_svg(ax, "scores", alt)])


def map_figure(predicted, method, genes, images, rule):
    """Genes on the H&E of a section: measured, predicted, and their difference.

    Parameters
    ----------
    predicted : AnnData
        The predictions for one section, measured expression in ``layers["measured"]``.
    method : str
    genes : list of str
    images : SpotPatches or None
        For the H&E.
    rule : str
        How the genes were chosen.

    Returns
    -------
    Figure
    """
    missing = [gene for gene in genes if gene not in predicted.var_names]
    if missing:
        raise InputError(
            f"genes to show must be among the {predicted.n_vars} predicted; {name_some(missing)} "
            "are not."
        )
    section = predicted.obs[_keys.SECTION].iloc[0]
    image, scale = tissue(images, section)
    measured = predicted.copy()
    measured.X = measured.layers[_keys.MEASURED]
    units = predicted.uns[_keys.UNS]["units"]
    pictures, pcc = [], {}
    for i, gene in enumerate(genes):
        axes = plot_genes(
            {_keys.MEASURED: measured, "predicted": predicted},
            [gene],
            difference=True,
            image=image,
            scale=scale,
        )
        (r,) = pearson_per_gene(measured.obs_vector(gene), predicted.obs_vector(gene))
        pcc[gene] = number(r, 2)
        alt = (
            f"{gene} on section {section}: three maps, measured, predicted by {method} and their "
            f"difference; PCC {pcc[gene]}."
        )
        pictures.append(to_svg(axes[0, 0], f"map{i}", alt))
    caption = (
        f"{listed(genes)} on section {section}: measured, predicted by {method}, and predicted "
        f"minus measured, in {units}. {rule} PCC in this section: "
        f"{', '.join(f'{gene} {r}' for gene, r in pcc.items())}. Each map has its own range of "
        "colours; those of a difference are centred on 0."
    )
    return Figure(caption, pictures, layout="plates")


def neighbor_figure(predicted, method, images):
    """The training patches that predictions of a few spots are made of.

    Parameters
    ----------
    predicted : AnnData
        The predictions for one section: ``obs["row"]`` and ``obsm["neighbors"]`` are rows of
        `images`.
    method : str
    images : SpotPatches
        Of all spots of the benchmark.

    Returns
    -------
    Figure
    """
    rows = predicted.obs["row"].to_numpy()
    chosen = np.linspace(0, len(predicted), N_SPOTS + 2)[1:-1].astype(int)
    neighbors = np.asarray(predicted.obsm[NEIGHBORS_KEY])[chosen, :N_NEIGHBORS]
    titles = [f"{images.section[row]}, spot {row}" for row in rows[chosen]]
    axes = plot_neighbors(
        images[rows[chosen]],
        images,
        neighbors,
        n_neighbors=neighbors.shape[1],
        titles=titles,
    )
    section = predicted.obs[_keys.SECTION].iloc[0]
    found = [listed(dict.fromkeys(images.section[row].tolist())) for row in neighbors]
    where = "; ".join(f"{title}: from {names}" for title, names in zip(titles, found))
    caption = (
        f"{plural(len(chosen), 'spot')} of section {section} (outlined), evenly spaced in the "
        f"order of the data, and the {neighbors.shape[1]} training spots nearest to each in the "
        f"space of {method}, nearest first, with their sections."
    )
    alt = f"Patches of H&E with the training patches found for them. {where}."
    return Figure(caption, [to_svg(axes[0, 0], "neighbors", alt)])


def tissue(images, section):
    """The H&E of a section made small, and its pixels per pixel at full resolution.

    Returns
    -------
    image : ndarray of shape (height, width, 3), dtype uint8, or None
        None where there is no such image.
    scale : float
    """
    source = getattr(images, "section_images", {}).get(section)
    if source is None:
        return None, 1.0
    pixels = source.pixels()
    factor = max(1, round(max(pixels.shape[:2]) / _MAP_PX))
    return np.asarray(Image.fromarray(pixels).reduce(factor)), 1.0 / factor
