"""Sections that are too large to be seen at once: what is known of the whole from its parts."""

import contextlib
import contextvars

_PARTS = contextvars.ContextVar("histoexpr_section_parts", default=None)


def section_sum(asking, name, features):
    """Sum of the features of a section's spots, and their number.

    Parameters
    ----------
    asking : estimator
        Whose features they are.
    name : str
        Of the section.
    features : ndarray of shape (n_spots, n_features)
        Of its spots; where `SectionParts` are at work, of a part of them.

    Returns
    -------
    total : ndarray of shape (n_features,)
    n_spots : int
        Of the whole section, once all of its parts were seen.
    """
    parts = _PARTS.get()
    own = features.sum(axis=0), len(features)
    return own if parts is None else parts._whole((id(asking), str(name)), own)


class SectionParts:
    """Lets estimators that sum over a section see it part by part, twice.

    Within `adding` each part is added to what is known of its section; within `known` all parts
    count as the whole.
    """

    def __init__(self):
        self._sums = {}
        self._adds = False

    @contextlib.contextmanager
    def adding(self):
        """The first time: each part comes once."""
        with self._at_work(adds=True):
            yield

    @contextlib.contextmanager
    def known(self):
        """The second time: parts in any order, and again."""
        with self._at_work(adds=False):
            yield

    @contextlib.contextmanager
    def _at_work(self, adds):
        self._adds, token = adds, _PARTS.set(self)
        try:
            yield
        finally:
            _PARTS.reset(token)

    def _whole(self, key, own):
        if self._adds:
            total, n_spots = self._sums.get(key, (0.0, 0))
            self._sums[key] = total + own[0], n_spots + own[1]
        return self._sums[key]
