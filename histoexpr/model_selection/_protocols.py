"""Who is tested, and from whom is learnt: the protocols, which are scikit-learn's ``cv`` too."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold

from .. import _keys
from ..data import completed, unpack_target
from ..exceptions import InputError, InputTypeError
from ..utils import name_some
from ._names import check_known


@dataclass(frozen=True, eq=False)
class Fold:
    """Training and test spots of one fit.

    Attributes
    ----------
    name : str
        E.g. "section C2".
    protocol : str
        The name of the protocol it belongs to.
    train, test : ndarray of shape (n_spots,), dtype int64
        Rows of the images and the AnnData, ascending.
    shared_patients : tuple of str, or None
        Patients with spots on both sides; None when patients are not known.
    """

    name: str
    protocol: str
    train: np.ndarray
    test: np.ndarray
    shared_patients: tuple | None = ()


class Protocol:
    """Base of the protocols: a class gives `name` and ``_pairs``.

    An instance goes to ``protocol=`` of `benchmark` and, because it has ``split`` and
    ``get_n_splits``, to ``cv=`` of scikit-learn. Sections and patients are those of ``y.obs``, or
    of X where it lacks them; ``groups`` has no effect.
    """

    name = None

    def folds(self, X, y):
        """The folds of a data set.

        Parameters
        ----------
        X : SpotPatches, SpotFeatures or array-like of shape (n_spots, ...)
        y : AnnData of shape (n_spots, n_genes), or array-like

        Returns
        -------
        list of Fold

        Raises
        ------
        ValueError
            If ``obs`` lacks the groups, or there are too few of them.
        """
        target = completed(unpack_target(y), X)
        patient = target.patient
        made = []
        for name, train, test in self._pairs(target.section, patient):
            shared = None
            if patient is not None:
                shared = tuple(np.intersect1d(patient[train], patient[test]).tolist())
            rows = np.flatnonzero(train), np.flatnonzero(test)
            made.append(Fold(name, self.name, *rows, shared_patients=shared))
        return made

    def split(self, X, y=None, groups=None):
        """Rows of training and test spots, one pair a fold, as scikit-learn asks for them.

        Parameters
        ----------
        X : SpotPatches, SpotFeatures or array-like of shape (n_spots, ...)
        y : AnnData of shape (n_spots, n_genes), or array-like
        groups : ignored

        Yields
        ------
        train, test : ndarray of shape (n_spots,), dtype int64
        """
        for fold in self.folds(X, y):
            yield fold.train, fold.test

    def get_n_splits(self, X=None, y=None, groups=None):
        """How many folds there are.

        Parameters
        ----------
        X, y, groups
            As in `split`.

        Returns
        -------
        int
        """
        return len(self.folds(X, y))


class PatientOut(Protocol):
    """Each patient is predicted from all others: what a new patient can expect.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> from histoexpr.metrics import pearson_scorer
    >>> from histoexpr.model_selection import PatientOut
    >>> cross_val_score(
    ...     model, images, adata, cv=PatientOut(), scoring=pearson_scorer
    ... )  # doctest: +SKIP
    """

    name = "patient-out"

    def _pairs(self, section, patient):
        patients = _check_patients(patient, self.name)
        return [(f"patient {name}", patient != name, patient == name) for name in patients]


class SectionOut(Protocol):
    """Each section is predicted from all others, those of its own patient included.

    This is how most papers of the field score. Sections of one patient resemble each other, so
    that it tells what a *known* patient's next section can expect; ``Fold.shared_patients`` says
    where that is so.
    """

    name = "section-out"

    def _pairs(self, section, patient):
        sections = _check_sections(section, self.name)
        if len(sections) < 2:
            raise InputError(
                f"protocol 'section-out' holds out one section at a time, but there is one alone, "
                f"{sections[0]!r}: nothing would be left to learn from."
            )
        return [(f"section {name}", section != name, section == name) for name in sections]


class PatientKFold(Protocol):
    """Patients in `n_splits` parts of about as many spots, each predicted from the others.

    Parameters
    ----------
    n_splits : int, default=5
        At least 2 and at most the number of patients.
    """

    name = "patient-k-fold"

    def __init__(self, n_splits=5):
        self.n_splits = n_splits

    def _pairs(self, section, patient):
        patients = _check_patients(patient, self.name)
        if not 2 <= self.n_splits <= len(patients):
            raise InputError(
                f"n_splits={self.n_splits} must be between 2 and the number of patients, "
                f"{len(patients)} ({name_some(patients)})."
            )
        pairs = []
        for _, rows in GroupKFold(self.n_splits).split(patient, groups=patient):
            test = np.zeros(len(patient), dtype=bool)
            test[rows] = True
            names = ", ".join(dict.fromkeys(patient[rows].tolist()))
            pairs.append((f"patients {names}", ~test, test))
        return pairs


class TrainTest(Protocol):
    """One fit: named sections are predicted from other named sections.

    A patient with sections on both sides is allowed, and named in ``Fold.shared_patients``.
    Sections on neither list are left out.

    Parameters
    ----------
    train, test : list of str
        Names of sections.
    """

    name = "train-test"

    def __init__(self, train, test):
        self.train = train
        self.test = test

    def _pairs(self, section, patient):
        known = _check_sections(section, self.name)
        for side in ("train", "test"):
            names = getattr(self, side)
            if isinstance(names, str) or not len(names):
                raise InputError(f"{side} must list names of sections; got {names!r}.")
            check_known(names, known, f"sections of {side}")
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise InputError(
                f"sections {name_some(both)} stand in train and in test: a section cannot be "
                "predicted from itself. Take them out of one list."
            )
        name = f"{', '.join(self.train)} to {', '.join(self.test)}"
        return [(name, np.isin(section, self.train), np.isin(section, self.test))]


PROTOCOLS = {cls.name: cls for cls in (PatientOut, SectionOut, PatientKFold, TrainTest)}


def check_protocol(protocol):
    """Turn what was given as ``protocol`` into an object.

    Parameters
    ----------
    protocol : {"patient-out", "section-out", "patient-k-fold"} or Protocol

    Returns
    -------
    Protocol

    Raises
    ------
    ValueError
        If the name is not known, or is "train-test", which needs its lists.
    TypeError
        If it is neither a name nor has ``folds``.
    """
    if isinstance(protocol, str):
        check_known([protocol], PROTOCOLS, "protocols")
        if protocol == TrainTest.name:
            raise InputError(
                "protocol 'train-test' needs lists of sections: give "
                "TrainTest(train=[...], test=[...])."
            )
        return PROTOCOLS[protocol]()
    if isinstance(protocol, type) or not hasattr(protocol, "folds"):
        raise InputTypeError(
            f"protocol must be one of {', '.join(PROTOCOLS)}, or an object such as PatientOut() "
            f"or TrainTest(train=[...], test=[...]); got {protocol!r}."
        )
    return protocol


def _check_sections(section, protocol):
    """Names of the sections, in order of appearance."""
    if section is None:
        raise InputError(
            f"protocol {protocol!r} needs the section of each spot, but neither "
            f"adata.obs[{_keys.SECTION!r}] nor the images name sections."
        )
    return list(dict.fromkeys(section.tolist()))


def _check_patients(patient, protocol):
    """Names of the patients, at least two, in order of appearance."""
    if patient is None:
        raise InputError(
            f"protocol {protocol!r} needs the patient of each spot, but neither "
            f"adata.obs[{_keys.PATIENT!r}] nor the images name patients. Add that column, or use "
            "protocol 'section-out', whose scores hold for known patients only."
        )
    missing = int((patient == _keys.MISSING).sum())
    if missing:
        raise InputError(
            f"the patient is missing for {missing} of {len(patient)} spots: fill "
            f"adata.obs[{_keys.PATIENT!r}], or drop those spots from images and adata."
        )
    patients = list(dict.fromkeys(patient.tolist()))
    if len(patients) < 2:
        raise InputError(
            f"protocol {protocol!r} holds out patients, but all spots are of patient "
            f"{patients[0]!r}: nothing would be left to learn from. Use protocol 'section-out', "
            "whose scores hold for known patients only."
        )
    return patients
