"""The results of a benchmark as a page to read."""

from ._report import write_report

__all__ = ["write_report"]
