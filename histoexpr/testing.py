"""What scikit-learn's estimator checks may say of our estimators, and why.

Third-party methods that build on `BaseExpressionRegressor` can use it too::

    check_estimator(model, expected_failed_checks=expected_failed_checks(model))
"""

from .base import DecoderMixin


def expected_failed_checks(estimator):
    """The checks of ``sklearn.utils.estimator_checks`` that an estimator may fail.

    Parameters
    ----------
    estimator : estimator
        An instance; a method with ``featurizer=None``.

    Returns
    -------
    dict of str to str
        From the name of the check to the reason why failing it is right. Empty when every
        check must pass.
    """
    if isinstance(estimator, DecoderMixin) and getattr(estimator, "_whole_sections", False):
        if getattr(estimator, "predict_by", "decoder") == "decoder":
            return {
                "check_methods_subset_invariance": (
                    "a section is predicted as a whole: what stands around a spot is part of its "
                    "input, and a subset of a section is another section"
                )
            }
    return {}
