"""What the ensemble is made of: contrastive heads and a linear head in one space."""

import numpy as np
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..preprocessing import SectionCenterer
from ..retrieval import SpotRetriever


class Members:
    """Heads fitted on the same spots, on the same components of their features.

    Parameters
    ----------
    features : SpotFeatures or ndarray of shape (n_spots, n_features)
    expression : ndarray of shape (n_spots, n_genes), dtype float32
    head : estimator
        A retrieval method with ``featurizer=None``; a clone is fitted for each seed.
    seeds : list of int
    n_components : int
        Clipped to what the data allow.

    Attributes
    ----------
    space : Pipeline
        SectionCenterer, StandardScaler and PCA: features to components.
    heads : list of estimator
        Retrieval methods, alike but for their seeds.
    linear : LinearHead
    """

    def __init__(self, features, expression, head, seeds, n_components):
        most = max(1, min(n_components, len(features) - 1, features.shape[1]))
        pca = PCA(most, random_state=seeds[0])
        self.space = make_pipeline(SectionCenterer(), StandardScaler(), pca)
        components = np.asarray(self.space.fit_transform(features))
        self.linear = LinearHead().fit(components, expression)
        single = components.astype(np.float32)
        self.heads = [
            clone(head).set_params(random_state=seed).fit(single, expression) for seed in seeds
        ]

    def predict(self, features, searches, ranks):
        """What the heads find under each search, and the linear head with each of its ranks.

        Parameters
        ----------
        features : SpotFeatures or ndarray of shape (n_spots, n_features)
        searches : list of dict
            Parameters of SpotRetriever.
        ranks : list of tuple of int
            See LinearHead.

        Returns
        -------
        list of ndarray of shape (n_spots, n_genes), dtype float64
            One for each search, the mean over heads; then one for each of the ranks.
        """
        components = np.asarray(self.space.transform(features))
        found = [0.0] * len(searches)
        for head in self.heads:
            embeddings = head.embed_images(components.astype(np.float32))
            for i, search in enumerate(searches):
                retriever = _searching(head.retriever_, search)
                found[i] = found[i] + retriever.predict(embeddings) / len(self.heads)
        return found + [self.linear.predict(components, each) for each in ranks]


def _searching(retriever, search):
    """A retriever over the same training spots that searches under other settings."""
    n_neighbors = min(search["n_neighbors"], len(retriever.embeddings_))
    other = SpotRetriever(**{**search, "n_neighbors": n_neighbors})
    return other.fit(retriever.embeddings_, np.asarray(retriever.targets_, np.float64))


_FLAT = 1e-6  # a component that varies less is the rounding of standardised features


class LinearHead:
    """Partial least squares; predicts the mean over several numbers of components (ranks).

    Few components carry to another patient, more of them fit one that was seen. Those of a
    small rank are the first of a larger one, so that one fit serves all. There are no more of
    them than columns that vary: beyond, partial least squares would divide by rounding errors.

    Attributes
    ----------
    rotations_ : ndarray of shape (n_features, most), dtype float64
    loadings_ : ndarray of shape (n_genes, most), dtype float64
    centre_, mean_ : ndarray
        The mean of features and of expression.
    """

    most = 16

    def fit(self, X, Y):
        """Fit once, with the most components.

        Parameters
        ----------
        X : array-like of shape (n_spots, n_features)
            Principal components of standardised features: columns are not correlated.
        Y : array-like of shape (n_spots, n_genes)

        Returns
        -------
        LinearHead
            self.
        """
        X, Y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
        self.centre_, self.mean_ = X.mean(axis=0), Y.mean(axis=0)
        most = min(self.most, int((X.std(axis=0) > _FLAT).sum()), len(X) - 1)
        self.rotations_, self.loadings_ = np.zeros((X.shape[1], 1)), np.zeros((Y.shape[1], 1))
        if most > 0 and np.ptp(Y) > 0:  # else there is nothing to learn but the mean
            pls = PLSRegression(most, scale=False).fit(X, Y)
            self.rotations_, self.loadings_ = pls.x_rotations_, pls.y_loadings_
        return self

    def predict(self, X, ranks):
        """Predict expression, ndarray of shape (n_spots, n_genes), float64."""
        scores = (X - self.centre_) @ self.rotations_
        most = scores.shape[1]
        # A component counts in as many of the means as there are ranks that reach it.
        share = np.mean([np.arange(most) < min(rank, most) for rank in ranks], axis=0)
        return (scores * share) @ self.loadings_.T + self.mean_
