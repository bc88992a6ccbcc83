"""What each neighbour counts: pure functions of distances."""

import warnings

import numpy as np
import scipy.sparse
import torch

from ._exact import pair_distances

# What is gathered, or multiplied, at a time, whatever the number of queries: embeddings stay in
# the processor's cache until they are compared.
_GATHER_BYTES = 6 * 2**20
_PRODUCT_BYTES = 64 * 2**20


def inverse_distance_weights(distances, power=2.0):
    """Weights 1 / d**power, normalised over each query's neighbours.

    Where a query lies on neighbours (d = 0), these share its whole weight.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors), dtype float32
        At least 0.
    power : float, default=2.0

    Returns
    -------
    ndarray of shape (n_queries, n_neighbors), dtype float32
        Rows sum to 1.
    """
    distances = distances.astype(np.float64)
    nearest = distances.min(axis=1, keepdims=True)
    # Relative to the nearest neighbour nothing overflows, however near it is.
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = (nearest / distances) ** power
    weights = np.where(nearest > 0, weights, distances == 0)
    return _normalized(weights)


def softmax_weights(distances, temperature=0.1):
    """Weights exp(-d / temperature), normalised over each query's neighbours.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors), dtype float32
    temperature : float, default=0.1
        In the unit of the distances.

    Returns
    -------
    ndarray of shape (n_queries, n_neighbors), dtype float32
        Rows sum to 1.
    """
    distances = distances.astype(np.float64)
    nearest = distances.min(axis=1, keepdims=True)
    return _normalized(np.exp((nearest - distances) / temperature))


def linear_weights(distances):
    """Weights 1 - d / Σd, normalised; Σd is over the query's own neighbours (stInfer).

    They are nearly the same for each neighbour, and the same where all distances are 0.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors), dtype float32
        At least 0.

    Returns
    -------
    ndarray of shape (n_queries, n_neighbors), dtype float32
        Rows sum to 1.
    """
    distances = distances.astype(np.float64)
    total = distances.sum(axis=1, keepdims=True)
    weights = total - distances
    return _normalized(np.where(weights.any(axis=1, keepdims=True), weights, 1.0))


def uniform_weights(distances):
    """The same weight for each neighbour: float32, the shape of ``distances``."""
    return np.full(distances.shape, 1 / distances.shape[1], dtype=np.float32)


def _normalized(weights):
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def neighbor_distances(queries, embeddings, neighbors, order):
    """L1 or L2 distance from each query to each of its neighbours, as the vectors are.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), dtype float32
    embeddings : ndarray of shape (n_spots, n_features), dtype float32
        The training spots.
    neighbors : ndarray of shape (n_queries, n_neighbors), dtype int64
        Rows of ``embeddings``.
    order : {1, 2}
        The norm.

    Returns
    -------
    ndarray of shape (n_queries, n_neighbors), dtype float32
    """
    if order == 2:
        return pair_distances(queries, embeddings, neighbors, "l2")
    queries, embeddings, neighbors = map(as_tensor, (queries, embeddings, neighbors))
    distances = torch.empty(neighbors.shape)
    n_neighbors, n_features = neighbors.shape[1], embeddings.shape[1]
    block = max(1, _GATHER_BYTES // (n_neighbors * n_features * embeddings.element_size()))
    gathered = torch.empty(min(block, len(queries)) * n_neighbors, n_features)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        found = neighbors[rows].flatten()
        torch.index_select(embeddings, 0, found, out=gathered[: len(found)])
        spots = gathered[: len(found)].view(-1, n_neighbors, n_features)
        distances[rows] = torch.cdist(queries[rows, None], spots, p=1)[:, 0]
    return distances.numpy()


def weighted_expression(expression, neighbors, weights):
    """The weighted sum of the neighbours' expression.

    Parameters
    ----------
    expression : ndarray or CSR array of shape (n_spots, n_genes), dtype float32
    neighbors : ndarray of shape (n_queries, n_neighbors), dtype int64
    weights : ndarray of shape (n_queries, n_neighbors), dtype float32

    Returns
    -------
    ndarray of shape (n_queries, n_genes), dtype float32
    """
    # In the order of the rows: two that are equally near would else be added in either order.
    order = np.argsort(neighbors, axis=1)
    neighbors, weights = (np.take_along_axis(part, order, axis=1) for part in (neighbors, weights))
    if scipy.sparse.issparse(expression):
        return _weighted_sparse_expression(expression, neighbors, weights)
    # embedding_bag adds rows as it reads them: the gathered (queries x neighbours x genes)
    # array, 6 GB for 10,000 queries of 200 neighbours and 785 genes, never exists.
    return torch.nn.functional.embedding_bag(
        torch.as_tensor(neighbors),
        as_tensor(expression),
        per_sample_weights=torch.as_tensor(weights),
        mode="sum",
    ).numpy()


def _weighted_sparse_expression(expression, neighbors, weights):
    """As `weighted_expression`: a sparse matrix of the weights times a sparse expression."""
    (n_queries, n_neighbors), (n_spots, n_genes) = neighbors.shape, expression.shape
    # of the kind that expression has: of another, SciPy would copy all of expression
    kind = expression.indices.dtype
    neighbors = neighbors.astype(kind)
    summed = np.empty((n_queries, n_genes), dtype=np.float32)
    block = max(1, _PRODUCT_BYTES // (n_genes * (kind.itemsize + summed.itemsize)))
    for start in range(0, n_queries, block):
        rows = slice(start, start + block)
        ends = np.arange(len(neighbors[rows]) + 1, dtype=kind) * n_neighbors
        weighing = scipy.sparse.csr_array(
            (weights[rows].ravel(), neighbors[rows].ravel(), ends),
            shape=(len(ends) - 1, n_spots),
        )
        (weighing @ expression).toarray(out=summed[rows])
    return summed


def as_tensor(array):
    """A tensor that shares an array's memory, be it mapped from a file that must not change."""
    if array.flags.writeable:
        return torch.as_tensor(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.as_tensor(array)
