"""How far a prediction can be trusted: spread, intervals, reliability of each gene."""

from ._conformal import ConformalIntervals
from ._reliability import gene_reliability
from ._spread import SpreadModel

__all__ = ["ConformalIntervals", "SpreadModel", "gene_reliability"]
