"""What happens to counts and patches before a method sees them."""

from ._augment import PatchAugment
from ._expression import ExpressionTransformer, check_expression
from ._section_center import SectionCenterer
from ._stain import StainNormalizer
from ._target_mixin import ExpressionTargetMixin

__all__ = [
    "ExpressionTargetMixin",
    "ExpressionTransformer",
    "PatchAugment",
    "SectionCenterer",
    "StainNormalizer",
    "check_expression",
]
