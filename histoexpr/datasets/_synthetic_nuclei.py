"""The nuclei of a cartoon H&E section: where they lie, and how they are painted."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

CELL_TYPES = np.array(["epithelial", "fibroblast", "lymphocyte", "adipocyte"])
EPITHELIAL, FIBROBLAST, LYMPHOCYTE, ADIPOCYTE = range(4)


def place_nuclei(rng, mpp, layout):
    """Nuclei of all cell types that do not overlap.

    Parameters
    ----------
    rng : numpy.random.Generator
    mpp : float
        µm per pixel.
    layout : Layout
        Where each tissue is.

    Returns
    -------
    xy : ndarray of shape (n_nuclei, 2)
        In pixels.
    kind : ndarray of shape (n_nuclei,), dtype int
        Index into ``CELL_TYPES``.
    """
    height, width = layout.tissue.shape
    area = height * width * mpp**2 / 1e6
    inside = layout.tissue > 0.5
    free = inside * (1 - layout.fat) * (layout.empty < 0.3)
    outside = free * (1 - layout.nest)
    lymphoid = layout.weights[LYMPHOCYTE]
    loose = 1.6 - 0.75 * layout.states["packing"]
    swollen = 3.3 + 2.6 * layout.states["nuclear_size"]
    candidates = (  # number per mm², probability to stay, µm around the centre kept free
        (EPITHELIAL, 40000, free * (layout.nest > 0.7), swollen * loose),
        (LYMPHOCYTE, 40000, outside * lymphoid + 0.006 * free, 2.8 * loose),
        (FIBROBLAST, 8000, outside * (1 - 0.8 * lymphoid), 6.5 * loose),
        (ADIPOCYTE, 2500, inside * layout.fat * (layout.membrane > 0.6), 4.0 * loose),
    )
    xy, kind, radius = [], [], []
    for index, density, chance, claim in candidates:
        points = rng.uniform(0, 1, (rng.poisson(density * area), 2)) * (width - 1, height - 1)
        points = points[rng.uniform(size=len(points)) < at(chance, points)]
        xy.append(points)
        kind.append(np.full(len(points), index))
        radius.append(at(claim, points))
    xy, kind, radius = np.concatenate(xy), np.concatenate(kind), np.concatenate(radius)
    order = rng.permutation(len(xy))
    xy, kind, radius = xy[order], kind[order], radius[order]
    kept = _without_overlap(xy * mpp, radius)
    return xy[kept], kind[kept]


def paint_nuclei(rng, mpp, layout, xy, kind, noise):
    """Paint nuclei on an empty section.

    Parameters
    ----------
    rng, mpp, layout : as in :func:`place_nuclei`
    xy, kind : what :func:`place_nuclei` returned
    noise : callable
        Length in µm -> a field of noise over the section.

    Returns
    -------
    haematoxylin : ndarray of shape (height, width), dtype float32
    cover : ndarray of shape (height, width), dtype float32
        Share of each pixel that nuclei cover.
    """
    shape, states = layout.tissue.shape, layout.states
    wobble = 0.13 * noise(3.5)
    chromatin = (0.05 + 0.5 * states["chromatin"]) * noise(1.6)
    total, cover = np.zeros((2, shape[0] * shape[1]), dtype=np.float32)
    for index in np.unique(kind):
        points = xy[kind == index]
        n = len(points)
        state = {name: at(field, points) for name, field in states.items()}
        angle = at(layout.tangent, points) + rng.normal(0, 0.15, n)
        dark, nucleolus = np.full(n, 0.9), np.zeros(n)
        if index == EPITHELIAL:  # large nuclei are pale and uneven, and show a nucleolus
            size = 3.2 + 2.6 * state["nuclear_size"]
            size *= np.exp(rng.normal(0, 0.06 + 0.12 * state["nuclear_size"]))
            ratio = rng.uniform(1, 1.2, n) * (1 + 1.2 * state["nuclear_length"])
            angle = rng.uniform(0, np.pi, n)
            dark -= 0.35 * state["nuclear_size"]
            nucleolus = 0.9 * state["chromatin"]
        elif index == LYMPHOCYTE:
            size, ratio = rng.normal(2.8, 0.2, n), rng.uniform(1, 1.12, n)
            dark += 0.15
        else:
            size, ratio = rng.normal(3.3, 0.3, n), 1.6 + 3.5 * state["nuclear_length"]
        # Crowded nuclei are paler, so that how blue a patch is does not count them.
        dark *= (1.2 - 0.4 * state["packing"]) * np.exp(rng.normal(0, 0.1, n))
        axes = np.column_stack([size * np.sqrt(ratio), size / np.sqrt(ratio)]) / mpp
        flat, alpha, depth, centre = _ellipses(shape, points, axes, angle, wobble)
        rim = np.exp(-((depth * mpp / 1.1 - 0.4) ** 2))
        core = nucleolus[:, None, None] * np.exp(-centre / ((1.1 / mpp) ** 2 + 0.2))
        value = alpha * dark[:, None, None] * (0.85 + 0.3 * rim + core + chromatin.ravel()[flat])
        total += np.bincount(flat.ravel(), value.ravel(), total.size).astype(np.float32)
        cover += np.bincount(flat.ravel(), alpha.ravel(), cover.size).astype(np.float32)
    return total.reshape(shape), np.clip(cover, 0, 1).reshape(shape)


def at(field, xy):
    """Values of a map at (x, y) in pixels, of the nearest pixel."""
    cols, rows = np.rint(xy).astype(int).T
    return field[np.clip(rows, 0, field.shape[0] - 1), np.clip(cols, 0, field.shape[1] - 1)]


def _without_overlap(points, radius):
    """Keep each point unless an earlier one that is kept stands closer than the sum of radii."""
    undecided = np.ones(len(points), dtype=bool)
    kept = np.zeros(len(points), dtype=bool)
    if len(points) == 0:
        return kept
    first, second = cKDTree(points).query_pairs(2 * radius.max(), output_type="ndarray").T
    gap = np.linalg.norm(points[first] - points[second], axis=1)
    close = gap < radius[first] + radius[second]
    first, second = first[close], second[close]
    while undecided.any():
        blocked = np.zeros_like(undecided)
        blocked[second] = True
        winners = undecided & ~blocked
        kept |= winners
        undecided &= ~winners
        undecided[second[winners[first]]] = False
        still = undecided[first] & undecided[second]
        first, second = first[still], second[still]
    return kept


def _ellipses(shape, xy, axes, angle, wobble):
    """A window of pixels around each of n ellipses, each array of shape (n, side, side).

    Returns the pixel's index in the flat map, how far it is covered (0 outside the map), its
    depth below the rim in pixels, and its squared distance from the centre.
    """
    half = int(np.ceil(axes.max() + 1.5))
    step = np.arange(-half, half + 1)
    middle = np.rint(xy).astype(int)
    rows = middle[:, 1, None, None] + step[:, None]
    cols = middle[:, 0, None, None] + step
    within = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    flat = np.where(within, rows * shape[1] + cols, 0)
    dy = (rows - xy[:, 1, None, None]).astype(np.float32)
    dx = (cols - xy[:, 0, None, None]).astype(np.float32)
    cos, sin = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    long, short = axes.astype(np.float32).T[:, :, None, None]
    rho = np.sqrt(((dx * cos + dy * sin) / long) ** 2 + ((dy * cos - dx * sin) / short) ** 2)
    depth = (1 - rho - wobble.ravel()[flat]) * short
    return flat, np.clip(depth + 0.5, 0, 1) * within, depth, dx**2 + dy**2
