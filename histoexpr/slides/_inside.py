"""What a fitted model looks at around a spot."""

from .._inside import parts_of
from ..featurizers import NeighborFeatures
from ..methods._combination import Combination
from ..preprocessing import SectionCenterer

_REACH = 3.0  # standard deviations of a Gaussian over neighbours that count: data.neighborhood


def reach(model):
    """How far around a spot a fitted model looks, in pitches of the grid; 0 for most."""
    parts = list(parts_of(model))
    features = sum(_REACH * part.sigma for part in parts if isinstance(part, NeighborFeatures))
    smoothing = [p.settings_["smoothing"] for p in parts if isinstance(p, Combination)]
    return features + _REACH * max(smoothing, default=0)


def centres_sections(model):
    """Whether a fitted model compares a spot with the mean of its section."""
    return any(isinstance(part, SectionCenterer) for part in parts_of(model))
