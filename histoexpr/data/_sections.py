"""Sections as wholes: which spots a method that looks at a section sees together."""

import numpy as np

from ..exceptions import InputError


def in_section_order(X, target):
    """Spots with their sections in the order of their names, as a fit learns from them.

    In whichever order sections come, batches, folds and random numbers are then the same.

    Parameters
    ----------
    X : SpotPatches, SpotFeatures or ndarray
    target : SpotTarget
        Of the same spots. Without sections, patients stand for them.

    Returns
    -------
    X, target
        Within a section in the order in which they came; not copied where all are in order.
    rows : ndarray of shape (n_spots,), dtype int64, or None
        Where each spot came; None where all were in order.
    """
    names = target.patient if target.section is None else target.section
    if names is None or (names[:-1] <= names[1:]).all():
        return X, target, None
    rows = np.argsort(names, kind="stable")
    return X[rows], target[rows], rows


def split_sections(n_spots, section, positions, max_section_spots):
    """The spots of each section, those of a large one in fixed tiles.

    Sections stand in the order of their names, spots within them in that of their positions, so
    that what a method learns does not depend on the order in which spots came.

    Parameters
    ----------
    n_spots : int
    section : ndarray of shape (n_spots,), dtype str, or None
        None: all spots are one section.
    positions : ndarray of shape (n_spots, 2), dtype int64, or None
        (array_col, array_row). Without them spots keep their order.
    max_section_spots : int
        A section with more spots is halved at the median of its longer side until no tile has
        more; the tiles depend on its own positions alone.

    Returns
    -------
    list of ndarray of int64
        Rows of each section or tile; together every row once.

    Raises
    ------
    ValueError
        If a section is too large and there are no positions to tile it by.
    """
    names = np.zeros(n_spots, dtype=int) if section is None else section
    parts = []
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        if positions is None:
            if len(rows) > max_section_spots:
                raise InputError(
                    f"section {str(name)!r} has {len(rows)} spots, more than max_section_spots="
                    f"{max_section_spots}, and no positions to cut it into tiles by; carry "
                    "positions (SpotPatches, adata.obs) or raise max_section_spots."
                )
            parts.append(rows)
        else:
            rows = rows[np.lexsort(positions[rows].T)]
            parts.extend(_tiles(rows, positions, max_section_spots))
    return parts


def _tiles(rows, positions, most):
    if len(rows) <= most:
        return [rows]
    own = positions[rows]
    side = int(np.argmax(np.ptp(own, axis=0)))
    order = np.argsort(own[:, side], kind="stable")
    half = len(rows) // 2
    # Each half keeps the order of the section.
    halves = np.sort(order[:half]), np.sort(order[half:])
    return [tile for part in halves for tile in _tiles(rows[part], positions, most)]
