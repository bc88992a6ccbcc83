"""Pictures. They need matplotlib (the extra ``plot``) and return axes."""

from ._genes import plot_genes
from ._neighbors import plot_neighbors
from ._ranks import plot_ranks
from ._reliability import plot_reliability
from ._scores import plot_scores
from ._training import plot_training

__all__ = [
    "plot_genes",
    "plot_neighbors",
    "plot_ranks",
    "plot_reliability",
    "plot_scores",
    "plot_training",
]
