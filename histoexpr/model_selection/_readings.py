"""A fitted model and what is asked of it."""

import copy
import dataclasses

from sklearn.base import clone

from ..base import BaseExpressionRegressor
from ..retrieval import SpotRetriever
from ._prepare import fill_expression


def apply_reading(model, reading, y):
    """A fitted model as a Reading asks for it; the model itself stays as it is.

    Parameters
    ----------
    model : fitted estimator
    reading : Reading
    y : AnnData of shape (n_train, n_genes)
        What the model was fitted on.

    Returns
    -------
    fitted estimator
    """
    model = copy.copy(model)
    if reading.parameters:
        model.set_params(**reading.parameters)
    return model if reading.returned is None else return_as(model, reading.returned, y)


def searches(model):
    """Whether predictions are made of training spots that were found."""
    found_by = getattr(model, "predict_by", "retrieval")
    return hasattr(model, "kneighbors") and found_by == "retrieval"


def return_as(model, expression, y):
    """A fitted method that searches, its answers in another expression of the same spots.

    Nothing is trained again: it equals the method that is fitted with
    ``retriever=SpotRetriever(expression=expression)``.

    Parameters
    ----------
    model : fitted estimator
        For which `searches` is true.
    expression : ExpressionTransformer
    y : AnnData of shape (n_train, n_genes)
        What the model was fitted on.

    Returns
    -------
    fitted estimator
    """
    expression = clone(expression)
    if getattr(expression, "genes", ()) is None:
        expression.set_params(genes=list(model.genes_))
    found_by = model if isinstance(model, SpotRetriever) else model.retriever_
    retriever = clone(found_by).set_params(expression=expression).fit(found_by.embeddings_, y)
    if found_by is model:
        return retriever
    model = copy.copy(model)
    model.retriever_ = retriever
    for name in ("expression_", "genes_", "units_", "n_outputs_"):
        setattr(model, name, getattr(retriever, name))
    return model


def returning(method, expression):
    """A Method whose predictions are in another expression than what it embeds.

    Parameters
    ----------
    method : Method
    expression : ExpressionTransformer

    Returns
    -------
    Method
        What searches returns `expression`; a regressor learns it; a method of this library that
        decodes predicts what it was trained on.
    """
    readings, estimator = {}, clone(method.estimator)
    for name, reading in method.readings.items():
        if searches(clone(estimator).set_params(**reading.parameters)):
            reading = dataclasses.replace(reading, returned=expression)
        readings[name] = reading
    if learns_returned(estimator):
        fill_expression(estimator, expression, replace=True)
    return dataclasses.replace(method, estimator=estimator, readings=readings)


def learns_returned(estimator):
    """Whether predictions can be in another expression only by learning that."""
    return not (isinstance(estimator, BaseExpressionRegressor) or hasattr(estimator, "kneighbors"))
