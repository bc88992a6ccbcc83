"""Whether predicted expression tells the domains of a tissue apart."""

from numbers import Integral

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.utils._param_validation import Interval

from .. import _keys
from ..exceptions import InputError
from ..utils._sklearn import check_array, validate_params
from ._sections import split_rows


@validate_params(
    {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def domain_agreement(
    predicted, labels=None, *, section=None, n_components=20, random_state=None
):
    """Cluster predicted expression and compare the clusters with labelled domains.

    Section by section: principal components, k-means with as many clusters as the section has
    labels, then the adjusted Rand index (ARI) and the normalised mutual information (NMI,
    arithmetic mean) of clusters and labels.

    Parameters
    ----------
    predicted : AnnData of shape (n_spots, n_genes), or array-like of the same shape
        Predicted expression; measured expression for the score that a perfect prediction has.
    labels : array-like of shape (n_spots,), default=None
        The domain of each spot, in any type; missing (None, NaN) where it is not known. None
        takes ``obs["domain"]``.
    section : array-like of shape (n_spots,), default=None
        In place of ``obs["section"]``; all spots are one section when neither is there.
    n_components : int, default=20
        Principal components to cluster, of the genes as they are (centred, not scaled: a gene
        that varies more weighs more); fewer where there are fewer spots or genes.
    random_state : int, RandomState instance or None, default=None
        Where k-means starts.

    Returns
    -------
    DataFrame of shape (n_sections, 5)
        "ari" and "nmi", 1 for the same partition and about 0 for chance; NaN for a section with
        fewer than two labels. "n_domains": number of labels; "n_spots": those with a label;
        "n_unlabelled": those left out.

    Raises
    ------
    ValueError
        If there are no labels, lengths differ, or a value is NaN or infinite.

    Notes
    -----
    Labels that were themselves found by clustering the measured expression (her2st's clusters)
    favour whatever resembles it. Those of a pathologist do not.
    """
    obs, values = {}, predicted
    if hasattr(predicted, "var_names"):
        obs, values = predicted.obs, predicted.X
        values = values.to_memory() if hasattr(values, "to_memory") else values  # backed
    values = values.toarray() if scipy.sparse.issparse(values) else values
    values = check_array(values, dtype=np.float64, input_name="predicted")
    if labels is None:
        labels = obs.get(_keys.DOMAIN)
    if labels is None:
        raise InputError(
            f"domain_agreement needs labels: pass labels=, or an AnnData with "
            f"obs[{_keys.DOMAIN!r}]."
        )
    labels = np.asarray(labels, dtype=object)
    if labels.shape != (len(values),):
        raise InputError(
            f"labels must hold one for each of the {len(values)} spots; got shape {labels.shape}."
        )
    codes, _ = pd.factorize(labels)  # -1 is missing
    section = obs.get(_keys.SECTION) if section is None else section
    names, parts = split_rows(section, len(values))
    rows = []
    for part in parts:
        labelled = part[codes[part] >= 0]
        rows.append(
            {
                **_agreement(values[labelled], codes[labelled], n_components, random_state),
                "n_domains": len(np.unique(codes[labelled])),
                "n_spots": len(labelled),
                "n_unlabelled": len(part) - len(labelled),
            }
        )
    return pd.DataFrame(rows, index=names)


def _agreement(values, truth, n_components, random_state):
    n_domains = len(np.unique(truth))
    if n_domains < 2:
        return {"ari": np.nan, "nmi": np.nan}
    if (values == values[0]).all():  # PCA and k-means would warn: there is nothing to cluster
        found = np.zeros(len(values), dtype=int)
    else:
        pca = PCA(min(n_components, *values.shape), svd_solver="full")
        kmeans = KMeans(n_domains, n_init=10, random_state=random_state)
        found = kmeans.fit_predict(pca.fit_transform(values))
    return {
        "ari": adjusted_rand_score(truth, found),
        "nmi": normalized_mutual_info_score(truth, found),
    }
