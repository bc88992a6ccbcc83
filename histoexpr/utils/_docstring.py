"""Texts that several docstrings share, written once."""

import re
import textwrap

_TEXTS = {
    "featurizer": '''
        featurizer : str, transformer or None, default="densenet121"
            Images to features: a timm name, a TimmFeaturizer, a TextureFeaturizer or any
            transformer of images. None: X holds features.
        ''',
    "phikon_featurizer": """
        featurizer : str, transformer or None, default=None
            None: X holds features, as SpotFeatures when they have positions. The paper's are
            those of Phikon-v2 (1,024), which is not a timm model: compute them elsewhere, or
            pass any transformer of images.
        """,
    "max_section_spots": """
        max_section_spots : int, default=4096
            Sections with more spots are cut into fixed tiles, the same at fit and at predict,
            each seen by itself.
        """,
    "expression": """
        expression : ExpressionTransformer or None, default=None
            Counts to target. None: all genes, each spot scaled to 10,000 counts, log1p.
        """,
    "random_state": """
        random_state : int, RandomState or None, default=None
            Decides everything random; it seeds collaborators that have no seed of their own.
        """,
    "fitted": '''
        featurizer_ : transformer or None
        expression_ : ExpressionTransformer or None
            What predictions are expressed in; None after a fit on an array.
        embedded_expression_ : ExpressionTransformer or None
            What was embedded: differs from `expression_` when the retriever has its own.
        trainer_ : Trainer
        retriever_ : SpotRetriever
            May be given another k or other weights after fit, without training again.
        genes_ : ndarray of shape (n_genes,), dtype str
            The columns of predictions.
        units_ : str
            E.g. "log1p of counts per 10,000 over the panel, by spot".
        fitted_on_ : dict
            ``n_spots``, and the names of the ``sections`` and ``patients`` of the fit.
        history_ : list of dict
            The loss of each epoch and its terms; empty where nothing is learnt.
        n_features_in_ : int
            With ``featurizer=None``.
        ''',
    "X": """
        X : SpotPatches, uint8 array of shape (n_spots, height, width, 3), SpotFeatures or \
array-like of shape (n_spots, n_features)
            Images; features when ``featurizer=None``.
        """,
    "predicted": """
        ndarray of shape (n_spots, n_genes), or (n_spots,) after a fit on such a y
            Columns are `genes_`, in `units_`; float32, or float64 after a fit on such an array.
        """,
}


def shared_docs(cls):
    """Fill in the lines ``{name}`` of the docstrings of a class and of its own methods."""
    for documented in (cls, *vars(cls).values()):
        if isinstance(getattr(documented, "__doc__", None), str) and callable(documented):
            documented.__doc__ = re.sub(
                r"^( *)\{(\w+)\}$", _fill, documented.__doc__, flags=re.MULTILINE
            )
    return cls


def _fill(line):
    return textwrap.indent(textwrap.dedent(_TEXTS[line[2]]).strip("\n"), line[1]).rstrip()
