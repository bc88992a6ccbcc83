"""What is compared: the methods by name, and the controls that stand beside them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sklearn.dummy import DummyRegressor

from ..exceptions import InputError, InputTypeError
from ..methods import (
    GR2ST,
    ContrastiveEnsemble,
    ExpressionTargetRegressor,
    LinearProbe,
    MclSTExp,
    Reg2ST,
    STco,
    StInfer,
)
from ..retrieval import SpotRetriever
from ..training import Trainer
from ._names import check_known


@dataclass(frozen=True, eq=False)
class Reading:
    """How a fitted estimator is asked for predictions.

    Attributes
    ----------
    parameters : dict
        Set after the fit, e.g. ``{"predict_by": "retrieval"}``.
    returned : ExpressionTransformer or None
        What a search returns and is scored on; None is what was embedded.
    """

    parameters: dict = field(default_factory=dict)
    returned: Any = None


@dataclass(frozen=True, eq=False)
class Method:
    """An estimator in a benchmark.

    Attributes
    ----------
    estimator : estimator
        Never touched: a clone is fitted.
    readings : dict of str to Reading
        One fit gives a row of results for each. The row is called "name-reading", or as the
        method when the reading is called "".
    note : str
        What the reader of a table has to know, e.g. what a preset made smaller.
    control : bool
        Whether it is there to be compared with.
    shuffled : {"all", "within sections"} or None
        Whether training spots exchange their expression at random before the fit: all of them,
        or those of each section among themselves.
    """

    estimator: Any
    readings: dict = field(default_factory=lambda: {"": Reading()})
    note: str = ""
    control: bool = False
    shuffled: str | None = None

    def row_names(self, name):
        """The rows of results that a method of this name has, and their readings."""
        return {f"{name}-{suffix}" if suffix else name: r for suffix, r in self.readings.items()}


# A further method is one line here.
_METHODS = {
    "ContrastiveEnsemble": lambda: ContrastiveEnsemble(featurizer=None),
    "STco": lambda: STco(featurizer=None),
    "MclSTExp": lambda: MclSTExp(featurizer=None),
    "GR2ST": lambda: GR2ST(featurizer=None),
    "StInfer-retrieval": lambda: StInfer(featurizer=None),
    "StInfer-regression": lambda: StInfer(featurizer=None, predict_by="regression"),
    "Reg2ST": lambda: Reg2ST(featurizer=None, trainer=Trainer()),
}
METHOD_NAMES = tuple(_METHODS)

_READINGS = {
    "Reg2ST": {by: Reading({"predict_by": by}) for by in ("decoder", "retrieval")},
}

# What preset "quick" makes smaller, and what the paper has. Fewer steps go with a larger learning
# rate, but not with one so large that the few spots of a small cohort are learnt by heart.
_SMALLER = {
    "Reg2ST": {
        "hidden_dim": (256, 1024),
        "n_layers": (2, 6),
        "trainer__max_epochs": (100, 400),
        "trainer__lr": (3e-4, 1e-4),
    },
}
PRESETS = ("quick", "paper")

ALL, WITHIN = "all", "within sections"  # which training spots a control shuffles

_KNN = SpotRetriever(weights="uniform", metric="cosine")  # 200, clipped to the training spots
_CONTROLS = {
    "mean": Method(ExpressionTargetRegressor(DummyRegressor()), control=True),
    "shuffled": Method(
        _KNN,
        note="kNN; all training spots have exchanged their expression: about 0",
        control=True,
        shuffled=ALL,
    ),
    "shuffled in sections": Method(
        _KNN,
        note="kNN; the training spots of each section have exchanged their expression: what the "
        "look and the mean of whole sections are worth",
        control=True,
        shuffled=WITHIN,
    ),
    "kNN": Method(_KNN, control=True),
    "tuned ridge": Method(LinearProbe(featurizer=None), control=True),
}
CONTROL_NAMES = tuple(_CONTROLS)


def method_presets(preset="quick", names="all"):
    """The methods of this library, ready for `benchmark`.

    Parameters
    ----------
    preset : {"quick", "paper"}, default="quick"
        "paper" has each method as large as its paper, which may take hours; "quick" makes smaller
        what takes longest, and says so in ``note``.
    names : "all" or list of str, default="all"
        Of `METHOD_NAMES`.

    Returns
    -------
    dict of str to Method
        With ``featurizer=None``: `benchmark` gives them features.

    Raises
    ------
    ValueError
        If a preset or a method is not known.

    Examples
    --------
    >>> from histoexpr.model_selection import method_presets
    >>> method_presets("quick", ["Reg2ST"])["Reg2ST"].note
    'smaller than its paper (in brackets): hidden_dim 256 (1024), n_layers 2 (6), max_epochs 100 \
(400), lr 0.0003 (0.0001)'
    """
    check_known([preset], PRESETS, "presets")
    names = METHOD_NAMES if isinstance(names, str) and names == "all" else _listed(names)
    check_known(names, METHOD_NAMES, "methods")
    return {name: _make(name, preset) for name in names}


def controls_named(controls):
    """The controls asked for.

    Parameters
    ----------
    controls : bool or list of str
        True is all of `CONTROL_NAMES`.

    Returns
    -------
    dict of str to Method

    Raises
    ------
    ValueError
        If a name is not known.
    """
    if isinstance(controls, bool):
        return dict(_CONTROLS) if controls else {}
    controls = _listed(controls)
    check_known(controls, CONTROL_NAMES, "controls")
    return {name: _CONTROLS[name] for name in controls}


def check_methods(methods, preset, controls):
    """What was given as ``methods`` and ``controls``, as one dict from name to Method.

    Parameters
    ----------
    methods : "all", list of str, or dict of str to estimator or Method
    preset : str
    controls : bool or list of str

    Returns
    -------
    dict of str to Method

    Raises
    ------
    TypeError
        If something is no estimator.
    ValueError
        If a name is not known, or two rows of results have one name.
    """
    if isinstance(methods, dict):
        given = {str(name): _as_method(name, method) for name, method in methods.items()}
    else:
        given = method_presets(preset, methods)
    both = [*given.items(), *controls_named(controls).items()]
    rows = [row for name, method in both for row in method.row_names(name)]
    twice = sorted({row for row in rows if rows.count(row) > 1})
    if twice:
        raise InputError(
            f"two methods, or a method and a control, are called {', '.join(twice)}: give the "
            "method another name, or leave the control out with controls=[...]."
        )
    if not rows:
        raise InputError("there is nothing to compare: methods is empty and controls are off.")
    return dict(both)


def _make(name, preset):
    estimator, note = _METHODS[name](), ""
    if preset == "quick" and name in _SMALLER:
        smaller = _SMALLER[name]
        estimator.set_params(**{key: value for key, (value, _) in smaller.items()})
        changed = [
            f"{key.rpartition('__')[2]} {value:g} ({paper:g})"
            for key, (value, paper) in smaller.items()
        ]
        note = f"smaller than its paper (in brackets): {', '.join(changed)}"
    return Method(estimator, _READINGS.get(name, {"": Reading()}), note)


def _as_method(name, method):
    if isinstance(method, Method):
        return method
    if isinstance(method, type) or not (hasattr(method, "fit") and hasattr(method, "predict")):
        raise InputTypeError(
            f"methods[{name!r}] must be an estimator with fit and predict, such as STco(); got "
            f"{method!r}. Methods of this library may be given by name, in a list."
        )
    return Method(method)


def _listed(names):
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable):
        raise InputTypeError(f"names of methods or controls were expected; got {names!r}.")
    return list(names)
