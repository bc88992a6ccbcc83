"""Fitted models on disk, and what they were fitted on."""

from pathlib import Path

import click

# Which attribute of a model tells what `histoexpr fit` knew of its training.
FITTED_ON = "fitted_on_"


class ModelType(click.Path):
    """The file of a fitted model, such as ``histoexpr fit`` writes."""

    def __init__(self):
        super().__init__(exists=True, dir_okay=False, path_type=Path)


def read_model(path):
    """A fitted model, and what is known of its training.

    Parameters
    ----------
    path : Path

    Returns
    -------
    model : estimator
    fitted_on : dict
        Empty for a model that ``histoexpr fit`` did not write.
    """
    from .. import io

    model = io.load(path)
    return model, getattr(model, FITTED_ON, {})


def training_patches(model):
    """The record of the patches that a model was fitted on, or None."""
    from ..slides._inside import find_training_patches

    return find_training_patches(model)[0]


def refuse_existing(path, overwrite):
    """Refuse to replace a file that the user did not say to replace."""
    if path.is_dir():
        raise click.BadParameter(f"{str(path)!r} is a folder.", param_hint="--out")
    if path.exists() and not overwrite:
        raise click.BadParameter(
            f"{str(path)!r} is there already: name another file, or pass --overwrite.",
            param_hint="--out",
        )
