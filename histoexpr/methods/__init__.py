"""The methods: one paper, one small file."""

from ._ensemble import ContrastiveEnsemble
from ._gr2st import GR2ST
from ._linear_probe import LinearProbe
from ._mclstexp import MclSTExp
from ._reg2st import Reg2ST
from ._stco import STco
from ._stinfer import StInfer
from ._target_regressor import ExpressionTargetRegressor

__all__ = [
    "ContrastiveEnsemble",
    "GR2ST",
    "ExpressionTargetRegressor",
    "LinearProbe",
    "MclSTExp",
    "Reg2ST",
    "STco",
    "StInfer",
]
