"""The command ``histoexpr``; each of its commands is a file of its own."""

from ._main import main

__all__ = ["main"]
