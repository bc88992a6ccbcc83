"""Helpers that know nothing of images or genes."""

from ._ahead import computed_ahead
from ._docstring import shared_docs
from ._files import written_aside
from ._optional import import_optional
from ._validation import check_n_jobs, fill_unset, name_some, unchanged_on_error

__all__ = [
    "check_n_jobs",
    "computed_ahead",
    "fill_unset",
    "import_optional",
    "name_some",
    "shared_docs",
    "unchanged_on_error",
    "written_aside",
]
