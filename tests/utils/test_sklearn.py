"""What scikit-learn's checks refuse is of the library's family, and still scikit-learn's own."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import InvalidParameterError

from histoexpr import (
    ContextFeaturizer,
    LinearProbe,
    NeighborFeatures,
    SectionCenterer,
    SpotPatches,
    metrics,
)
from histoexpr.exceptions import InputError, InputTypeError

X, Y = np.eye(6), np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    "call, kind, ours, words",
    [
        (lambda: LinearProbe(None, cv="x").fit(X, Y), InvalidParameterError, InputError, "'cv'"),
        (lambda: metrics.noise_ceiling(Y, n_splits=0), InvalidParameterError, InputError, "Got 0"),
        (lambda: LinearProbe(None).predict(X), NotFittedError, InputError, "not fitted yet"),
        (lambda: SectionCenterer().fit(X * np.nan), ValueError, InputError, "contains NaN"),
        (lambda: SectionCenterer().fit(X[0]), ValueError, InputError, "Expected 2D array"),
        (lambda: metrics.mae_per_gene(3, X), TypeError, InputTypeError, "at least 1 dimension"),
    ],
)
def test_refusals_of_scikit_learn(call, kind, ours, words):
    with pytest.raises(kind, match=words) as caught:
        call()
    assert isinstance(caught.value, ours)
    assert type(caught.value.__cause__) is not type(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes from a worker
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


class Refuses(FunctionTransformer):
    def transform(self, images):
        raise ValueError("not this one")


def test_refusals_of_what_is_passed_in():
    images = SpotPatches.from_arrays(np.zeros((6, 4, 4, 3), np.uint8), spatial=np.eye(6)[:, :2])
    inner = Refuses(validate=False)
    around = ContextFeaturizer(inner, fields_of_view=(1.0,))
    for model in (LinearProbe(inner), NeighborFeatures(inner), around):
        with pytest.raises(InputError, match="not this one"):
            model.fit(images, Y).transform(images)


def test_what_a_function_itself_meets_is_not_translated():
    def broken(truth, predicted):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        metrics.score_table(X, X, score=broken)
