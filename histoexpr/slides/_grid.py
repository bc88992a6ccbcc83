"""Spots on a slide that has none."""

import re
from dataclasses import dataclass, replace

import numpy as np

from ..exceptions import InputError

GRIDS = ("spots", "hexagonal", "square", "dense")
USUAL_PITCH, DENSE_PITCH = 100.0, 25.0  # micrometres; the first is Visium's


@dataclass(frozen=True)
class SpotGrid:
    """Spots in rows.

    Attributes
    ----------
    spatial : ndarray of shape (n_spots, 2), dtype float64
        (x, y) of the centres in pixels at full resolution, row by row.
    positions : ndarray of shape (n_spots, 2), dtype int64
        (array_col, array_row). On a hexagonal grid columns count half spots, as on Visium: a
        spot's neighbours in its row are two columns away, and col + row is even.
    pitch : float
        From a spot to the next, in micrometres.
    mpp : float
        Micrometres per pixel.
    hexagonal : bool
    """

    spatial: np.ndarray
    positions: np.ndarray
    pitch: float
    mpp: float
    hexagonal: bool

    def __len__(self):
        return len(self.spatial)

    def __getitem__(self, rows):
        return replace(self, spatial=self.spatial[rows], positions=self.positions[rows])


def spot_grid(size, mpp, pitch, hexagonal):
    """Cover a slide with spots, the rim of half a pitch left free.

    Parameters
    ----------
    size : tuple (width, height)
        Of the slide, in pixels at full resolution.
    mpp : float
        Micrometres per pixel.
    pitch : float
        From a spot to the next, in micrometres.
    hexagonal : bool
        Every other row shifted by half a pitch, and rows closer by the factor 0.866; if not,
        spots stand in a square.

    Returns
    -------
    SpotGrid

    Raises
    ------
    ValueError
        If the slide is smaller than a pitch.
    """
    step = pitch / mpp
    row_step = step * np.sqrt(0.75) if hexagonal else step
    n_cols, n_rows = int(size[0] // step), int((size[1] - step) // row_step) + 1
    if size[1] < step or n_cols < 1:
        raise InputError(
            f"a slide of {size[0]} x {size[1]} px at {mpp:.3g} micrometres per pixel holds no spot "
            f"at a pitch of {pitch:g} micrometres; choose a smaller pitch."
        )
    row, col = (axis.ravel() for axis in np.mgrid[:n_rows, :n_cols])
    shift = (row % 2) * 0.5 if hexagonal else 0.0
    spatial = np.column_stack([(col + 0.5 + shift) * step, row * row_step + step / 2])
    positions = np.column_stack([2 * col + row % 2 if hexagonal else col, row])
    inside = spatial[:, 0] <= size[0] - step / 4
    return SpotGrid(spatial[inside], positions[inside], float(pitch), mpp, hexagonal)


def choose_grid(grid, pitch, trained):
    """Pitch in micrometres, and whether the grid is hexagonal: what a user asked for.

    Parameters
    ----------
    grid : {"spots", "hexagonal", "square", "dense"}
    pitch : str or None
        Such as "100um".
    trained : TrainingPatches or None
        What "spots" stands for.

    Returns
    -------
    pitch : float
    hexagonal : bool
    """
    if grid not in GRIDS:
        raise InputError(f"grid must be one of {GRIDS}; got {grid!r}.")
    known = trained is not None and trained.pitch is not None
    hexagonal = grid == "hexagonal" or (grid == "spots" and (trained.hexagonal if known else True))
    if pitch is not None:
        return parse_um(pitch, "pitch"), hexagonal
    if grid == "dense":
        return DENSE_PITCH, hexagonal
    return (trained.pitch if known else USUAL_PITCH), hexagonal


def parse_um(value, name):
    """Micrometres as a number: "100um" is 100.0."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(um|µm|μm)\s*", str(value))
    if match is None or float(match[1]) <= 0:
        raise InputError(f"{name}={value!r} must be a length with its unit, such as '100um'.")
    return float(match[1])


def on_tissue(grid, mask, size, side, least):
    """Which spots show tissue on their patch.

    Parameters
    ----------
    grid : SpotGrid
    mask : ndarray of shape (height, width), dtype bool
        Tissue on a thumbnail of the slide.
    size : tuple (width, height)
        Of the slide, in pixels at full resolution.
    side : float
        Of a patch, in pixels at full resolution.
    least : float
        Share of the patch that has to be tissue.

    Returns
    -------
    ndarray of shape (n_spots,), dtype bool
    """
    scale = np.array(mask.shape[::-1]) / size
    limits = np.array(mask.shape[::-1])
    low = np.floor((grid.spatial - side / 2) * scale).astype(int).clip(0, limits - 1)
    high = np.ceil((grid.spatial + side / 2) * scale).astype(int).clip(low + 1, limits)
    sums = np.pad(mask.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    (x0, y0), (x1, y1) = low.T, high.T
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    share = inside / (high - low).prod(axis=1)
    return (share > 0) & (share >= least)
