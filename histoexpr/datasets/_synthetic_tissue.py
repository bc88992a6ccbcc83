"""Drawing of a cartoon H&E section: domains, nuclei, fibres, glands, fat and stain.

All lengths are µm; only the finished maps are in pixels. A section is painted as two maps,
how much haematoxylin and how much eosin each pixel holds, and turned into light by the
Beer-Lambert law, so that a stain shift acts as it does on a slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

DOMAINS = np.array(["tumour", "stroma", "immune", "adipose"])
CELL_TYPES = np.array(["epithelial", "fibroblast", "lymphocyte", "adipocyte"])
EPITHELIAL, FIBROBLAST, LYMPHOCYTE, ADIPOCYTE = range(4)
# How the tissue is, apart from what it is: each a smooth field of 0 to 1 that shapes the drawing.
STATES = ("nuclear_size", "nuclear_length", "chromatin", "packing", "fibres")

# Optical density per unit of stain in R, G, B, as the two look on most slides.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.12, 0.88, 0.42])


@dataclass(frozen=True)
class Look:
    """What is a patient's own: the stain, and how the tissue takes it.

    Attributes
    ----------
    stains : ndarray of shape (2, 3)
        Optical density per unit of haematoxylin and eosin in R, G, B.
    light : ndarray of shape (3,)
        Intensity of the empty glass, 0 to 255.
    cytoplasm, matrix, lymphoid : ndarray of shape (2,)
        (haematoxylin, eosin) of the ground of epithelium, stroma and lymphoid tissue.
    nuclei : float
        Haematoxylin of nuclei.
    bias : ndarray of shape (4,)
        Added to the domains' fields: a patient's own share of each domain.
    """

    stains: np.ndarray
    light: np.ndarray
    cytoplasm: np.ndarray
    matrix: np.ndarray
    lymphoid: np.ndarray
    nuclei: float
    bias: np.ndarray


@dataclass(frozen=True)
class Tissue:
    """A drawn section and what was drawn where.

    Attributes
    ----------
    image : ndarray of shape (height, width, 3), dtype uint8
    tissue : ndarray of shape (height, width), dtype bool
        False on glass.
    domain : ndarray of shape (height, width), dtype int8
        Index into ``DOMAINS``.
    fat : ndarray of shape (height, width), dtype float32
        1 inside fat cells, else 0.
    states : dict of str to ndarray of shape (height, width), dtype float32
        The fields of ``STATES``.
    nuclei : ndarray of shape (n_nuclei, 2)
        (x, y) in pixels.
    kind : ndarray of shape (n_nuclei,), dtype int
        Index into ``CELL_TYPES``.
    """

    image: np.ndarray
    tissue: np.ndarray
    domain: np.ndarray
    fat: np.ndarray
    states: dict[str, np.ndarray]
    nuclei: np.ndarray
    kind: np.ndarray


def draw_look(rng, stain_shift, tint):
    """A patient's look; ``stain_shift=0`` gives every patient the same stain.

    ``tint`` of 1 has eosinophilic tumour cells in a pale, bluish stroma, -1 the reverse.
    """
    s = stain_shift
    stains = np.stack([HAEMATOXYLIN, EOSIN]) + rng.normal(0, 0.045 * s, (2, 3))
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    stains *= np.exp(rng.normal(0, 0.22 * s, (2, 1)))
    tint = tint * s * rng.uniform(0.5, 1)
    return Look(
        stains=stains,
        light=np.clip(243 + rng.normal(0, 5 * s, 3), 215, 252),
        cytoplasm=np.clip((0.09 - 0.08 * tint, 0.22 + 0.10 * tint), 0.01, None),
        matrix=np.clip((0.15 + 0.13 * tint, 0.24 - 0.10 * tint), 0.01, None),
        lymphoid=np.clip((0.11 + 0.09 * tint, 0.16), 0.01, None),
        nuclei=0.95 * np.exp(rng.normal(0, 0.15 * s)),
        bias=rng.normal(0, 0.2, 4),
    )


def draw_tissue(rng, shape, mpp, look):
    """Draw one section.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        Height and width in pixels.
    mpp : float
        µm per pixel.
    look : Look

    Returns
    -------
    Tissue
    """

    def noise(length):
        return smooth_noise(rng, shape, length / mpp)

    extent = min(shape) * mpp
    large = min(260.0, 0.22 * extent)

    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    cut = rng.uniform(0, 2 * np.pi)
    edge = np.minimum(
        0.94 - np.sqrt(x**2 + y**2) ** 1.6 + 0.1 * noise(1.6 * large),
        0.72 - np.cos(cut) * x - np.sin(cut) * y + 0.02 * noise(large),
    )
    edge = (edge + 0.008 * noise(45) + 0.004 * noise(14)).astype(np.float32)
    tissue = _step(edge, 4 * mpp / extent)

    # Domains: the strongest of four smooth fields; lymphocytes gather along the tumour's margin.
    fields = np.stack([noise(large) + 0.25 * noise(70) for _ in DOMAINS])
    fields += look.bias[:, None, None].astype(np.float32)
    fields[EPITHELIAL] += 0.5
    fields[LYMPHOCYTE] += 0.6 * np.exp(-8 * (fields[0] - fields[1]) ** 2) - 0.55
    fields[ADIPOCYTE] -= 0.65
    weights = np.exp((fields - fields.max(0)) / 0.22)
    weights /= weights.sum(0)

    states = {name: _step(noise(0.8 * large), 0.5) for name in STATES}

    # Tumour grows in nests with sharp borders, glands (low grade) have a lumen inside.
    core = np.abs(noise(95) + 0.25 * noise(25))
    nest_depth = core - 0.42 + 0.9 * (weights[EPITHELIAL] - 0.75)
    nest = _step(nest_depth, 0.06)
    lumen = _step(core - 1.25 - 1.6 * states["nuclear_size"], 0.06) * _step(weights[EPITHELIAL] - 0.6, 0.1)
    cleft = np.exp(-(((nest_depth + 0.09) / 0.07) ** 2)) * _step(weights[EPITHELIAL] - 0.2, 0.1)
    cleft *= noise(60) > 0

    strands, tangent = _draw_fibres(rng, shape, mpp, large)
    fat, membrane = _draw_fat(rng, weights[ADIPOCYTE], mpp, tangent)

    empty = np.clip(lumen * (1 - fat) + 0.85 * cleft * (1 - nest), 0, 1)
    xy, kind = _place_nuclei(rng, mpp, tissue, weights, nest, empty, fat, membrane, states)
    h_nuclei, cover = _paint_nuclei(rng, shape, mpp, xy, kind, states, tangent, noise)

    # Ground of haematoxylin and eosin, from the bottom layer up.
    lymphoid = weights[LYMPHOCYTE] * (1 - nest)
    dense = 0.25 + 0.85 * states["fibres"]
    texture = np.clip(0.62 + dense * 0.55 * strands, 0.06, 1.7)
    grain = 1 + 0.12 * noise(2.5) + 0.1 * noise(9)
    ground = []
    for k in range(2):
        stroma = look.matrix[k] * texture
        layer = (1 - lymphoid) * stroma + lymphoid * look.lymphoid[k] * (0.8 + 0.4 * texture)
        layer = (1 - nest) * layer + nest * look.cytoplasm[k] * grain
        layer *= 1 - 0.93 * empty
        ground.append((1 - fat) * layer + fat * membrane * (0.1, 0.4)[k])
    h = (ground[0] * (1 - cover) + look.nuclei * h_nuclei) * tissue
    e = ground[1] * (1 - 0.75 * cover) * tissue

    # Thickness and stain balance drift over the slide; neither says anything of the cells.
    thickness = np.exp(0.28 * noise(0.6 * large))
    balance = np.exp(0.2 * noise(0.6 * large))
    image = _to_light(h * thickness * balance, e * thickness / balance, look)
    return Tissue(
        image=image,
        tissue=edge > 0,
        domain=weights.argmax(0).astype(np.int8),
        fat=fat,
        states=states,
        nuclei=xy,
        kind=kind,
    )


def smooth_noise(rng, shape, length):
    """Noise of mean 0 and variance 1 that changes over ``length`` pixels.

    Returns
    -------
    ndarray of shape ``shape``, dtype float32
    """
    length = max(length, 1.0)
    coarse = [int(np.ceil(n / length)) + 4 for n in shape]
    values = Image.fromarray(rng.standard_normal(coarse, dtype=np.float32))
    left, top = rng.uniform(0, 1, 2)
    box = (1 + left, 1 + top, 1 + left + shape[1] / length, 1 + top + shape[0] / length)
    field = np.asarray(values.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))
    return (field - field.mean()) / field.std()


def _step(values, width):
    """0 below zero, 1 above, smooth over about ``width`` on each side."""
    return (0.5 + 0.5 * np.tanh(values / width)).astype(np.float32)


def _draw_fat(rng, weight, mpp, tangent):
    """Fat cells (1 inside) and their membranes (1 on the line), of shape ``weight.shape``.

    Writes the direction of the membranes into ``tangent``: nuclei lie flat on them.
    """
    height, width = weight.shape
    pitch = 46 / mpp
    grid = np.mgrid[0 : width + pitch : pitch, 0 : height + pitch : pitch].reshape(2, -1).T
    centres = grid + rng.uniform(-0.38, 0.38, grid.shape) * pitch
    inside = _at(weight, centres) > 0.5
    fat, membrane = np.zeros((2, height, width), dtype=np.float32)
    region = ndimage.maximum_filter(weight, size=max(int(pitch), 1), mode="nearest") > 0.4
    rows, cols = np.nonzero(region)
    if not inside.any() or rows.size == 0:
        return fat, membrane
    distance, nearest = cKDTree(centres).query(np.column_stack([cols, rows]), k=3)
    gap = np.maximum(distance[:, 1:] - distance[:, :1], 1e-3).T * mpp
    gap = 1 / (1 / gap[0] + 1 / gap[1])  # rounds the corners off
    chosen = inside[nearest[:, 0]]
    fat[rows, cols] = chosen
    membrane[rows, cols] = chosen * np.exp(-((gap / 2.2) ** 2))
    dx, dy = (centres[nearest[:, 1]] - centres[nearest[:, 0]]).T
    tangent[rows[chosen], cols[chosen]] = np.arctan2(dx, -dy)[chosen]
    return fat, membrane


def _draw_fibres(rng, shape, mpp, large):
    """Wavy strands (about -1 to 1) and the angle of their direction, both over the section."""
    y, x = (np.mgrid[: shape[0], : shape[1]] * mpp).astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = -np.sin(angle) * x + np.cos(angle) * y
    across += 0.28 * large * smooth_noise(rng, shape, 0.8 * large / mpp)
    across += 2.5 * np.sin(along / 7 + 2 * smooth_noise(rng, shape, 120 / mpp))
    dy, dx = np.gradient(across)
    tile = rng.standard_normal((256, 256), dtype=np.float32)
    strands = np.zeros(shape, dtype=np.float32)
    for thick, long, share in ((2.5, 40, 0.6), (7.0, 90, 0.6)):
        at = np.stack([across / thick, along / long])
        strands += share * ndimage.map_coordinates(tile, at, order=1, mode="grid-wrap")
    return strands, np.arctan2(-dx, dy)


def _place_nuclei(rng, mpp, tissue, weights, nest, empty, fat, membrane, states):
    """Nuclei that do not overlap: (x, y) in pixels and index into ``CELL_TYPES``."""
    height, width = tissue.shape
    area = height * width * mpp**2 / 1e6
    free = (tissue > 0.5) * (1 - fat) * (empty < 0.3)
    outside = free * (1 - nest)
    loose = 1.6 - 0.75 * states["packing"]
    spread = (  # candidates per mm², where, radius of the space that each nucleus claims
        (EPITHELIAL, 40000, free * (nest > 0.7), (3.3 + 2.6 * states["nuclear_size"]) * loose),
        (LYMPHOCYTE, 40000, outside * weights[LYMPHOCYTE] + 0.006 * free, 2.8 * loose),
        (FIBROBLAST, 8000, outside * (1 - 0.8 * weights[LYMPHOCYTE]), 6.5 * loose),
        (ADIPOCYTE, 2500, (tissue > 0.5) * fat * (membrane > 0.6), 4.0 * loose),
    )
    xy, kind, radius = [], [], []
    for index, density, where, claim in spread:
        points = rng.uniform(0, 1, (rng.poisson(density * area), 2)) * (width - 1, height - 1)
        points = points[rng.uniform(size=len(points)) < _at(where, points)]
        xy.append(points)
        kind.append(np.full(len(points), index))
        radius.append(_at(claim, points))
    xy, kind, radius = np.concatenate(xy), np.concatenate(kind), np.concatenate(radius)
    order = rng.permutation(len(xy))
    xy, kind, radius = xy[order], kind[order], radius[order]
    kept = _without_overlap(xy * mpp, radius)
    return xy[kept], kind[kept]


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
        open_pairs = undecided[first] & undecided[second]
        first, second = first[open_pairs], second[open_pairs]
    return kept


def _paint_nuclei(rng, shape, mpp, xy, kind, states, tangent, noise):
    """Haematoxylin of the nuclei and the share of each pixel they cover."""
    wobble, chromatin = 0.13 * noise(3.5), (0.05 + 0.5 * states["chromatin"]) * noise(1.6)
    total, cover = np.zeros((2, shape[0] * shape[1]), dtype=np.float32)
    for index in range(len(CELL_TYPES)):
        at = xy[kind == index]
        if len(at) == 0:
            continue
        n, large, long = len(at), _at(states["nuclear_size"], at), _at(states["nuclear_length"], at)
        angle = rng.uniform(0, np.pi, n)
        if index == EPITHELIAL:  # large nuclei are pale and uneven, and show a nucleolus
            size = (3.2 + 2.6 * large) * np.exp(rng.normal(0, 0.06 + 0.12 * large))
            ratio = rng.uniform(1, 1.2, n) * (1 + 1.2 * long)
            dark, nucleolus = 0.9 - 0.35 * large, 0.9 * _at(states["chromatin"], at)
        elif index == LYMPHOCYTE:
            size, ratio = rng.normal(2.8, 0.2, n), rng.uniform(1, 1.12, n)
            dark, nucleolus = np.full(n, 1.05), np.zeros(n)
        else:
            size, ratio = rng.normal(3.3, 0.3, n), 1.6 + 3.5 * long
            dark, nucleolus = np.full(n, 0.9), np.zeros(n)
            angle = _at(tangent, at) + rng.normal(0, 0.15, n)
        dark *= (1.2 - 0.4 * _at(states["packing"], at)) * np.exp(rng.normal(0, 0.1, n))
        shade = np.column_stack([dark, nucleolus])
        axes = np.column_stack([size * np.sqrt(ratio), size / np.sqrt(ratio)]) / mpp
        _stamp(total, cover, shape, at, axes, angle, shade, wobble, chromatin, 1.1 / mpp)
    return total.reshape(shape), np.clip(cover, 0, 1).reshape(shape)


def _stamp(total, cover, shape, xy, axes, angle, shade, wobble, chromatin, spot):
    """Add ellipses to the flat maps ``total`` and ``cover``, in place."""
    half = int(np.ceil(axes.max() + 1.5))
    step = np.arange(-half, half + 1)
    corner = np.round(xy).astype(int)
    rows = corner[:, 1, None, None] + step[:, None]
    cols = corner[:, 0, None, None] + step
    within = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    flat = np.where(within, rows * shape[1] + cols, 0)
    dy = (rows - xy[:, 1, None, None]).astype(np.float32)
    dx = (cols - xy[:, 0, None, None]).astype(np.float32)
    cos, sin = (f(angle).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    long, short = axes.astype(np.float32).T[:, :, None, None]
    dark, nucleolus = shade.astype(np.float32).T[:, :, None, None]
    rho = np.sqrt(((dx * cos + dy * sin) / long) ** 2 + ((dy * cos - dx * sin) / short) ** 2)
    rho += wobble.ravel()[flat]
    depth = (1 - rho) * short  # pixels from the rim, inwards
    alpha = np.clip(depth + 0.5, 0, 1) * within
    rim = np.exp(-((depth / spot - 0.4) ** 2))
    core = nucleolus * np.exp(-(dx**2 + dy**2) / (spot**2 + 0.2))
    value = alpha * dark * (0.85 + 0.3 * rim + core + chromatin.ravel()[flat])
    used = alpha > 0
    total += np.bincount(flat[used], value[used], total.size).astype(np.float32)
    cover += np.bincount(flat[used], alpha[used], cover.size).astype(np.float32)


def _to_light(h, e, look):
    """Beer-Lambert: light that passes ``h`` and ``e`` of the patient's stains, uint8 RGB."""
    density = np.clip(h, 0, 1.6)[..., None] * look.stains[0].astype(np.float32)
    density += np.clip(e, 0, 1.6)[..., None] * look.stains[1].astype(np.float32)
    light = look.light.astype(np.float32) * np.float32(10) ** -density
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _at(field, xy):
    """Values of a map at (x, y) in pixels, of the nearest pixel."""
    cols, rows = np.rint(xy).astype(int).T
    return field[np.clip(rows, 0, field.shape[0] - 1), np.clip(cols, 0, field.shape[1] - 1)]
