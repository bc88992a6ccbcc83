"""Who is predicted from whom, and how methods compare: protocols and the benchmark."""

from ..utils._dask import SurvivingClient
from ._benchmark import benchmark
from ._methods import CONTROL_NAMES, METHOD_NAMES, Method, Reading, method_presets
from ._protocols import (
    PROTOCOLS,
    Fold,
    PatientKFold,
    PatientOut,
    Protocol,
    SectionOut,
    TrainTest,
    check_protocol,
)
from ._published import compare_protocols, published_means, published_protocol, published_scores
from ._results import summarize
from ._statistics import bootstrap_intervals, compare_methods, rank_groups, rank_methods

__all__ = [
    "CONTROL_NAMES",
    "METHOD_NAMES",
    "PROTOCOLS",
    "Fold",
    "Method",
    "PatientKFold",
    "PatientOut",
    "Protocol",
    "Reading",
    "SectionOut",
    "SurvivingClient",
    "TrainTest",
    "benchmark",
    "bootstrap_intervals",
    "check_protocol",
    "compare_methods",
    "compare_protocols",
    "method_presets",
    "published_means",
    "published_protocol",
    "published_scores",
    "rank_groups",
    "rank_methods",
    "summarize",
]
