"""What papers report, and their protocol, so that their numbers and ours can be read together."""

import dataclasses

import numpy as np
import pandas as pd

from .. import _keys
from ..metrics import score_table
from ..preprocessing import ExpressionTransformer
from ._benchmark import benchmark
from ._methods import check_methods
from ._names import check_known
from ._readings import learns_returned, returning
from ._results import summarize

# Mean PCC of each section of her2st, leave one section out, 785 genes, as published by Reg2ST, and
# as shipped with HGGEP, whose epoch was chosen on the test section.
_HER2ST = {
    "A2": (0.0947, 0.0849), "A3": (0.1203, 0.0959), "A4": (0.1104, 0.1073),
    "A5": (0.1309, 0.1211), "A6": (0.1253, 0.1713), "B1": (0.2939, 0.2919),
    "B2": (0.3015, 0.3257), "B3": (0.2924, 0.2996), "B4": (0.3276, 0.3151),
    "B5": (0.2566, 0.2987), "B6": (0.3024, 0.3004), "C1": (0.2520, 0.2304),
    "C2": (0.1594, 0.1772), "C3": (0.2360, 0.2331), "C4": (0.2374, 0.2193),
    "C5": (0.2398, 0.2290), "C6": (0.1942, 0.2066), "D1": (0.1717, 0.1741),
    "D2": (0.1616, 0.2032), "D3": (0.1863, 0.2501), "D4": (0.2223, 0.2452),
    "D5": (0.1723, 0.2177), "D6": (0.1632, 0.1775), "E1": (0.0840, 0.1318),
    "E2": (0.0906, 0.1287), "E3": (0.0811, 0.1275), "F1": (0.0572, 0.1122),
    "F2": (0.0581, 0.1261), "F3": (0.0482, 0.1023), "G1": (0.1233, 0.1637),
    "G2": (0.1448, 0.1626), "G3": (0.1319, 0.1884),
}
_HER2ST_ROWS = (
    "Reg2ST as published",
    "HGGEP as published (epoch chosen on the test section)",
)

# Mean PCC, leave one section out, as the papers' tables give it: her2st, 785 genes; cSCC, 171.
# mclSTExp and GR2ST are scored on expression normalised by gene, the others by spot.
_MEANS = {
    "HisToGene": (0.0818, 0.0771),
    "Hist2ST": (0.1484, 0.1749),
    "THItoGene": (0.1330, 0.1796),
    "mclSTExp": (0.2281, 0.3157),
    "HGGEP": (0.1566, 0.1084),
    "Reg2ST": (0.1741, 0.2024),
    "GR2ST": (0.2340, 0.3246),
}

_GENE = "gene-normalised"


def published_scores(dataset="her2st"):
    """Mean PCC of each section, as papers report it.

    Parameters
    ----------
    dataset : {"her2st"}, default="her2st"

    Returns
    -------
    DataFrame of shape (n_sections, n_papers), dtype float64
        Leave one section out, 785 genes, mean over genes within the section. Sections of the same
        patient are on the training side in all of it.

    Raises
    ------
    ValueError
        If nothing is known of the data set.
    """
    check_known([dataset], ["her2st"], "data sets")
    return pd.DataFrame.from_dict(_HER2ST, orient="index", columns=list(_HER2ST_ROWS))


def published_means():
    """Mean PCC over sections, as papers report it.

    Returns
    -------
    DataFrame of shape (n_methods, 2), dtype float64
        Leave one section out. The rows are not on one scale: see `published_protocol`.
    """
    columns = ["her2st, 785 genes", "cSCC, 171 genes"]
    return pd.DataFrame.from_dict(_MEANS, orient="index", columns=columns)


def published_protocol(adata, genes=None, *, n_genes=None):
    """The protocol of STco, mclSTExp and GR2ST, as arguments for `benchmark`.

    One section is left out, while others of its patient stay. The panel is chosen on all
    sections, the test ones included. Methods learn and embed expression in which each *spot* is
    scaled to 10,000 counts; they retrieve, and are scored on, expression in which each *gene* is,
    over its section: spots then keep their depth, and a correlation also rewards predicting how
    many counts a spot caught.

    Parameters
    ----------
    adata : AnnData of shape (n_spots, n_genes)
        All sections.
    genes : list of str, {"highly_variable", "highly_expressed"} or None, default=None
        The panel, or how `ExpressionTransformer` chooses it.
    n_genes : int or None, default=None
        How many a rule chooses.

    Returns
    -------
    dict
        ``protocol``, ``expression`` and ``returned``.

    Examples
    --------
    >>> benchmark("all", images, adata, **published_protocol(adata, panel))  # doctest: +SKIP
    """
    panel = ExpressionTransformer(genes, n_genes=n_genes).fit(adata).genes_.tolist()
    return {
        "protocol": "section-out",
        "expression": ExpressionTransformer(panel),
        "returned": ExpressionTransformer(panel, normalize="gene"),
    }


def compare_protocols(
    methods,
    images,
    adata,
    genes=None,
    *,
    n_genes=None,
    preset="quick",
    featurizer=None,
    controls=True,
    n_jobs=None,
    out=None,
    checkpoints=False,
    random_state=0,
    verbose=0,
):
    """Why the numbers differ: the same methods under the protocols that papers score by.

    The first three columns come from the same fits. A method that searches is fitted once, and
    returns expression normalised by gene and by spot; a regressor learns either.

    Parameters
    ----------
    methods, images, adata, preset, featurizer, controls, n_jobs, out, checkpoints, random_state, \
verbose
        As in `benchmark`.
    genes, n_genes
        As in `published_protocol`.

    Returns
    -------
    DataFrame of shape (n_methods, 4), dtype float64
        Mean PCC. "published protocol": see `published_protocol`; missing for a method that
        decodes, which predicts what it was trained on. "section-out, pooled": expression
        normalised by spot, each gene correlated over the test spots of all sections together.
        Differences between sections then count too, and of few sections left out one by one even
        the training mean is far from 0: below it, because where a section lies high, the mean of
        the others lies low. "section-out": the same predictions, correlated within sections.
        "patient-out": the same, predicted from other patients alone.

    Raises
    ------
    ValueError
        As in `benchmark`.
    """
    published = published_protocol(adata, genes, n_genes=n_genes)
    methods = check_methods(methods, preset, controls)
    settings = {
        "featurizer": featurizer,
        "expression": published["expression"],
        "controls": False,
        "n_jobs": n_jobs,
        "out": out,
        "checkpoints": checkpoints,
        "random_state": random_state,
        "verbose": verbose,
    }
    twice = {}
    for name, method in methods.items():
        twice.update(_both_ways(name, method, published["returned"]))
    by_section, predictions = benchmark(
        twice, images, adata, "section-out", return_predictions=True, **settings
    )
    by_patient = benchmark(methods, images, adata, "patient-out", **settings)
    means = summarize(pd.concat([by_section, by_patient]))["mean"]
    section_out = means["section-out"]
    rows = [row for name, method in methods.items() for row in method.row_names(name)]
    columns = {
        "published protocol": section_out.reindex([f"{row}-{_GENE}" for row in rows]).array,
        "section-out, pooled": [_pooled(predictions.get(row)) for row in rows],
        "section-out": section_out[rows].array,
        "patient-out": means["patient-out"][rows].array,
    }
    return pd.DataFrame(columns, index=pd.Index(rows, name="method"))


def _both_ways(name, method, returned):
    """A method whose rows also come normalised by gene: one fit where it searches, else two."""
    changed = returning(method, returned)
    readings = dict(method.readings)
    for suffix, reading in changed.readings.items():
        if reading.returned is not None:
            readings["-".join(filter(None, (suffix, _GENE)))] = reading
    both = {name: dataclasses.replace(method, readings=readings)}
    if learns_returned(method.estimator):
        both[f"{name}-{_GENE}"] = changed
    return both


def _pooled(predictions):
    """Mean PCC over all spots of all sections; NaN where every fit failed."""
    if predictions is None:
        return np.nan
    everywhere = np.isfinite(predictions.X).all(axis=0)  # a method may choose genes in each fold
    measured = predictions.layers[_keys.MEASURED][:, everywhere]
    scores = score_table(measured, predictions.X[:, everywhere], pooling="pooled")
    return float(scores.mean(axis=1).iloc[0])
