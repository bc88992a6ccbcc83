"""The methods: one paper, one small file."""

from ._stco import STco
from ._target_regressor import ExpressionTargetRegressor

__all__ = ["ExpressionTargetRegressor", "STco"]
