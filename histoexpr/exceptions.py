"""What goes wrong, as a small family: ``except HistoexprError`` catches all that is raised here.

Each is also the built-in exception that a user of scikit-learn expects, so code that catches
``ValueError`` needs to know none of these names. What scikit-learn's checks refuse (a parameter of
an estimator, NaN in an array, a call before `fit`) is an InputError or InputTypeError with
scikit-learn's message, and still its ``InvalidParameterError`` or ``NotFittedError``. So is the
ValueError or TypeError of an estimator of another library that is passed in; whatever else that
raises is raised as it is.
"""

__all__ = [
    "DivergenceError",
    "FileError",
    "HistoexprError",
    "InputError",
    "InputTypeError",
    "MissingFileError",
    "MissingPackageError",
]


class HistoexprError(Exception):
    """Base of the exceptions of this library."""


class InputError(HistoexprError, ValueError):
    """A value, an array or the content of a file is not what it has to be."""


class InputTypeError(HistoexprError, TypeError):
    """An object of another type was given."""


class FileError(HistoexprError, OSError):
    """A file or an address cannot be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """There is no such file."""


class DivergenceError(InputError, FloatingPointError):
    """Training left the finite numbers."""


class MissingPackageError(HistoexprError, ImportError):
    """An extra of the library is not installed; the message says which."""
