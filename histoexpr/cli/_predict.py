"""``histoexpr predict``: the expression of measured or bare spots, from their images."""

from pathlib import Path

import click

from ..utils import written_aside
from ..utils._h5ad import write_h5ad
from ._command import Command
from ._inputs import Names, SourceType
from ._models import (
    ModelType,
    allow_pickle_option,
    read_model,
    refuse_existing,
    training_patches,
)
from ._output import show


@click.command(
    cls=Command,
    short_help="Predict the expression of spots.",
    epilog="""\b
Example:
  histoexpr predict sheet.csv --model stco.histoexpr --out predicted.h5ad
""",
)
@click.argument("data", type=SourceType(), metavar="SHEET.csv|her2st:DIR")
@click.option("--model", type=ModelType(), required=True, metavar="FILE", help="From fit.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE.h5ad",
    help="The AnnData of the predictions.",
)  # fmt: skip
@click.option("--sections", type=Names(), help="Which sections.  [default: all]")
@click.option(
    "--patch-size", metavar="SIZE", help="Side of a patch.  [default: as the model was fitted]"
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@allow_pickle_option
def command(data, model, out, sections, patch_size, as_json, overwrite, allow_pickle):
    """Predict from the images of the sections of a sheet.

    Counts are not needed, and not used. The file holds expression in the units of the model,
    section, patient and places of the spots, and opens in scanpy and squidpy.
    """
    refuse_existing(out, overwrite)
    if out.suffix != ".h5ad":
        raise click.BadParameter(f"{str(out)!r} must end in .h5ad.", param_hint="--out")
    estimator, fitted_on = read_model(model, allow_pickle)
    size, out_px = _scale(estimator, fitted_on)
    images, adata = data.load(patch_size or size, out_px, sections)
    predicted = estimator.predict_adata(images)
    predicted.obs_names = adata.obs_names
    with written_aside(out) as aside:
        write_h5ad(predicted, aside, compression="gzip")
    show(
        {
            "predictions": str(out),
            "spots": predicted.n_obs,
            "genes": predicted.n_vars,
            "units": estimator.units_,
            "sections": images.section[sorted(_first_rows(images.section))].tolist(),
        },
        as_json,
    )


def _scale(estimator, fitted_on):
    """The width and the pixels of the patches that a model was fitted on; None: not known."""
    trained = training_patches(estimator)
    if trained is None:
        return fitted_on.get("patch_size"), None
    width = None if trained.width_um is None else f"{trained.width_um:.6g}um"
    return fitted_on.get("patch_size") or width, trained.shape[1]


def _first_rows(names):
    import numpy as np

    return np.unique(names, return_index=True)[1]
