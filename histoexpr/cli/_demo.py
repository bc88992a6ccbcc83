"""``histoexpr demo``: a benchmark on drawn sections, which needs no data and no weights."""

from pathlib import Path

import click

from ._benchmark import RESULTS, in_table, write_results
from ._command import Command, bars, typed
from ._run_folder import claim

COHORT = {"n_patients": 4, "grid": (14, 14), "n_genes": 60}
METHODS = ["STco", "StInfer-retrieval"]


@click.command(
    cls=Command,
    short_help="Compare methods on drawn sections: no data needed.",
    epilog="\b\nExample:\n  histoexpr demo --out demo",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("histoexpr_demo"), show_default=True,
    metavar="DIR", help="Folder for results.parquet, summary.csv and report.html.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Write into a folder with other things.")
def command(out, overwrite):
    """Draw a cohort of patients, compare two methods with the controls, and write the report.

    Sections and counts are made up: the report shows what a real one looks like, the scores say
    nothing about tissue.
    """
    from ..datasets import make_spatial_expression
    from ..featurizers import TextureFeaturizer
    from ..metrics import noise_ceiling
    from ..model_selection import benchmark
    from ..report import write_report

    claim(out, "demo.json", {"cohort": str(COHORT), "methods": METHODS}, RESULTS, overwrite)
    images, adata = make_spatial_expression(**COHORT, random_state=0)
    results, predictions = benchmark(
        METHODS,
        images,
        adata,
        featurizer=TextureFeaturizer(verbose=bars()),
        out=out,
        return_predictions=True,
        verbose=bars(),
    )
    write_results(results, out)
    write_report(
        results,
        out / "report.html",
        title="Demonstration on drawn sections",
        predictions=predictions,
        images=images,
        adata=adata,
        ceiling=noise_ceiling(adata, random_state=0),
        settings={"Command": typed()},
    )
    click.echo(in_table(results, out))
