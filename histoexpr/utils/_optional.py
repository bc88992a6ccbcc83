"""Packages that only some users need, imported when they are first used."""

import importlib

from ..exceptions import MissingPackageError


def import_optional(module, *, extra, purpose):
    """Import a module of an extra, or say how to install it.

    Parameters
    ----------
    module : str
        Dotted name of the module, e.g. ``"skimage.color"``.
    extra : str
        The extra of histoexpr that brings it, e.g. ``"texture"``.
    purpose : str
        What needs it, for the message.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If the package is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} needs {module.partition('.')[0]!r}, which is not installed: "
            f"pip install 'histoexpr[{extra}]'."
        ) from error
