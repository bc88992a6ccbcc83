"""``histoexpr info``: what a fitted model is."""

import click

from ._command import Command
from ._models import (
    ModelType,
    allow_pickle_option,
    final_step,
    read_model,
    training_patches,
)
from ._output import show, some_of


@click.command(
    cls=Command,
    short_help="Say what a fitted model is.",
    epilog="\b\nExample:\n  histoexpr info stco.histoexpr",
)
@click.argument("model", type=ModelType())
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all genes.")
@click.option("--card", is_flag=True, help="Print the model card instead, as Markdown.")
@allow_pickle_option
def command(model, as_json, card, allow_pickle):
    """Method, genes, units, scale and training data of a model, and the versions it was made with.

    A file of joblib is not read unless you allow it: see --allow-pickle.
    """
    estimator, fitted_on = read_model(model, allow_pickle)
    if card:
        from .. import io

        click.echo(io.card(estimator), nl=False)
        return
    final = final_step(estimator)
    genes = list(map(str, getattr(final, "genes_", [])))
    show(
        {
            "model": str(model),
            "method": type(final).__name__,
            "genes": genes if as_json else some_of(genes),
            "units": getattr(final, "units_", None),
            **_patches(estimator),
            "training_spots": fitted_on.get("n_spots"),
            "training_sections": fitted_on.get("sections"),
            "training_patients": fitted_on.get("patients"),
            "fitted_by": fitted_on.get("command"),
            "versions": fitted_on.get("versions"),
        },
        as_json,
    )


def _patches(estimator):
    trained = training_patches(estimator)
    if trained is None:
        return {"patches_px": None, "mpp": None, "patch_um": None}
    mpp = None if trained.mpp is None else [round(value, 4) for value in trained.mpp]
    width = None if trained.width_um is None else round(trained.width_um, 1)
    return {
        "patches_px": list(trained.shape),
        "mpp": mpp if mpp is None or len(set(mpp)) > 1 else mpp[0],
        "patch_um": width,
    }
