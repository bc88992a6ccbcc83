"""Pictures. They need matplotlib (the extra ``plot``) and return axes."""

from ._genes import plot_genes

__all__ = ["plot_genes"]
