"""What happens to counts and patches before a method sees them."""

from ._expression import ExpressionTransformer, check_expression
from ._target_mixin import ExpressionTargetMixin

__all__ = ["ExpressionTargetMixin", "ExpressionTransformer", "check_expression"]
