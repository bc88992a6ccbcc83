"""How well predicted expression agrees with measured expression."""

from ._correlation import mean_pearson, pearson_per_gene, pearson_per_section
from ._scorer import pearson_scorer

__all__ = ["mean_pearson", "pearson_per_gene", "pearson_per_section", "pearson_scorer"]
