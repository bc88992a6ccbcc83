"""Whole slides: tissue, grids, prediction in bounded memory, gene maps."""

from ._many import SlidesFailed, predict_slides
from ._maps import write_gene_maps
from ._predict import predict_slide
from ._tissue import find_tissue

__all__ = ["SlidesFailed", "find_tissue", "predict_slide", "predict_slides", "write_gene_maps"]
