"""The model card: what a person has to know of a model before using it, as Markdown."""

import html
import inspect
import re

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from ..exceptions import InputError, InputTypeError
from ..preprocessing._target_mixin import _versions
from ._describe import describe, final_step

_MOST_GENES = 1000  # rows of a table

_USE = """\
For research. It estimates expression from images, and was not validated as a diagnostic device:
no decision about a patient may rest on it. What it predicts for a tissue, stain, scanner or scale
that its training data does not hold is not known; measure it there, on patients that it has not
seen, before trusting it. Where no scores are given here, nothing is claimed about its accuracy."""


def card(model, scores=None, *, measure="Pearson correlation within a section", license=None):
    """Describe a model on a page of Markdown: what it is, its data, its scores, its limits.

    Parameters
    ----------
    model : estimator
        Of this library, or a Pipeline that ends in one.
    scores : DataFrame of shape (n_sections, n_genes) or Series of shape (n_genes,), default=None
        Of spots that the model has not seen, as `metrics.score_table` gives them; columns (or the
        index) are genes. None: the card says that there are none.
    measure : str, default="Pearson correlation within a section"
        What the scores are.
    license : str, default=None
        Under which the model may be used. None: the card says that it is not stated.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If `scores` are of other genes than the model's, or no table of numbers.
    TypeError
        If `model` is not an estimator.
    """
    if not isinstance(model, BaseEstimator):
        raise InputTypeError(f"model must be an estimator; got {type(model).__name__}.")
    told, final = describe(model), final_step(model)
    document = inspect.getdoc(type(final)) or ""
    summary = document.partition("\n\n")[0].replace("\n", " ")
    parts = [
        f"# {type(final).__name__}",
        _text(summary),
        "## What it is\n\n" + _list(_identity(told, document)),
        "## Training data\n\n" + _list(_data(told, final)),
        "## Scores\n\n" + _scores(scores, measure, told["genes"]),
        _reliability(final),
        "## Use and limits\n\n" + _USE,
        "## Licence\n\n" + _text(license or "Not stated: ask whoever gave you the model."),
        "## Made with\n\n" + _list(_versions()),
        "## Parameters\n\n" + _list((k, repr(v)) for k, v in told["parameters"].items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _identity(told, document):
    yield "Class", told["class"]
    if told["steps"]:
        yield "Steps", ", ".join(told["steps"])
    references = re.search(r"\nReferences\n-+\n(.*?)(?=\n\n\w|\Z)", document, re.DOTALL)
    if references:
        yield "Source", " ".join(re.sub(r"\.\. \[\d+\]", "", references[1]).split())
    if told["genes"] is not None:
        yield "Predicts", f"{len(told['genes'])} genes"
        yield "Units", told["units"]
    patches = told["patches"]
    if patches is not None:
        height, width = patches["shape"]
        yield "Patches", f"{height} x {width} px"
        if patches["mpp"] is not None:
            yield "Scale", f"{patches['mpp']:.4g} µm per pixel, {patches['width_um']:.4g} µm wide"
    for backbone in told["backbones"]:
        trained = "trained with the model" if backbone["trained"] else "frozen"
        yield (
            "Backbone",
            f"{backbone['name']} ({backbone['architecture']}), {trained}, "
            f"weights SHA-256 {backbone['weights_sha256']}",
        )


def _data(told, final):
    training = told["training"]
    yield "Spots", training["n_spots"]
    for name in ("patients", "sections"):
        groups = training[name]
        if groups is not None:
            yield name.capitalize(), f"{len(groups)}: {', '.join(groups)}"
    held_out = ", ".join(training["held_out"])
    yield "Held out for early stopping", held_out or "none"
    expression = getattr(final, "expression_", None)
    yield "Expression", "as given, an array" if expression is None else repr(expression)


def _scores(scores, measure, genes):
    if scores is None:
        return "None were given."
    if isinstance(scores, pd.Series):
        scores = scores.to_frame().T
    if not isinstance(scores, pd.DataFrame) or scores.empty:
        raise InputError(
            "scores must be a DataFrame (n_sections, n_genes), as metrics.score_table gives it, or "
            f"a Series (n_genes,); got {scores!r:.200}."
        )
    unknown = sorted(set(map(str, scores.columns)) - set(genes or ()))
    if unknown:
        raise InputError(
            f"scores name {len(unknown)} genes that the model does not predict, such as "
            f"{unknown[0]!r}; give score_table(..., genes=model.genes_)."
        )
    try:
        scores = scores.astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"scores must be numbers, or NaN; {error}.") from error
    of_gene = scores.mean().sort_values(ascending=False)
    parts = [f"{_text(measure)}, on spots that the model has not seen."]
    if len(scores) > 1:
        parts.append(_table(["Section", "Mean over genes"], scores.mean(axis=1)))
    parts.append(f"Mean over {len(of_gene)} genes: {_number(of_gene.mean())}")
    parts.append(_table(["Gene", "Mean over sections"], of_gene))
    return "\n\n".join(parts)


def _reliability(final):
    reliability = getattr(final, "gene_reliability_", None)
    if reliability is None:
        return ""
    return (
        "## Reliability of genes\n\nCorrelation on training spots that were left out, as a share "
        "of what the noise of counting allows.\n\n"
        + _table(["Gene", "Reliability"], reliability.sort_values(ascending=False))
    )


def _table(head, values):
    rows = [f"| {' | '.join(head)} |", "|---|---|"]
    shown = values.iloc[:_MOST_GENES]
    rows += [f"| {_text(name)} | {_number(value)} |" for name, value in shown.items()]
    left = len(values) - len(shown)
    return "\n".join(rows) + (f"\n\n{left} more are not shown." if left else "")


def _list(pairs):
    pairs = pairs.items() if isinstance(pairs, dict) else pairs
    return "\n".join(f"- {_text(name)}: {_text(value)}" for name, value in pairs)


def _number(value):
    return "not defined" if np.isnan(value) else f"{value:.3f}"


def _text(value):
    """A value in a line, with nothing in it that Markdown or a browser would take for its own."""
    value = "not known" if value is None else str(value)
    return html.escape(" ".join(value.split()), quote=False).replace("|", "\\|")
