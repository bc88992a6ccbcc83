"""``histoexpr fit``: a method fitted on sections, as a file."""

from pathlib import Path

import click

from ._command import Command, bars, typed
from ._inputs import FeaturizerType, Names, SourceType, make_featurizer, read_genes
from ._models import FITTED_ON, refuse_existing
from ._output import show


@click.command(
    cls=Command,
    short_help="Fit a method on sections.",
    epilog="""\b
Examples:
  histoexpr fit sheet.csv --method STco --featurizer timm:resnet50 --out stco.histoexpr
  histoexpr fit her2st:her2st --method StInfer-retrieval --featurizer texture --out a.histoexpr
""",
)
@click.argument("data", type=SourceType(), metavar="SHEET.csv|her2st:DIR")
@click.option("--method", required=True, metavar="NAME", help="A wrong name lists them.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The model."
)
@click.option("--sections", type=Names(), help="Which sections.  [default: all]")
@click.option(
    "--genes", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="The panel, one gene a line.  [default: all genes]",
)  # fmt: skip
@click.option(
    "--featurizer", type=FeaturizerType(), metavar="timm:NAME|context:NAME|texture",
    default="timm:densenet121", show_default=True,
    help="What makes features of patches. context: every stage of the network, two fields of "
    "view, quarter turns.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="Weights of the timm model; no hub is asked.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(["quick", "paper"]), default="paper", show_default=True,
    help="quick makes the largest methods smaller.",
)  # fmt: skip
@click.option(
    "--patch-size", metavar="SIZE",
    help="Side of a patch, such as 224px or 112um.  [default: 224px for her2st, as the papers]",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def command(
    data, method, out, sections, genes, featurizer, weights, preset, patch_size, seed, as_json,
    overwrite,
):  # fmt: skip
    """Fit a method on all sections of a sheet, and write the model to a file.

    The model has its featurizer in it: predict and predict-slide give it images.
    """
    from .. import io
    from ..preprocessing import ExpressionTransformer
    from ..preprocessing._target_mixin import _versions

    refuse_existing(out, overwrite)
    model = _make_model(method, preset, make_featurizer(featurizer, weights, verbose=bars()), seed)
    images, adata = data.load(patch_size, sections=sections)
    panel = None if genes is None else read_genes(genes, adata.var_names)
    model.set_params(expression=ExpressionTransformer(panel))
    model.fit(images, adata)
    fitted_on = {
        **getattr(model, FITTED_ON),
        "patch_size": patch_size or data.default_patch,
        "command": typed(),
        "versions": _versions(),
    }
    setattr(model, FITTED_ON, fitted_on)
    io.save(model, out)
    show(
        {
            "model": str(out),
            "method": method,
            "genes": len(model.genes_),
            "units": model.units_,
            "training_spots": adata.n_obs,
            "training_sections": fitted_on["sections"],
            "training_patients": fitted_on["patients"],
        },
        as_json,
    )


def _make_model(method, preset, featurizer, seed):
    """A method of this library that takes images."""
    from ..model_selection import method_presets
    from ..training import Trainer

    try:
        model = method_presets(preset, [method])[method].estimator
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--method") from error
    model.set_params(featurizer=featurizer, random_state=seed)
    if "trainer" in model.get_params(deep=False):
        model.set_params(trainer=model.trainer or Trainer()).set_params(trainer__verbose=bars())
    return model
