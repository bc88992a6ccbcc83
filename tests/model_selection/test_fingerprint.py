"""What makes two fits the same fit."""

import json

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

from histoexpr import ExpressionTransformer, SpotRetriever, STco, Trainer
from histoexpr.data import unpack_target
from histoexpr.model_selection._fingerprint import data_key, describe, key_of


def scaled_by(factor):
    return lambda values: values * factor


@pytest.mark.parametrize(
    "one, other",
    [
        (STco(temperature=1.0), STco(temperature=0.5)),
        (STco(trainer=Trainer(lr=1e-3)), STco(trainer=Trainer(lr=1e-4))),
        (STco(retriever=SpotRetriever(5)), STco()),
        (ExpressionTransformer(["g1", "g2"]), ExpressionTransformer(["g2", "g1"])),
        (ExpressionTransformer([f"g{i}" for i in range(99)]),
         ExpressionTransformer([f"g{i}" for i in range(98)] + ["x"])),
        (np.arange(50), np.arange(1, 51)),
        (FunctionTransformer(lambda x: x + 1), FunctionTransformer(lambda x: x + 2)),
        (FunctionTransformer(scaled_by(2)), FunctionTransformer(scaled_by(3))),
        (FunctionTransformer(np.log1p), FunctionTransformer(np.exp)),
        (np.random.RandomState(0), np.random.RandomState(1)),
    ],
)  # fmt: skip
def test_other_settings_are_another_fit(one, other):
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    "one, other",
    [
        (STco(), STco()),
        (STco(trainer=Trainer(verbose=1, checkpoint_dir="here")), STco(trainer=Trainer())),
        (FunctionTransformer(scaled_by(2)), FunctionTransformer(scaled_by(2))),
        (FunctionTransformer(np.log1p), FunctionTransformer(np.log1p)),
        (np.int64(3), 3),
    ],
)
def test_what_moves_no_result_does_not_count(one, other):
    assert key_of(one) == key_of(other)


def test_settings_can_be_read():
    told = describe(STco(expression=ExpressionTransformer([f"g{i}" for i in range(99)])))
    assert told["class"] == "histoexpr.methods._stco.STco"
    genes = told["parameters"]["expression"]["parameters"]["genes"]
    assert (genes["length"], genes["first"]) == (99, ["g0", "g1", "g2"])
    assert json.loads(json.dumps(told)) == told


def test_a_masked_array_is_the_array_that_estimators_see():
    features, target = np.eye(3), unpack_target(np.ones((3, 2)))
    masked = np.ma.masked_array(features, features > 0)
    assert data_key(masked, target, None) == data_key(features, target, None)
