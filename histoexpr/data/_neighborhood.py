"""Neighbouring spots: how far apart they are, and means over them."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from .. import _keys
from ..utils._validation import as_array, check_number
from ._patch_checks import ONE_SECTION, check_names, check_spatial

_REACH = 3.0  # standard deviations; what lies beyond weighs less than 1.2 % of the centre


def spot_pitch(spatial):
    """Distance between neighbouring spots: the median over spots to their nearest other.

    Parameters
    ----------
    spatial : ndarray of shape (n_spots, 2)
        (x, y) of the centres in one section, pixels at full resolution.

    Returns
    -------
    float
        In pixels at full resolution; NaN for fewer than two places.

    Raises
    ------
    ValueError
        If a coordinate is not finite.
    """
    places = np.unique(_check_places(spatial), axis=0)
    if len(places) < 2:
        return np.nan
    return float(np.median(cKDTree(places).query(places, 2)[0][:, 1]))


def _check_places(spatial):
    spatial = as_array(spatial, _keys.SPATIAL)
    return check_spatial(spatial) if spatial.size else np.empty((0, 2))


def neighborhood(spatial, section=None, sigma=1.0, itself=True):
    """Weights with which a spot's neighbours make up a Gaussian mean around it.

    Parameters
    ----------
    spatial : array-like of shape (n_spots, 2)
        (x, y) of the spot centres, pixels at full resolution.
    section : array-like of shape (n_spots,) or None, default=None
        Spots of different sections are no neighbours. None: all are of one section.
    sigma : float, default=1.0
        Standard deviation in units of the pitch, the distance of neighbouring spots in the
        section. Spots further than three of it weigh nothing.
    itself : bool, default=True
        Whether a spot counts among its neighbours; one without any other always does.

    Returns
    -------
    CSR matrix of shape (n_spots, n_spots), dtype float64
        Rows sum to 1: ``neighborhood(...) @ values`` smooths values.

    Raises
    ------
    ValueError
        If a coordinate is not finite.
    """
    spatial = _check_places(spatial)
    sigma = check_number(sigma, "sigma", reached=True)
    section = check_names(section, len(spatial), _keys.SECTION, default=ONE_SECTION)
    rows, columns, weights = [np.arange(len(spatial))], [np.arange(len(spatial))], []
    weights.append(np.full(len(spatial), 1.0 if itself else np.finfo(np.float64).tiny))
    for name in np.unique(section):
        mine = np.flatnonzero(section == name)
        pitch = spot_pitch(spatial[mine])
        if not sigma or np.isnan(pitch):
            continue
        tree = cKDTree(spatial[mine])
        pairs = tree.query_pairs(_REACH * sigma * pitch, output_type="ndarray")
        distance = np.linalg.norm(spatial[mine[pairs[:, 0]]] - spatial[mine[pairs[:, 1]]], axis=1)
        weight = np.exp(-((distance / (sigma * pitch)) ** 2) / 2)
        rows += [mine[pairs[:, 0]], mine[pairs[:, 1]]]
        columns += [mine[pairs[:, 1]], mine[pairs[:, 0]]]
        weights += [weight, weight]
    index = np.concatenate(rows), np.concatenate(columns)
    matrix = csr_matrix((np.concatenate(weights), index), shape=(len(spatial),) * 2)
    return matrix.multiply(1 / matrix.sum(axis=1)).tocsr()
