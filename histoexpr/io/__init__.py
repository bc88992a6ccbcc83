"""Fitted models on disk: files that are loaded without running code, and cards that say what is in
them."""

from ._card import card
from ._files import load, save
from ._mixin import SavableMixin

__all__ = ["SavableMixin", "card", "load", "save"]
