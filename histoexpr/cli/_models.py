"""Fitted models on disk, and what they were fitted on."""

from pathlib import Path

import click

# Which attribute of a model tells what is known of its training; `histoexpr fit` adds to it.
FITTED_ON = "fitted_on_"


class ModelType(click.Path):
    """The file of a fitted model, such as ``histoexpr fit`` writes."""

    def __init__(self):
        super().__init__(exists=True, dir_okay=False, path_type=Path)


allow_pickle_option = click.option(
    "--allow-pickle", is_flag=True,
    help="Read a model that joblib wrote. It can run any code: only from people you trust.",
)  # fmt: skip


def read_model(path, allow_pickle=False):
    """A fitted model, and what is known of its training.

    Parameters
    ----------
    path : Path
    allow_pickle : bool, default=False
        Whether to read files of joblib, which can run any code.

    Returns
    -------
    model : estimator
    fitted_on : dict
        Without ``patch_size``, ``command`` and ``versions`` where ``histoexpr fit`` did not write
        the model.
    """
    from .. import io

    model = io.load(path, allow_pickle=allow_pickle)
    return model, getattr(final_step(model), FITTED_ON, {})


def final_step(model):
    """The last step of a Pipeline, or the model itself."""
    return model[-1] if hasattr(model, "steps") else model


def training_patches(model):
    """The record of the patches that a model was fitted on, or None."""
    from .._inside import find_training_patches

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
