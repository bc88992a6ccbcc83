"""How well predicted expression agrees with measured expression."""

from ._correlation import mean_pearson, pearson_per_gene, pearson_per_section
from ._domains import domain_agreement
from ._errors import mae_per_gene, rmse_per_gene
from ._gene_sets import gene_sets, summarize_gene_sets
from ._noise_ceiling import noise_ceiling
from ._scorer import pearson_scorer
from ._structure import ssim_per_gene, ssim_per_section
from ._table import score_table

__all__ = [
    "domain_agreement",
    "gene_sets",
    "mae_per_gene",
    "mean_pearson",
    "noise_ceiling",
    "pearson_per_gene",
    "pearson_per_section",
    "pearson_scorer",
    "rmse_per_gene",
    "score_table",
    "ssim_per_gene",
    "ssim_per_section",
    "summarize_gene_sets",
]
