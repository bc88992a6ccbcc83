"""Estimators that write themselves to files."""

from ._card import card
from ._files import save


class SavableMixin:
    """`save` and `card` as methods of an estimator."""

    def save(self, path, *, card=None):
        """Write this estimator to a file that `histoexpr.load` reads without running code.

        Parameters
        ----------
        path : str or Path
            Conventionally ``*.histoexpr``; see `histoexpr.save`.
        card : str, default=None
            Markdown for the README.md in the file, e.g. ``card(scores)``; None is ``card()``.

        Raises
        ------
        TypeError
            If the estimator holds what is no data, such as a function of your own.
        OSError
            If the file cannot be written.
        """
        save(self, path, card=card)

    def card(self, scores=None, *, measure="Pearson correlation within a section", license=None):
        """Describe this estimator on a page of Markdown; see `histoexpr.io.card`.

        Parameters
        ----------
        scores : DataFrame of shape (n_sections, n_genes) or Series of shape (n_genes,), \
default=None
            Of spots that the model has not seen, as `metrics.score_table` gives them.
        measure : str, default="Pearson correlation within a section"
            What the scores are.
        license : str, default=None
            Under which the model may be used.

        Returns
        -------
        str
        """
        return card(self, scores, measure=measure, license=license)
