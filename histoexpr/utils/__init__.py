"""Helpers that know nothing of images or genes."""

from ._optional import import_optional
from ._validation import check_rows_match, name_some

__all__ = ["check_rows_match", "import_optional", "name_some"]
