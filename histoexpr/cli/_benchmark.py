"""``histoexpr benchmark``: methods compared, results and a report."""

import json
from pathlib import Path

import click

from ..utils import written_aside
from ._command import STOPPED, Command, bars, typed
from ._inputs import (
    FeaturizerType,
    Names,
    SourceType,
    check_among,
    make_featurizer,
    read_genes,
)
from ._run_folder import claim

PROTOCOLS = ("patient-out", "section-out", "patient-k-fold", "train-test", "published")
RECORD = "benchmark.json"
RESULTS = ("results.parquet", "summary.csv", "report.html")
_TITLES = {
    "patient-out": "one patient left out",
    "section-out": "one section left out",
    "patient-k-fold": "patients in folds",
    "train-test": "named training and test sections",
    "published": "the published protocol",
}
_NO_EFFECT = ("jobs", "published", "show_genes")  # on the scores


@click.command(
    cls=Command,
    short_help="Compare methods, and write a report.",
    epilog="""\b
Examples:
  histoexpr benchmark --data her2st:her2st --genes panel.txt --out out
  histoexpr benchmark --data sheet.csv --methods STco,Reg2ST --featurizer timm:resnet50 --out out
  histoexpr benchmark --data her2st:her2st --protocol section-out --genes panel.txt \\
      --featurizer timm:mobilenetv2_100 --weights mobilenetv2.safetensors --jobs 2 --out out
  histoexpr benchmark --data sheet.csv --protocol train-test --train S1,S2 --test S3 --out out
""",
)
@click.option(
    "--data", type=SourceType(), metavar="her2st:DIR|SHEET.csv", required=True,
    help="The her2st data, or a sheet of sections (columns section, patient, path).",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="Folder for results.parquet, summary.csv and report.html; a run that was stopped goes on.",
)  # fmt: skip
@click.option(
    "--methods", type=Names(), metavar="all|NAME,...", default="all", show_default=True,
    help="Which methods; a wrong name lists them.",
)  # fmt: skip
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS),
    help="Who is tested, and from whom is learnt. published: section-out, retrieved and scored "
    "on expression normalised by gene.  [default: patient-out, or train-test with --train]",
)  # fmt: skip
@click.option("--train", type=Names(), help="Training sections, of train-test.")
@click.option("--test", type=Names(), help="Test sections, of train-test.")
@click.option(
    "--folds", type=click.IntRange(2), metavar="N", help="Of patient-k-fold.  [default: 5]"
)
@click.option(
    "--genes", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="The panel, one gene a line.  [default: all genes]",
)  # fmt: skip
@click.option(
    "--featurizer", type=FeaturizerType(), metavar="timm:NAME|context:NAME|texture",
    default="timm:densenet121", show_default=True,
    help="What makes features of patches, for all methods. context: every stage of the network, "
    "two fields of view, quarter turns.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="Weights of the timm model; no hub is asked.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(["quick", "paper"]), default="quick", show_default=True,
    help="quick makes the largest methods smaller; the table says what.",
)  # fmt: skip
@click.option(
    "--patch-size", metavar="SIZE",
    help="Side of a patch, such as 224px or 112um.  [default: 224px for her2st, as the papers]",
)  # fmt: skip
@click.option(
    "--jobs", type=int, metavar="N", default=-1,
    help="Fits at a time, a core each.  [default: all cores]",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True)
@click.option(
    "--published/--no-published", default=None,
    help="Published rows beside ours.  [default: where there are some]",
)  # fmt: skip
@click.option("--show-genes", type=Names(), help="Genes that the report draws.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace results of other settings in --out.")
@click.pass_context
def command(ctx, as_json, overwrite, **options):
    """Compare methods on the same spots, genes and folds.

    Each method is fitted on the training sections of each fold and scored on its test sections:
    Pearson correlation of each gene within each section. Controls (mean, shuffled, kNN, tuned
    ridge) stand beside every result. Each fit is kept in --out when it ends: the same command
    goes on from there, and a finished one is read back.
    """
    options["protocol"] = _check_protocol(options)
    out = options.pop("out")
    try:
        results = _run(out, overwrite, **options)
    except KeyboardInterrupt:
        click.echo(f"Stopped. The same command goes on from what is in {out}.", err=True)
        ctx.exit(STOPPED)
    summary = _summary(results, out)
    click.echo(json.dumps(summary, indent=2) if as_json else in_table(results, out))
    ctx.exit(1 if summary["failed_fits"] else 0)


def _check_protocol(options):
    """The protocol asked for; refuses options that have no place in it."""
    lists = options["train"] is not None or options["test"] is not None
    protocol = options["protocol"] or ("train-test" if lists else "patient-out")
    if protocol == "train-test" and (options["train"] is None or options["test"] is None):
        raise click.UsageError("--protocol train-test needs both --train and --test.")
    if protocol != "train-test" and lists:
        raise click.UsageError(f"--train and --test belong to train-test, not to {protocol}.")
    if protocol != "patient-k-fold" and options["folds"] is not None:
        raise click.UsageError(f"--folds belongs to patient-k-fold, not to {protocol}.")
    if options["published"] and not _has_published(options["data"], protocol):
        raise click.UsageError("--published: there are figures for her2st under section-out alone.")
    return protocol


def _has_published(data, protocol):
    return data.kind == "her2st" and protocol in ("section-out", "published")


def _run(out, overwrite, *, data, methods, protocol, genes, featurizer, weights, **options):
    """Check all that can be, run what is not done yet, write the results; the DataFrame."""
    from .. import model_selection

    methods = "all" if methods == ["all"] else methods
    try:
        model_selection.method_presets(options["preset"], methods)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--methods") from error
    made = make_featurizer(featurizer, weights, verbose=bars())
    images, adata = data.load(options["patch_size"])
    panel = None if genes is None else read_genes(genes, adata.var_names)
    check_among(options["show_genes"] or [], panel or adata.var_names, "--show-genes")
    given = _protocol_arguments(protocol, adata, panel, options)
    given["protocol"].folds(images, adata)  # refuses what the data does not allow
    settings = {
        "data": str(data.path.resolve()), "methods": methods, "protocol": protocol,
        "genes": _absolute(genes), "featurizer": featurizer, "weights": _absolute(weights),
        **{name: value for name, value in options.items() if name not in _NO_EFFECT},
    }  # fmt: skip
    claim(out, RECORD, settings, RESULTS, overwrite)
    results, predictions = model_selection.benchmark(
        methods,
        images,
        adata,
        preset=options["preset"],
        featurizer=made,
        n_jobs=options["jobs"],
        out=out,
        checkpoints=options["preset"] == "paper",
        random_state=options["seed"],
        return_predictions=True,
        verbose=bars(),
        **given,
    )
    write_results(results, out)
    told = {
        "Command": typed(),
        "Scores of every gene": f"{RESULTS[0]}, beside this page",
        "Preset": options["preset"],
        "Patches": options["patch_size"] or data.default_patch or "as the reader cuts them",
        "Features": ", ".join(filter(None, [featurizer, weights])),
    }
    _write_report(results, out, predictions, images, adata, given, data, protocol, options, told)
    return results


def _absolute(path):
    return None if path is None else str(Path(path).resolve())


def write_results(results, out):
    """Write results.parquet and summary.csv, each whole or not at all."""
    from ..model_selection import summarize

    with written_aside(out / "results.parquet") as aside:
        results.to_parquet(aside, index=False)
    with written_aside(out / "summary.csv") as aside:
        summarize(results).to_csv(aside)


def _protocol_arguments(protocol, adata, panel, options):
    """``protocol``, ``expression`` and ``returned`` of `benchmark`."""
    from ..model_selection import PatientKFold, TrainTest, check_protocol, published_protocol
    from ..preprocessing import ExpressionTransformer

    if protocol == "published":
        given = published_protocol(adata, panel)
        return {**given, "protocol": check_protocol(given["protocol"])}
    if protocol == "train-test":
        chosen = TrainTest(options["train"], options["test"])
    elif protocol == "patient-k-fold":
        chosen = PatientKFold(options["folds"] or 5)
    else:
        chosen = check_protocol(protocol)
    return {"protocol": chosen, "expression": ExpressionTransformer(panel)}


def _write_report(
    results, out, predictions, images, adata, given, data, protocol, options, told
):
    from ..metrics import noise_ceiling
    from ..model_selection import published_scores
    from ..report import write_report

    published = _has_published(data, protocol) and options["published"] is not False
    scored = given.get("returned") or given["expression"]
    write_report(
        results,
        out / "report.html",
        title=f"Benchmark on {data.path.stem}, {_TITLES[protocol]}",
        predictions=predictions,
        images=images,
        adata=adata,
        ceiling=noise_ceiling(adata, scored, random_state=options["seed"]),
        published=published_scores("her2st") if published else None,
        genes=options["show_genes"],
        settings=told,
    )


def _summary(results, out):
    """The summary as JSON holds it."""
    from ..model_selection import summarize

    table = summarize(results).droplevel(0)
    control = results.drop_duplicates("method").set_index("method")["control"]
    scores = table.drop(columns=["mean", "undefined", "failed"])
    rows = [
        {
            "method": name,
            "control": bool(control[name]),
            "mean": _or_none(row["mean"]),
            "sections": {k: _or_none(v) for k, v in scores.loc[name].items()},
            "undefined": int(row["undefined"]),
            "failed": int(row["failed"]),
        }
        for name, row in table.iterrows()
    ]
    return {
        "protocol": results["protocol"].iloc[0],
        "score": "mean Pearson correlation over genes, per section",
        "rows": rows,
        "failed_fits": int(table["failed"].sum()),
        "files": [str(out / name) for name in RESULTS],
    }


def _or_none(value):
    return None if value != value else round(float(value), 6)


def in_table(results, out):
    """The summary as a terminal shows it."""
    from ..model_selection import summarize

    table = summarize(results).droplevel(0).rename_axis(None)
    text = table.to_string(float_format="{:.3f}".format, na_rep="failed")
    head = "Pearson correlation, mean over genes of each test section"
    return f"{head}, {results['protocol'].iloc[0]}\n\n{text}\n\nReport: {out / 'report.html'}"
