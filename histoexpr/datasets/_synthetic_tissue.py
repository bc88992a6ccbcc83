"""Drawing of a cartoon H&E section: domains, nests, glands, fibres, fat, nuclei and stain.

Lengths are in µm; only the finished maps are in pixels. A section is painted as two maps, how
much haematoxylin and how much eosin each pixel holds, and turned into light by the Beer-Lambert
law, so that a stain shift acts as it does on a slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from ._synthetic_nuclei import ADIPOCYTE, EPITHELIAL, LYMPHOCYTE, at, paint_nuclei, place_nuclei

# In the order of the cell types that make them up.
DOMAINS = np.array(["tumour", "stroma", "immune", "adipose"])
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
        Haematoxylin and eosin of the ground of tumour, stroma and lymphoid tissue.
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
class Layout:
    """Where everything is: maps of shape (height, width), float32, 0 to 1 unless said.

    Attributes
    ----------
    tissue, nest, empty, fat, membrane : ndarray
        On glass 0; in tumour nests; in lumens and clefts; in fat cells; on their membranes.
    weights : ndarray of shape (4, height, width)
        Share of each domain.
    strands : ndarray
        Density of the fibres about their mean of 0.
    tangent : ndarray
        Direction of fibres and membranes, radians.
    states : dict of str to ndarray
        The fields of ``STATES``.
    """

    tissue: np.ndarray
    nest: np.ndarray
    empty: np.ndarray
    fat: np.ndarray
    membrane: np.ndarray
    weights: np.ndarray
    strands: np.ndarray
    tangent: np.ndarray
    states: dict[str, np.ndarray]


@dataclass(frozen=True)
class Tissue:
    """A drawn section: its image, (height, width, 3), uint8, and what was drawn where.

    Attributes
    ----------
    image : ndarray of shape (height, width, 3), dtype uint8
    layout : Layout
    domain : ndarray of shape (height, width), dtype int8
        Index into ``DOMAINS``.
    nuclei : ndarray of shape (n_nuclei, 2)
        (x, y) in pixels.
    kind : ndarray of shape (n_nuclei,), dtype int
        Index into ``CELL_TYPES``.
    """

    image: np.ndarray
    layout: Layout
    domain: np.ndarray
    nuclei: np.ndarray
    kind: np.ndarray


def draw_look(rng, stain_shift, tint):
    """Draw a patient's look; ``stain_shift=0`` gives every patient the same stain.

    A ``tint`` of 1 has pink tumour cells in a bluish stroma, -1 the reverse: both are seen, and
    a cohort that holds both keeps a patch's mean colour from telling its tissue.
    """
    s, tint = stain_shift, tint * stain_shift * rng.uniform(0.5, 1)
    stains = np.stack([HAEMATOXYLIN, EOSIN]) + rng.normal(0, 0.045 * s, (2, 3))
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    stains *= np.exp(rng.normal(0, 0.22 * s, (2, 1)))
    return Look(
        stains=stains,
        light=np.clip(243 + rng.normal(0, 5 * s, 3), 215, 252),
        cytoplasm=np.clip((0.08 - 0.07 * tint, 0.18 + 0.09 * tint), 0.01, None),
        matrix=np.clip((0.12 + 0.09 * tint, 0.27 - 0.10 * tint), 0.01, None),
        lymphoid=np.clip((0.12 + 0.07 * tint, 0.18 - 0.05 * tint), 0.01, None),
        nuclei=0.95 * np.exp(rng.normal(0, 0.15 * s)),
        bias=rng.normal(0, 0.2, len(DOMAINS)),
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
    large = min(260.0, 0.22 * extent)  # of domains: several fit into a small section too
    layout = _lay_out(rng, shape, mpp, look, noise, extent, large)
    nuclei, kind = place_nuclei(rng, mpp, layout)
    stained, cover = paint_nuclei(rng, mpp, layout, nuclei, kind, noise)
    h, e = _ground(layout, look, grain=1 + 0.12 * noise(2.5) + 0.1 * noise(9))
    h = (h * (1 - cover) + look.nuclei * stained) * layout.tissue
    e = e * (1 - 0.75 * cover) * layout.tissue
    # Thickness and stain balance drift over the slide; neither says anything of the cells.
    thickness = np.exp(0.27 * noise(0.6 * large))
    balance = np.exp(0.2 * noise(0.6 * large))
    return Tissue(
        image=_to_light(h * thickness * balance, e * thickness / balance, look),
        layout=layout,
        domain=layout.weights.argmax(0).astype(np.int8),
        nuclei=nuclei,
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
    left, top = rng.uniform(1, 2, 2)
    box = (left, top, left + shape[1] / length, top + shape[0] / length)
    field = np.asarray(values.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))
    return (field - field.mean()) / field.std()


def _lay_out(rng, shape, mpp, look, noise, extent, large):
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    cut = rng.uniform(0, 2 * np.pi)  # the knife's: one straight side
    edge = np.minimum(
        0.91 - np.sqrt(x**2 + y**2) ** 1.6 + 0.1 * noise(1.6 * large),
        0.72 - np.cos(cut) * x - np.sin(cut) * y + 0.02 * noise(large),
    )
    edge = edge + 0.008 * noise(45) + 0.004 * noise(14)

    # The strongest of four smooth fields; lymphocytes gather along the tumour's margin.
    fields = np.stack([noise(large) + 0.25 * noise(70) for _ in DOMAINS])
    fields += look.bias[:, None, None].astype(np.float32)
    fields[LYMPHOCYTE] += 0.6 * np.exp(-8 * (fields[0] + 0.5 - fields[1]) ** 2)
    fields += np.array([0.5, 0, -0.55, -0.75], dtype=np.float32)[:, None, None]
    weights = np.exp((fields - fields.max(0)) / 0.22)
    weights /= weights.sum(0)
    tumour = weights[EPITHELIAL]
    states = {name: _step(noise(0.8 * large), 0.5) for name in STATES}

    # Tumour grows in nests with sharp, partly torn borders; small nuclei form glands.
    core = np.abs(noise(95) + 0.25 * noise(25))
    depth = core - 0.42 + 0.9 * (tumour - 0.75)
    nest = _step(depth, 0.06)
    lumen = _step(core - 1.25 - 1.6 * states["nuclear_size"], 0.06) * _step(tumour - 0.6, 0.1)
    cleft = np.exp(-(((depth + 0.09) / 0.07) ** 2)) * _step(tumour - 0.2, 0.1) * (noise(60) > 0)

    strands, tangent = _draw_fibres(rng, shape, mpp, large)
    fat, membrane, along = _draw_fat(rng, weights[ADIPOCYTE], mpp)
    return Layout(
        tissue=_step(edge, 4 * mpp / extent),
        nest=nest,
        empty=np.clip(lumen * (1 - fat) + 0.85 * cleft * (1 - nest), 0, 1),
        fat=fat,
        membrane=membrane,
        weights=weights,
        strands=strands,
        tangent=np.where(fat > 0, along, tangent),
        states=states,
    )


def _step(values, width):
    """0 below zero, 1 above, smooth over about ``width`` on each side."""
    return (0.5 + 0.5 * np.tanh(values / width)).astype(np.float32)


def _draw_fibres(rng, shape, mpp, large):
    """Wavy strands, about -2 to 2, and their direction in radians."""
    y, x = (np.mgrid[: shape[0], : shape[1]] * mpp).astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = -np.sin(angle) * x + np.cos(angle) * y
    across += 0.28 * large * smooth_noise(rng, shape, 0.8 * large / mpp)
    across += 2.5 * np.sin(along / 7 + 2 * smooth_noise(rng, shape, 120 / mpp))
    dy, dx = np.gradient(across)
    tile = rng.standard_normal((256, 256), dtype=np.float32)
    strands = np.zeros(shape, dtype=np.float32)
    for thick, long in ((2.5, 40), (7.0, 90)):
        where = np.stack([across / thick, along / long])
        strands += 0.6 * ndimage.map_coordinates(tile, where, order=1, mode="grid-wrap")
    return strands, np.arctan2(-dx, dy)


def _draw_fat(rng, weight, mpp):
    """Fat cells (1 inside), their membranes (1 on the line), and the membranes' direction.

    The cells are those of a jittered grid; a cell is drawn whole where its centre is adipose.
    """
    height, width = weight.shape
    pitch = 46 / mpp
    row, col = np.mgrid[: height / pitch + 1, : width / pitch + 1]
    grid = np.column_stack([(col + 0.5 * (row % 2)).ravel(), row.ravel()])
    centres = (grid + rng.uniform(-0.38, 0.38, grid.shape)) * pitch
    inside = at(weight, centres) > 0.5
    fat, membrane, along = np.zeros((3, height, width), dtype=np.float32)
    region = ndimage.maximum_filter(weight, size=int(3 * pitch), mode="nearest") > 0.5
    rows, cols = np.nonzero(region)
    if inside.any() and len(rows) > 0:
        distance, nearest = cKDTree(centres).query(np.column_stack([cols, rows]), k=3)
        gap = np.maximum(distance[:, 1:] - distance[:, :1], 1e-3).T * mpp
        gap = 1 / (1 / gap[0] + 1 / gap[1])  # rounds the corners off
        chosen = inside[nearest[:, 0]]
        dx, dy = (centres[nearest[:, 1]] - centres[nearest[:, 0]]).T
        fat[rows, cols] = chosen
        membrane[rows, cols] = chosen * np.exp(-((gap / 2.2) ** 2))
        along[rows, cols] = np.arctan2(dx, -dy)
    return fat, membrane, along


def _ground(layout, look, grain):
    """Haematoxylin and eosin of all that is not a nucleus, from the bottom layer up."""
    lymphoid = layout.weights[LYMPHOCYTE]
    texture = 0.8 + 0.6 * (0.25 + 0.85 * layout.states["fibres"]) * layout.strands
    texture = np.clip(texture, 0.06, 1.8)
    maps = []
    for stain, on_membrane in enumerate((0.1, 0.4)):
        stroma = look.matrix[stain] * texture
        reticular = look.lymphoid[stain] * (0.8 + 0.4 * texture)
        layer = (1 - lymphoid) * stroma + lymphoid * reticular
        layer = (1 - layout.nest) * layer + layout.nest * look.cytoplasm[stain] * grain
        layer *= 1 - 0.93 * layout.empty
        maps.append((1 - layout.fat) * layer + on_membrane * layout.membrane)
    return maps


def _to_light(h, e, look):
    """Beer-Lambert: light that passes ``h`` and ``e`` of the patient's stains, uint8 RGB."""
    density = np.clip(h, 0, 1.6)[..., None] * look.stains[0].astype(np.float32)
    density += np.clip(e, 0, 1.6)[..., None] * look.stains[1].astype(np.float32)
    light = look.light.astype(np.float32) * np.float32(10) ** -density
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
