"""What a neighbour counts, when all queries are looked at together."""


def pooled_weights(distances):
    """The weights of stInfer: (1 − d / Σd) / k, Σ over all queries and neighbours.

    They are nearly 1 / k, and what a query's neighbours weigh depends on which other queries
    come along; the rows do not sum to 1.

    Parameters
    ----------
    distances : Tensor of shape (n_queries, n_neighbors), dtype float32
        Cosine distances.

    Returns
    -------
    Tensor of shape (n_queries, n_neighbors), dtype float32
    """
    total = distances.sum()
    # All distances are 0 when each query is its own and only neighbour.
    shares = distances / total if total > 0 else distances
    return (1 - shares) / distances.shape[1]
