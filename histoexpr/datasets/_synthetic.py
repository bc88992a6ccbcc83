"""A synthetic cohort: cartoon H&E sections and counts that follow from what is drawn."""

from __future__ import annotations

from numbers import Integral, Real

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree
from sklearn.utils._param_validation import Interval

from .. import _keys
from ..data import SpotPatches
from ..exceptions import InputError
from ..utils._reading import check_decoded
from ..utils._sklearn import check_random_state, validate_params
from ._synthetic_nuclei import ADIPOCYTE, CELL_TYPES, EPITHELIAL, FIBROBLAST, LYMPHOCYTE
from ._synthetic_tissue import DOMAINS, STATES, draw_look, draw_tissue

SPOT_DIAMETER = 55.0  # µm, as on Visium
RNA_PER_CELL = np.array([2.0, 1.4, 0.8, 1.5])  # relative, in the order of CELL_TYPES

# The cell types that show a state, so that its genes follow it there.
STATE_CELLS = {
    "nuclear_size": (EPITHELIAL,),
    "nuclear_length": (EPITHELIAL, FIBROBLAST),
    "chromatin": (EPITHELIAL, FIBROBLAST, LYMPHOCYTE),
    "packing": (EPITHELIAL, FIBROBLAST, LYMPHOCYTE),
    "fibres": (FIBROBLAST,),
}
CELL_FOLD, STATE_FOLD = 2.2, 1.6
HOUSEKEEPING = 0.1  # share of the genes that follow nothing


@validate_params(
    {
        "n_patients": [Interval(Integral, 1, None, closed="left")],
        "n_sections": [Interval(Integral, 1, None, closed="left")],
        "grid": ["array-like"],
        "n_genes": [Interval(Integral, 1, None, closed="left")],
        "mpp": [Interval(Real, 0, 5, closed="right")],
        "spot_distance": [Interval(Real, SPOT_DIAMETER, None, closed="left")],
        "depth": [Interval(Real, 0, 1e9, closed="right")],
        "stain_shift": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_spatial_expression(
    n_patients=4,
    n_sections=1,
    grid=(18, 18),
    n_genes=100,
    *,
    patch_size="64um",
    out_px=64,
    mpp=1.0,
    spot_distance=65.0,
    depth=800.0,
    stain_shift=1.0,
    random_state=None,
):
    """Draw a cohort of tissue sections with spots measured on them.

    Each section shows tumour nests and glands, fibrous stroma, lymphoid infiltrate and fat, in
    smooth domains on glass. Counts follow from the cells and fibres drawn within a spot, so that
    what a patch looks like tells the expression, in a patient never seen too. Its colour alone
    tells little: stain, light and the tint of each tissue are the patient's own, and the
    thickness of a section drifts over it.

    Parameters
    ----------
    n_patients : int, default=4
        Named "A", "B", ...
    n_sections : int, default=1
        Sections of each patient, named "A1", "A2", ...
    grid : tuple of int, default=(18, 18)
        Rows and columns of the spot array, at least 2 each. Spots on glass are left out: about
        two thirds remain.
    n_genes : int, default=100
        Named "gene_000", ...; ``var["program"]`` says what each follows.
    patch_size, out_px : str or int, int, default="64um", 64
        Width of tissue that a patch shows, and its width in pixels: see
        :meth:`histoexpr.data.SpotPatches.from_images`.
    mpp : float, default=1.0
        µm per pixel of the section images, at most 5. Drawing time goes with 1 / mpp².
    spot_distance : float, default=65.0
        µm from a spot's centre to the next one's, at least 55, a spot's diameter.
    depth : float, default=800.0
        Counts of a typical spot, over all genes.
    stain_shift : float, default=1.0
        Strength of the differences in stain between patients; 0 makes them equal.
    random_state : int, RandomState instance or None, default=None
        With an int the same cohort is drawn each time; a patient then stays the same when
        ``n_patients`` grows.

    Returns
    -------
    images : SpotPatches of shape (n_spots, out_px, out_px, 3)
    adata : AnnData of shape (n_spots, n_genes)
        Row i is the spot of ``images[i]``. ``X``: raw counts, CSR, float32. ``obs``: section,
        patient, array_row, array_col, domain (the tissue at the spot's centre) and cell_type
        (the commonest in the spot). ``obsm["spatial"]``: (x, y) of the spots' centres in pixels
        of the section image. ``var``: program. ``uns["histoexpr"]``: the arguments.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    A cohort small enough for a test, in well under a second:

    >>> from histoexpr.datasets import make_spatial_expression
    >>> images, adata = make_spatial_expression(
    ...     2, grid=(6, 6), n_genes=20, mpp=2.0, out_px=32, random_state=0
    ... )
    >>> images.shape[1:], sorted(adata.obs["section"].unique())
    ((32, 32, 3), ['A1', 'B1'])
    """
    grid = _check_grid(grid)
    genes, *patients = _seeds(random_state).spawn(1 + n_patients)
    genome = _draw_genome(np.random.default_rng(genes), n_genes)
    images, counts, obs = {}, [], []
    for number, seed in enumerate(patients):
        patient = _letters(number)
        own, *sections = (np.random.default_rng(s) for s in seed.spawn(1 + n_sections))
        look = draw_look(own, stain_shift, tint=1 - 2 * (number % 2))
        effect = np.exp(own.normal(0, 0.25, n_genes))
        for index, rng in enumerate(sections, start=1):
            name = f"{patient}{index}"
            spots, tissue = _draw_section(rng, grid, spot_distance, mpp, look)
            images[name] = tissue.image
            rate, cell_type = _expression_rate(tissue, spots, genome, mpp)
            counts.append(_draw_counts(rng, rate * effect, depth))
            spots[_keys.DOMAIN] = DOMAINS[_centre(tissue.domain, spots)]
            spots[_keys.CELL_TYPE] = CELL_TYPES[cell_type]
            spots[_keys.SECTION] = name
            spots[_keys.PATIENT] = patient
            obs.append(spots)
    obs = pd.concat(obs, ignore_index=True)
    obs.index = [
        f"{section}_{col}x{row}"
        for section, col, row in zip(
            obs[_keys.SECTION], obs[_keys.ARRAY_COL], obs[_keys.ARRAY_ROW], strict=True
        )
    ]
    spatial = np.column_stack([obs.pop("x"), obs.pop("y")])
    patches = SpotPatches.from_images(
        images,
        spatial,
        section=obs[_keys.SECTION].to_numpy(),
        patient=obs[_keys.PATIENT].to_numpy(),
        positions=obs[[_keys.ARRAY_COL, _keys.ARRAY_ROW]].to_numpy(),
        mpp=float(mpp),
        patch_size=patch_size,
        out_px=out_px,
    )
    for key in (_keys.SECTION, _keys.PATIENT, _keys.DOMAIN, _keys.CELL_TYPE):
        obs[key] = obs[key].astype("category")
    adata = anndata.AnnData(
        scipy.sparse.csr_matrix(np.concatenate(counts).astype(np.float32)),
        obs=obs,
        var=genome[["program"]].copy(),
        obsm={_keys.SPATIAL: spatial},
        uns={
            _keys.UNS: {
                "made_by": "make_spatial_expression",
                "mpp": float(mpp),
                "spot_distance": float(spot_distance),
                "spot_diameter": SPOT_DIAMETER,
                "depth": float(depth),
                "stain_shift": float(stain_shift),
            }
        },
    )
    return patches, adata


def _check_grid(grid):
    values = np.asarray(grid)
    if values.shape != (2,) or values.dtype.kind not in "iu" or values.min() < 2:
        raise InputError(
            f"grid must be (rows, columns) of the spot array, whole numbers of at least 2; "
            f"got {grid!r}."
        )
    return int(values[0]), int(values[1])


def _seeds(random_state):
    """The root of all streams; None takes fresh entropy and leaves numpy's generator alone."""
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, Integral):
        return np.random.SeedSequence(int(random_state))
    return np.random.SeedSequence(int(check_random_state(random_state).randint(2**31 - 1)))


def _letters(number):
    """0 -> "A", 25 -> "Z", 26 -> "AA"."""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def _draw_genome(rng, n_genes):
    """What each gene follows: log fold change by cell type and by state, and its level."""
    columns = [*CELL_TYPES, *STATES]
    strength = np.array([CELL_FOLD] * len(CELL_TYPES) + [STATE_FOLD] * len(STATES))
    follows = np.zeros((n_genes, len(columns)))
    for gene, main in enumerate(rng.permutation(np.arange(n_genes) % len(columns))):
        follows[gene] = np.clip(rng.normal(0, 0.6, len(columns)), -0.75, 0.75)
        follows[gene, main] = rng.choice([-1, 1]) * rng.uniform(0.8, 1.2)
    follows[rng.permutation(n_genes) < round(HOUSEKEEPING * n_genes)] = 0
    main = np.array(columns)[np.abs(follows).argmax(axis=1)]
    genome = pd.DataFrame(
        follows * strength, columns=columns, index=[f"gene_{i:03d}" for i in range(n_genes)]
    )
    genome["program"] = np.where(follows.any(axis=1), main, "housekeeping")
    genome["level"] = np.exp(rng.normal(0, 0.8, n_genes))
    return genome


def _draw_section(rng, grid, spot_distance, mpp, look):
    """Draw a section around a spot array; the spots on tissue, x and y in pixels."""
    shape = tuple(int(np.ceil((n + 1) * spot_distance / mpp)) for n in grid)
    check_decoded(3 * shape[0] * shape[1], f"an image of {shape[1]} x {shape[0]} px")
    tissue = draw_tissue(rng, shape, mpp, look)
    row, col = (axis.ravel() for axis in np.mgrid[: grid[0], : grid[1]])
    spots = pd.DataFrame(
        {
            _keys.ARRAY_ROW: row,
            _keys.ARRAY_COL: col,
            "x": (col + 1) * spot_distance / mpp,
            "y": (row + 1) * spot_distance / mpp,
        }
    )
    return spots[_centre(tissue.layout.tissue, spots) > 0.5].reset_index(drop=True), tissue


def _centre(field, spots):
    """A map's value at the centre of each spot."""
    return field[spots["y"].round().astype(int), spots["x"].round().astype(int)]


def _expression_rate(tissue, spots, genome, mpp):
    """Expected RNA of each spot and gene, (n_spots, n_genes), and the commonest cell type.

    Each cell within a spot adds its type's profile of expression, which the states of the
    tissue around it raise or lower.
    """
    radius = SPOT_DIAMETER / 2 / mpp
    _, spot = cKDTree(spots[["x", "y"]].to_numpy()).query(
        tissue.nuclei, distance_upper_bound=radius
    )
    found = spot < len(spots)
    cells = np.zeros((len(spots), len(CELL_TYPES)))
    np.add.at(cells, (spot[found], tissue.kind[found]), 1)
    # A section meets few nuclei of fat cells: count the area they fill instead.
    fat = uniform_filter(tissue.layout.fat, size=max(int(1.77 * radius), 1), mode="nearest")
    cells[:, ADIPOCYTE] = 1.5 * _centre(fat, spots)
    # Domains and cell types stand in the same order: the domain decides where no cell is.
    likely = np.eye(len(CELL_TYPES))[_centre(tissue.domain, spots)]
    cell_type = (cells + 0.01 * likely).argmax(axis=1)

    rna = (cells + 0.05) * RNA_PER_CELL
    state = {name: 2 * _centre(field, spots) - 1 for name, field in tissue.layout.states.items()}
    rate = np.zeros((len(spots), len(genome)))
    for index, name in enumerate(CELL_TYPES):
        log_fold = np.zeros_like(rate) + genome[name].to_numpy()
        for label, cell_types in STATE_CELLS.items():
            if index in cell_types:
                log_fold += np.outer(state[label], genome[label])
        rate += rna[:, index, None] * np.exp(log_fold)
    return rate * genome["level"].to_numpy(), cell_type


def _draw_counts(rng, rate, depth):
    """Negative binomial counts; depth varies between spots and grows with their RNA."""
    total = rate.sum(axis=1, keepdims=True)
    relative = np.sqrt(total / np.median(total)) * np.exp(rng.normal(0, 0.35, total.shape))
    mean = depth * relative * rate / total
    return rng.poisson(mean * rng.gamma(5.0, 1 / 5.0, mean.shape))
