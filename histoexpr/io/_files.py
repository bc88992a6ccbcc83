"""Fitted models on disk."""

import warnings
from collections.abc import Iterable
from numbers import Real

import joblib
from safetensors import numpy as safetensors
from sklearn.base import BaseEstimator

from ..exceptions import (
    FileError,
    HistoexprError,
    InputError,
    InputTypeError,
    MissingFileError,
)
from ..preprocessing._target_mixin import _versions
from ..utils import written_aside
from ..utils._files import check_path
from . import _archive
from ._archive import ARRAYS, CARD, STRUCTURE
from ._card import card as describe_on_card
from ._classes import Known
from ._describe import describe
from ._graph import Reader, Writer

_FORMAT, _VERSION = "histoexpr model", 1
_LONGEST = 2000  # characters of a message
_PICKLES = (".joblib", ".pkl", ".pickle")
_STATED = ("class", "genes", "units")  # by the manifest, and read by people and programs
_TELLING = ("histoexpr", "scikit-learn", "timm")  # packages whose versions may change predictions


def save(model, path, *, card=None):
    """Write a model to a file that can be loaded without running code, whole or not at all.

    Parameters
    ----------
    model : estimator
        An estimator of this library, or a Pipeline or other estimator of scikit-learn's that
        holds one.
    path : str or Path
        Conventionally ``*.histoexpr``. A path that ends in ``.joblib``, ``.pkl`` or ``.pickle``
        is written by joblib: it can hold any object, and `load` refuses it unless told otherwise.
    card : str, default=None
        Markdown for the README.md in the file; None is that of `card`.

    Raises
    ------
    TypeError
        If ``model`` is not an estimator, or holds what is no data: functions, objects whose
        state is compiled (forests). The message names the attribute.
    ValueError
        If something in it cannot be written for another reason.
    OSError
        If the file cannot be written; what was there before is then as it was.

    See Also
    --------
    card : The page of Markdown, with scores.

    Notes
    -----
    A zip: ``README.md`` (the card), ``manifest.json`` (what the model is, versions, checksums),
    ``structure.json`` and ``arrays.safetensors``. The same model gives the same bytes. Weights
    of a frozen backbone are in the file if the featurizer says ``store_weights_in_pickle=True``.
    """
    path = check_path(path)
    if not isinstance(model, BaseEstimator):
        raise InputTypeError(f"model must be an estimator; got {type(model).__name__}.")
    if not isinstance(card, (str, type(None))):
        raise InputTypeError(f"card must be Markdown, a str, or None; got {type(card).__name__}.")
    if path.suffix in _PICKLES:
        with written_aside(path) as aside:
            joblib.dump(model, aside, compress=3)
        return
    writer = Writer()
    writer.write(model)
    manifest = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "versions": _versions(),
        "model": describe(model),
    }
    page = describe_on_card(model) if card is None else card
    members = {
        CARD: page.encode(errors="replace"),
        STRUCTURE: _archive.as_json(writer.nodes),
        ARRAYS: safetensors.save(writer.arrays),
    }
    _archive.write_archive(path, manifest, members)


def load(path, *, trusted=(), allow_pickle=False, max_bytes=2**34):
    """Read a model written by `save`.

    No code of the file is run: it holds data, and the names of classes that this library knows.
    Everything is checked before it is used, and nothing is written to disk.

    Parameters
    ----------
    path : str or Path
    trusted : iterable of type, default=()
        Classes of your own that the file may name, too. Their methods, ``__setstate__`` among
        them, get what the file says. With SpotRetriever among them, an approximate FAISS index
        is taken from the file as it is, which nothing can check, and may be of any kind; else it
        is built again at the first search.
    allow_pickle : bool, default=False
        Whether to load files of joblib. They can run any code: only from people you trust.
    max_bytes : int, default=2**34
        Larger files are refused. Loading takes some two times the memory of the file.

    Returns
    -------
    estimator

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If the file is changed, cut short, of a newer format, names an unknown class, or holds
        what is no model; or is joblib's, without ``allow_pickle=True``.
    TypeError
        If ``trusted`` holds something else than classes.

    Warns
    -----
    UserWarning
        If the file was written by other versions of histoexpr, scikit-learn or timm.
    """
    path = check_path(path)
    if not isinstance(max_bytes, Real) or not max_bytes >= 0:  # NaN is no limit
        raise InputError(f"max_bytes must be a number of at least 0; got {max_bytes!r}.")
    known = Known(_check_classes(trusted))
    if not path.is_file():
        raise MissingFileError(f"no model file at {str(path)!r}; histoexpr.save writes one.")
    try:
        with open(path, "rb") as file:
            is_archive = file.read(len(_archive.MAGIC)) == _archive.MAGIC
    except OSError as error:
        raise FileError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    if not is_archive and not allow_pickle:
        raise InputError(
            f"{str(path)!r} is no model file of histoexpr. If it was written by joblib, it can run "
            "any code when it is loaded: for files of people you trust, pass allow_pickle=True (on "
            "the command line --allow-pickle)."
        )
    model = _load_archive(path, known, max_bytes) if is_archive else _load_pickle(path)
    if not isinstance(model, BaseEstimator):
        raise InputError(f"{str(path)!r} holds a {type(model).__name__}, not an estimator.")
    return model


def _load_archive(path, known, max_bytes):
    try:
        manifest, members = _archive.read_archive(path, max_bytes)
        _check_format(manifest)
        _archive.check_members(manifest, members)
        nodes = _archive.from_json(members[STRUCTURE], STRUCTURE)
        model = Reader(_read_arrays(members.pop(ARRAYS)), known, max_bytes).read(nodes)
        _check_stated(model, manifest.get("model"))
    except HistoexprError as error:
        said = str(error).rstrip(".")[:_LONGEST]
        raise InputError(f"{str(path)!r} was not loaded: {said}.") from error
    _warn_of_versions(path, manifest.get("versions"))
    return model


def _check_format(manifest):
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if type(version) is not int or manifest.get("format") != _FORMAT or version < 1:
        raise InputError("its manifest is not that of a model")
    if version > _VERSION:
        raise InputError(
            f"it has format {version}, and this version of histoexpr reads up to {_VERSION}: "
            "upgrade histoexpr"
        )


def _read_arrays(data):
    try:
        return safetensors.load(data)
    except Exception as error:  # SafetensorError, KeyError for an unknown dtype, ...
        raise InputError(f"{ARRAYS} is not as safetensors writes it: {error!r}") from error


def _check_stated(model, stated):
    """What the manifest says must be what is in the file."""
    if not isinstance(model, BaseEstimator):
        raise InputError(f"it holds a {type(model).__name__}, not an estimator")
    try:
        found = describe(model)
    except Exception as error:  # of a model whose parts are no parts
        raise InputError(f"its parameters are not those of a model ({error!r})") from error
    for name in _STATED:
        if not isinstance(stated, dict) or stated.get(name) != found[name]:
            raise InputError(f"the manifest states another {name} than the model has")


def _warn_of_versions(path, written):
    here = _versions()
    written = written if isinstance(written, dict) else {}
    other = [
        f"{name} {str(written.get(name, 'unknown'))[:30]} (here {here[name]})"
        for name in _TELLING
        if written.get(name) != here[name]
    ]
    if other:
        warnings.warn(
            f"{str(path)!r} was written with {', '.join(other)}: its predictions may differ from "
            "those of then. Compare them on a section that was predicted then.",
            stacklevel=4,
        )


def _load_pickle(path):
    try:
        return joblib.load(path)
    except Exception as error:
        raise InputError(
            f"{str(path)!r} is no readable model ({type(error).__name__}: {error}); it may be cut "
            "short, or written by other versions of the packages."
        ) from error


def _check_classes(trusted):
    classes = list(trusted) if isinstance(trusted, Iterable) else [trusted]
    if not all(isinstance(cls, type) for cls in classes):
        raise InputTypeError(f"trusted= takes classes, e.g. trusted=[MyMethod]; got {trusted!r}.")
    return classes
