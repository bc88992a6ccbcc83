"""Features of spots that remember where the spots are."""

from dataclasses import dataclass, replace

import numpy as np

from .. import _keys
from ..exceptions import InputError
from ..utils._validation import as_array
from ._patch_checks import check_names, check_spatial
from ._target import check_one_patient_a_section, check_positions

_CARRIED = (_keys.SPATIAL, "positions", _keys.SECTION, _keys.PATIENT)


@dataclass(frozen=True, eq=False, repr=False)
class SpotFeatures:
    """A feature array as X for methods that look at a section as a whole.

    Slicing keeps features, sections and positions together, so it goes through scikit-learn's
    cross-validation. A transformer that returns an array (StandardScaler, PCA) forgets them: put
    such steps before this object is made, or into a method's ``featurizer=``.

    Parameters
    ----------
    features : array-like of shape (n_spots, n_features)
    spatial : array-like of shape (n_spots, 2) or None, default=None
        (x, y) of the spot centre in pixels at full resolution.
    positions : array-like of shape (n_spots, 2) or None, default=None
        Grid coordinates (array_col, array_row), whole numbers of at least 0.
    section, patient : array-like of shape (n_spots,) or None, default=None

    Raises
    ------
    ValueError
        If ``features`` has not two dimensions, something else not a row for each spot, or a
        section spots of several patients.

    Examples
    --------
    >>> import numpy as np
    >>> from histoexpr import SpotFeatures
    >>> X = SpotFeatures(np.zeros((3, 8)), section=["A1", "A1", "A2"])
    >>> X[1:].shape, list(X[1:].section)
    ((2, 8), ['A1', 'A2'])
    """

    features: np.ndarray
    spatial: np.ndarray | None = None
    positions: np.ndarray | None = None
    section: np.ndarray | None = None
    patient: np.ndarray | None = None

    def __post_init__(self):
        features = as_array(self.features, "features")
        if features.ndim != 2:
            raise InputError(
                f"features must have shape (n_spots, n_features); got {features.shape}."
            )
        object.__setattr__(self, "features", features)
        for name in _CARRIED:
            values = getattr(self, name)
            if values is None:
                continue
            values = as_array(values, name)
            if values.shape[:1] != features.shape[:1]:
                raise InputError(
                    f"{name} has {len(values) if values.ndim else 'no'} rows, but there are "
                    f"features of {len(features)} spots; give one row for each spot."
                )
            if name == "positions":
                values = check_positions(values, len(features))
            elif name != _keys.SPATIAL:
                values = check_names(values, len(features), name)
            elif len(values):
                values = check_spatial(values, len(features))
            object.__setattr__(self, name, values)
        check_one_patient_a_section(self.section, self.patient)

    @classmethod
    def of(cls, images, features):
        """Features of images, with what the images know of their spots.

        Parameters
        ----------
        images : SpotPatches
        features : array-like of shape (n_spots, n_features)

        Returns
        -------
        SpotFeatures
        """
        return cls(features, **{name: getattr(images, name, None) for name in _CARRIED})

    @property
    def shape(self):
        """(n_spots, n_features)."""
        return self.features.shape

    @property
    def dtype(self):
        """That of the features."""
        return self.features.dtype

    @property
    def ndim(self):
        """2."""
        return 2

    def __len__(self):
        return len(self.features)

    def __sizeof__(self):  # by which dask tells what to send once from what goes with every task
        arrays = [self.features, *(getattr(self, name) for name in _CARRIED)]
        return object.__sizeof__(self) + sum(a.nbytes for a in arrays if a is not None)

    def __getitem__(self, index):
        # scikit-learn asks for (rows, Ellipsis).
        rows = index[0] if isinstance(index, tuple) and index[1:] == (Ellipsis,) else index
        if isinstance(rows, (int, np.integer)):
            return self.features[rows]
        columns = {name: getattr(self, name) for name in _CARRIED}
        carried = {k: None if v is None else v[rows] for k, v in columns.items()}
        return replace(self, features=self.features[rows], **carried)

    def __array__(self, dtype=None, copy=None):
        if copy is None:  # for which NumPy 1 has no word
            return np.asarray(self.features, dtype=dtype)
        return np.array(self.features, dtype=dtype, copy=copy)

    def __repr__(self):
        names = [] if self.section is None else list(dict.fromkeys(self.section.tolist()))
        where = f", sections {', '.join(names[:5])}{' ...' * (len(names) > 5)}" if names else ""
        return f"<SpotFeatures: {len(self)} spots, {self.shape[1]} features{where}>"
