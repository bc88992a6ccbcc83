"""Legacy spatial transcriptomics: tables of counts and of spots, named by array position."""

import logging
import re

import anndata
import numpy as np
import pandas as pd

from .. import _keys
from ..exceptions import InputError
from ..utils import name_some
from ..utils._validation import as_array
from ._section import as_counts

logger = logging.getLogger(__name__)

PITCH_UM = 200.0
_FARTHEST = 1e9


def join_spots(counts, spots, name):
    """Counts and pixel positions of the spots that have both.

    Parameters
    ----------
    counts : DataFrame of shape (n_spots, n_genes)
        Index such as "10x13".
    spots : DataFrame
        Columns x, y, pixel_x, pixel_y, and perhaps new_x, new_y: the measured array coordinates.
    name : str
        The section, for messages.

    Returns
    -------
    adata : AnnData of shape (n_joined, n_genes)
        ``obsm["spatial"]``: (x, y) in pixels of the image. ``obs_names`` as the positions.
    position : ndarray of shape (n_joined, 2), dtype int64
        (array_col, array_row).
    mpp : float
        Micrometres per pixel; NaN when a single spot leaves the scale open.
    """
    counts = counts.set_axis(key_of(counts.index.astype(str), name), axis=0)
    spots = by_position(spots, ["pixel_x", "pixel_y"], name)
    n_counts, n_spots = len(counts), len(spots)
    counts = counts[~counts.index.duplicated()]
    joined = counts.index[counts.index.isin(spots.index)]
    if not len(joined):
        raise InputError(
            f"Section {name!r} is empty: none of its {n_counts} spots with counts has a position "
            f"among the {n_spots} of its spot file."
        )
    logger.info(
        "section %s: %d spots; dropped %d without a position and %d without counts",
        name, len(joined), n_counts - len(joined), n_spots - len(joined),
    )  # fmt: skip
    counts, spots = counts.loc[joined], spots.loc[joined]
    matrix = as_counts(counts.to_numpy(), name)
    pixels = _numbers(spots, ["pixel_x", "pixel_y"], name)
    measured = {"new_x", "new_y"} <= set(spots.columns)
    grid = _numbers(spots, ["new_x", "new_y"] if measured else ["x", "y"], name)
    adata = anndata.AnnData(
        matrix,
        obs=pd.DataFrame(index=joined),
        var=pd.DataFrame(index=counts.columns.astype(str)),
        obsm={_keys.SPATIAL: pixels},
    )
    position = np.array([key.split("x") for key in joined], dtype=np.int64)
    return adata, position, _micrometres_per_pixel(grid, pixels)


def _micrometres_per_pixel(grid, pixels):
    """NaN when a single spot leaves the scale open."""
    spread_grid, spread_pixels = (((v - v.mean(axis=0)) ** 2).sum() for v in (grid, pixels))
    return PITCH_UM * np.sqrt(spread_grid / spread_pixels) if spread_pixels > 0 else np.nan


def by_position(table, columns, name):
    """The rows with all of these columns, under ``"{round(x)}x{round(y)}"``."""
    lacking = [column for column in ("x", "y", *columns) if column not in table]
    if lacking:
        raise InputError(
            f"A table of section {name!r} lacks the column {name_some(lacking)}; it has "
            f"{name_some(table.columns, most=12)}."
        )
    table = table.dropna(subset=["x", "y", *columns])
    grid = _numbers(table, ["x", "y"], name).round().astype(np.int64)
    table = table.set_axis([f"{x}x{y}" for x, y in grid], axis=0)
    return table[~table.index.duplicated()]


def _numbers(table, columns, name):
    """Columns as float64, (n_rows, n_columns); refused where one is no number of a slide."""
    what = f"{' and '.join(columns)} in a table of section {name!r}"
    values = as_array(table[columns].to_numpy(), what, np.float64)
    bad = ~(np.abs(values) <= _FARTHEST)  # NaN is not below
    if bad.any():
        raise InputError(f"{what} must be numbers of a slide; got {values[bad][0]}.")
    return values


def key_of(index, name):
    """Spot names such as ``"10x13"`` or ``"10.02x12.98"``, rounded."""
    number = r"(\d{1,9}(?:\.\d+)?)"
    keys = [re.fullmatch(f"{number}x{number}", text.strip()) for text in index]
    wrong = [text for text, key in zip(index, keys) if key is None]
    if wrong:
        raise InputError(
            f"A table of section {name!r} has rows {name_some(wrong)}; spots are named by their "
            "array position, such as '10x13'."
        )
    return [f"{round(float(key[1]))}x{round(float(key[2]))}" for key in keys]
