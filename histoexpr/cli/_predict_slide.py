"""``histoexpr predict-slide``: gene maps of whole slides that have no expression."""

from pathlib import Path

import click

from ._command import Command, bars
from ._inputs import Names
from ._models import ModelType, allow_pickle_option, final_step, read_model
from ._output import show

GRIDS = ("spots", "hexagonal", "square", "dense")
SUFFIXES = (".h5ad", ".zarr")


@click.command(
    cls=Command,
    short_help="Predict expression over whole slides.",
    epilog="""\b
Examples:
  histoexpr predict-slide tumour.svs --model stco.histoexpr --out tumour.h5ad
  histoexpr predict-slide slides/*.svs --model stco.histoexpr --out predicted --maps ERBB2,KRT19
""",
)
@click.argument(
    "slides", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SLIDE..."
)
@click.option("--model", type=ModelType(), required=True, metavar="FILE", help="From fit.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE|DIR",
    help="FILE.h5ad or FILE.zarr for one slide; a folder, with an .h5ad for each slide.",
)  # fmt: skip
@click.option(
    "--mpp", type=click.FloatRange(min=0, min_open=True),
    help="Micrometres per pixel.  [default: as the slide says]",
)  # fmt: skip
@click.option("--grid", type=click.Choice(GRIDS), default="spots", show_default=True)
@click.option("--pitch", metavar="SIZE", help="From spot to spot, such as 50um.")
@click.option("--patch-size", metavar="SIZE", help="Such as 112um.  [default: as in training]")
@click.option("--smooth", metavar="SIZE", help="Gaussian over neighbouring spots, such as 100um.")
@click.option("--genes", type=Names(), help="What to keep.  [default: all the model predicts]")
@click.option(
    "--maps", type=Names(), help="Draw these genes, in the folder maps beside the predictions."
)
@click.option(
    "--map-kind", type=click.Choice(["png", "ome.tiff"]), default="png", show_default=True,
    help="A picture for each gene, or a file of values that viewers lay over the slide.",
)  # fmt: skip
@click.option("--no-resume", is_flag=True, help="Do again what an earlier run has finished.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@allow_pickle_option
@click.pass_context
def command(
    ctx, slides, model, out, maps, map_kind, no_resume, as_json, allow_pickle, **options
):
    """Find the tissue on each slide, cover it with spots and predict their expression.

    The same command goes on from what a stopped run has done. A slide that cannot be read does
    not stop the others; it is named at the end, and the exit code is 1.
    """
    from ..slides import SlidesFailed, predict_slide, predict_slides, write_gene_maps

    estimator, _ = read_model(model, allow_pickle)
    _check_genes(estimator, maps, options["genes"])
    failed = None
    options = {**options, "resume": not no_resume, "verbose": bars()}
    if out.suffix in SUFFIXES:
        if len(slides) > 1:
            raise click.BadParameter(
                f"{str(out)!r} is one file; for {len(slides)} slides name a folder.",
                param_hint="--out",
            )
        done = {slides[0]: predict_slide(estimator, slides[0], out, **options)}
    else:
        try:
            done = predict_slides(estimator, slides, out, **options)
        except SlidesFailed as error:
            done, failed = error.done, error
    for path in done.values() if maps else ():
        write_gene_maps(path, path.parent / "maps", maps, kind=map_kind)
    if done:
        show({str(slide): str(path) for slide, path in done.items()}, as_json)
    if failed is not None:
        click.echo(f"Error: {failed}", err=True)
        ctx.exit(1)


def _check_genes(estimator, maps, genes):
    """Refuse genes to draw that will not be there, before slides are predicted for hours."""
    final = final_step(estimator)
    there = set(getattr(final, "genes_", ())) if genes is None else set(genes)
    missing = [gene for gene in maps or () if gene not in there]
    if missing:
        raise click.BadParameter(
            f"{', '.join(missing)} will not be predicted; histoexpr info FILE lists the genes.",
            param_hint="--maps",
        )
