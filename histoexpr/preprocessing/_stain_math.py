"""What a stain looks like, measured in an image's colours, and colours moved to another's.

Colours are ``light``: float arrays of shape (n, 3), the share of the light of the glass that a
pixel lets through in red, green and blue, above 0 and at most 1.

Written from the papers: torchstain has no Vahadane, torch-staintools may not be used commercially,
tiatoolbox brings a slide viewer; and all of them measure and change the same pixels, where a
section is to be measured once and its patches changed when they are read.
"""

import numpy as np

TISSUE = 0.15  # optical density (natural logarithm, mean of the channels) from which on is tissue
GLASS = 0.05  # and up to which is glass
COLOURLESS = 0.15  # spread of the channels' densities over their mean: ink, fiducials, dust
DARKEST_WHITE = 178  # an image whose bright pixels are darker shows no glass
MIN_TISSUE = 50  # pixels
MOST_STRETCH = 3  # of a contrast or an amount of stain; what asks for more is no stain's doing
SPARSITY = 0.1  # lambda of Vahadane et al.
# Reinhard et al. (2001): RGB to cone responses, rows scaled so that white is white, and the
# orthonormal axes l (light), alpha (yellow to blue) and beta (red to green) of their logarithms.
TO_CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
TO_CONES /= TO_CONES.sum(axis=1, keepdims=True)
TO_OPPONENT = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
SAME_STAIN = np.cos(np.deg2rad(5))


def find_white(pixels):
    """Colour of the glass: the 95th percentile of each channel, (3,); pixels (n, 3) in 0..255."""
    return np.maximum(np.percentile(pixels, 95, axis=0), DARKEST_WHITE)


def to_light(pixels, white):
    """``light`` of pixels (n, 3) in 0..255 on glass of the colour `white`."""
    return np.clip(pixels / white, 1 / 255, 1)


def to_density(light):
    """Optical density: Beer and Lambert, natural logarithm."""
    return -np.log(light)


def find_tissue(light):
    """Mask of the pixels that are darker than glass and coloured, (n,)."""
    density = to_density(light)
    mean = density.mean(axis=1)
    return (mean >= TISSUE) & (np.ptp(density, axis=1) >= COLOURLESS * mean)


def recolour(light, change):
    """Let ``change`` act on tissue; glass stays as it is, and what is between moves in part."""
    share = (to_density(light).mean(axis=1, keepdims=True) - GLASS) / (TISSUE - GLASS)
    return light + np.clip(share, 0, 1) * (change(light) - light)


class Reinhard:
    """Mean and deviation in the decorrelated space l, alpha, beta: Reinhard et al. (2001).

    The statistic is of shape (2, 3): mean and standard deviation of l, alpha and beta over tissue,
    in natural logarithms. White is the origin.
    """

    def measure(self, light):
        """Statistic of tissue."""
        opponent = _to_opponent(light)
        return np.stack([opponent.mean(axis=0), opponent.std(axis=0)])

    def average(self, statistics):
        return np.median(statistics, axis=0)

    def change(self, light, source, reference):
        """Tissue of the one statistic in the colours of the other."""
        (mean, std), (wanted_mean, wanted_std) = source, reference
        spread = (_to_opponent(light) - mean) * _ratio(wanted_std, std)
        return _from_opponent(spread + wanted_mean)


class StainSeparation:
    """Two stains and the 99th percentile of their concentrations.

    The statistic is of shape (2, 4): for haematoxylin and for eosin the optical densities of red,
    green and blue at concentration 1, a vector of length 1, and the 99th percentile of the
    concentration. Concentrations are the non-negative least squares solution.

    Parameters
    ----------
    find_stains : callable
        (n, 3) optical densities of tissue -> (2, 3) unit vectors, or None.
    """

    def __init__(self, find_stains):
        self.find_stains = find_stains

    def measure(self, light):
        """Statistic of tissue, or None where it cannot be told."""
        density = to_density(light)
        stains = self.find_stains(density)
        if stains is None:
            return None
        most = np.percentile(unmix(density, stains), 99, axis=0)
        return np.column_stack([stains, most]) if most.min() > 0 else None

    def average(self, statistics):
        average = np.median(statistics, axis=0)
        average[:, :3] = _unit(average[:, :3])
        return average

    def change(self, light, source, reference):
        """Tissue of the one statistic in the colours of the other."""
        concentrations = unmix(to_density(light), source[:, :3])
        concentrations *= _ratio(reference[:, 3], source[:, 3])
        return np.exp(-concentrations @ reference[:, :3])


def macenko_stains(density):
    """Stains at the extremes of the plane that tissue spans: Macenko et al. (2009).

    Parameters
    ----------
    density : ndarray of shape (n, 3)
        Optical density of tissue.

    Returns
    -------
    ndarray of shape (2, 3) or None
        Unit vectors, the one that takes more red (haematoxylin) first. None where there is only
        one colour.
    """
    _, axes = np.linalg.eigh(density.T @ density)  # singular vectors, the strongest last
    axes = axes[:, :0:-1]
    axes[:, 0] = np.abs(axes[:, 0])  # the sum of non-negative colours has no other sign
    along, across = (density @ axes).T
    low, high = np.percentile(np.arctan2(across, along), (1, 99))
    extremes = [[np.cos(angle), np.sin(angle)] for angle in (low, high)]
    return _haematoxylin_first(_unit(np.maximum(extremes @ axes.T, 0)))


def vahadane_stains(density, max_iter=100, tol=1e-4):
    """Stains of a sparse non-negative factorisation: Vahadane et al. (2016), eq. 4.

    Minimises ``|density - c @ stains|² / 2 + SPARSITY * |c|_1`` over non-negative concentrations c
    and non-negative unit vectors, from Macenko's stains on, one after the other. With two stains
    the concentrations have a closed form, so each step is exact.

    Parameters
    ----------
    density : ndarray of shape (n, 3)
        Optical density of tissue.
    max_iter : int
    tol : float
        Largest change of an element at which it has converged.

    Returns
    -------
    ndarray of shape (2, 3) or None
        As :func:`macenko_stains`.
    """
    stains = macenko_stains(density)
    for _ in range(max_iter if stains is not None else 0):
        before = stains.copy()
        c = unmix(density, stains, SPARSITY)
        gram, cross = c.T @ c, c.T @ density
        if gram.diagonal().min() <= 0:  # one stain explains all
            return None
        for j in range(2):
            step = (cross[j] - gram[j] @ stains) / gram[j, j]
            stains[j] = _unit(np.maximum(stains[j] + step, 0))
        if stains[0] @ stains[1] > SAME_STAIN:
            return None
        if np.abs(stains - before).max() < tol:
            break
    return None if stains is None else _haematoxylin_first(stains)


def unmix(density, stains, sparsity=0.0):
    """Non-negative concentrations of two stains.

    Parameters
    ----------
    density : ndarray of shape (n, 3)
    stains : ndarray of shape (2, 3)
        Non-negative unit vectors.
    sparsity : float
        Weight of the sum of concentrations beside half the squared residual.

    Returns
    -------
    ndarray of shape (n, 2)
        The exact minimum.
    """
    overlap = stains[0] @ stains[1]
    alone = density @ stains.T - sparsity  # best concentration of a stain without the other
    both = (alone - overlap * alone[:, ::-1]) / (1 - overlap**2)
    # What would be negative is 0, and the other stain then stands alone.
    alone = np.maximum(alone, 0)
    return np.where(both[:, ::-1] < 0, alone, np.maximum(both, 0))


METHODS = {
    "reinhard": Reinhard(),
    "macenko": StainSeparation(macenko_stains),
    "vahadane": StainSeparation(vahadane_stains),
}


def _haematoxylin_first(stains):
    if stains[0] @ stains[1] > SAME_STAIN:
        return None
    return stains[np.argsort(-stains[:, 0])]


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _ratio(wanted, found):
    """By how much to stretch; a patch of one colour has no contrast that could be."""
    return np.clip(wanted / np.maximum(found, 1e-6), 1 / MOST_STRETCH, MOST_STRETCH)


def _to_opponent(light):
    return np.log(np.maximum(light @ TO_CONES.T, 1 / 255)) @ TO_OPPONENT.T


def _from_opponent(opponent):
    return np.clip(np.exp(opponent @ TO_OPPONENT) @ np.linalg.inv(TO_CONES).T, 0, 1)
