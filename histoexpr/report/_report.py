"""One self-contained page on a benchmark."""

import datetime
import os
from numbers import Integral
from pathlib import Path

import pandas as pd
from sklearn.utils._param_validation import Interval

from .. import _keys
from .._version import __version__
from ..exceptions import InputError, MissingFileError
from ..utils import import_optional, name_some, written_aside
from ..utils._reading import read_parquet
from ..utils._sklearn import validate_params
from ..utils._tables import check_columns
from ._blocks import Section, numbered
from ._drawn import drawn_sections
from ._measures import measure_table
from ._overview import describe_settings, lead, notices, versions
from ._pictures import score_figure
from ._statistics import statistics_blocks
from ._tables import cost_table, error_table, score_table

_NAMES = ("protocol", "method", "control", "fold", _keys.SECTION, _keys.PATIENT, "gene", "units",
          "seed", "error")  # fmt: skip
_NUMBERS = ("patient_in_training", "pearson", "rmse", "mae", "n_train", "n_spots", "seconds_fit",
            "seconds_predict", "peak_memory")  # fmt: skip


@validate_params(
    {
        "path": [str, os.PathLike],
        "title": [str],
        "predictions": [dict, None],
        "ceiling": [pd.DataFrame, pd.Series, None],
        "published": [pd.DataFrame, None],
        "method": [str, None],
        _keys.SECTION: [str, None],
        "genes": ["array-like", None],
        "n_genes": [Interval(Integral, 1, None, closed="left")],
        "settings": [dict, None],
    },
    prefer_skip_nested_validation=True,
)
def write_report(
    results,
    path,
    *,
    title="Benchmark",
    predictions=None,
    images=None,
    adata=None,
    ceiling=None,
    published=None,
    method=None,
    section=None,
    genes=None,
    n_genes=3,
    settings=None,
):
    """Write the results of a benchmark as one HTML page that needs nothing beside it.

    Parameters
    ----------
    results : DataFrame or path
        What `histoexpr.model_selection.benchmark` returned, of one protocol; or the
        ``results.parquet`` that holds it.
    path : str or Path
        Of the page; a file that is there is replaced.
    title : str, default="Benchmark"
    predictions : dict of str to AnnData, or None, default=None
        As ``benchmark(..., return_predictions=True)`` returned it; None leaves out the pictures
        of genes and neighbours, and domains.
    images : SpotPatches or None, default=None
        What was benchmarked: the H&E below the maps, and the patches of neighbours.
    adata : AnnData or None, default=None
        The raw counts that were benchmarked: sets of genes, and `genes` when it is None, are
        chosen on its training spots; ``obs["domain"]``, where there is one, labels domains.
    ceiling : DataFrame, Series or None, default=None
        The counting-noise ceiling of each section, or of each section (row) and gene, as
        `histoexpr.metrics.noise_ceiling` returns it.
    published : DataFrame or None, default=None
        Published mean PCC beside ours: a row for each section, a column for each method.
    method : str or None, default=None
        Whose predictions are drawn; None is the first that is no control.
    section : str or None, default=None
        The test section that is drawn; None is the one with the most spots.
    genes : list of str or None, default=None
        What is drawn; None is the `n_genes` of the highest counting-noise ceiling in the training
        sections of the fold: nothing of a test section is looked at.
    n_genes : int, default=3
    settings : dict of str to str, or None, default=None
        Further settings to name, such as the command that was typed.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If results are of another kind or of several protocols, or a method, section or gene to
        draw is not there.
    FileNotFoundError
        If there is no such file of results.
    ImportError
        Without matplotlib.
    """
    import_optional("matplotlib.figure", extra="plot", purpose="write_report")
    results = _check_results(results)
    if isinstance(ceiling, pd.DataFrame):
        ceiling = ceiling.mean(axis=1)
    drawn = []
    if predictions:  # none where every fit failed
        drawn = drawn_sections(
            results,
            predictions,
            images,
            adata,
            method=method,
            section=section,
            genes=genes,
            n_genes=n_genes,
        )
    scores = [score_table(results, ceiling, published), error_table(results)]
    sections = [
        Section("scores", "Scores", scores),
        Section("differences", "Differences between methods", statistics_blocks(results)),
        Section("distributions", "Distributions", [score_figure(results)]),
        *drawn,
        Section("measures", "Further measures", [measure_table(results, adata, predictions)]),
        Section("cost", "Cost", [cost_table(results)]),
        Section("settings", "Settings", describe_settings(results, settings or {})),
        Section("versions", "Versions", versions(results)),
    ]
    page = _render(
        title=title, lead=lead(results), notices=notices(results), sections=numbered(sections)
    )
    with written_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return Path(path)


def _check_results(results):
    """The results as a DataFrame of one protocol."""
    if isinstance(results, (str, os.PathLike)):
        if not os.path.isfile(results):
            raise MissingFileError(f"There are no results at {str(results)!r}.")
        results = read_parquet(results)
    check_columns(results, "results of a benchmark", _NAMES, _NUMBERS)
    control = results["control"]
    if not control.isin([True, False]).all():
        raise InputError(
            "results of a benchmark must hold True or False in the column 'control'; got "
            f"{name_some(control.unique())}."
        )
    results = results.assign(control=control.astype(bool))
    protocols = results["protocol"].unique()
    if len(protocols) != 1:
        raise InputError(
            f"a report is on one protocol; results hold {len(protocols)}: "
            f"{name_some(protocols) or 'no rows'}. Write one for each."
        )
    return results


def _render(**parts):
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    date = datetime.date.today().isoformat()
    return environment.get_template("report.html").render(
        version=__version__, date=date, **parts
    )
