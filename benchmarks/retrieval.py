"""Prediction from retrieved spots: how far from the released loop, how near to its parts.

    python benchmarks/retrieval.py

2,000 queries over 50,000 spots of 256 dimensions, 785 genes, 200 neighbours found by cosine,
weights 1 / L1². Vectors and expression are drawn at random: none of the ways compared takes less
time for others. Ways are timed in turn and the best of three is kept. Prints one line of JSON:

    {"loop_vs_ours": time of a Python loop over the queries, as the released scripts have it, over
                     ours; both search with the same FAISS index,
     "ours_vs_bound": our time over the sum of its parts alone, none of which has a loop over
                      queries: FAISS's flat search, the L1 distances, the weighted sums. Of each
                      part the fastest of several ways counts, written here and not in the
                      package. Sorting neighbours, weights, checks and blocks come on top,
     "extra_mb": the most memory that `predict` takes beyond what the fitted model holds, in MB,
                 for 2,000 or for 20,000 queries, in a process of its own each; the array that
                 is returned counts}

Memory is read from /proc: Linux only.
"""

import argparse
import json
import multiprocessing
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import torch

from histoexpr import SpotRetriever

N_SPOTS, N_FEATURES, N_GENES, N_QUERIES, K = 50_000, 256, 785, 2_000, 200
REPEATS = 3


def say(text):
    print(text, file=sys.stderr, flush=True)


def draw(n_queries=N_QUERIES):
    rng = np.random.default_rng(0)
    spots = rng.standard_normal((N_SPOTS, N_FEATURES), dtype=np.float32)
    expression = rng.random((N_SPOTS, N_GENES), dtype=np.float32)
    queries = rng.standard_normal((n_queries, N_FEATURES), dtype=np.float32)
    return spots, expression, queries


def unit(vectors):
    vectors = vectors.copy()
    faiss.normalize_L2(vectors)
    return vectors


class Ways:
    """The same prediction, and its parts, in several ways."""

    def __init__(self):
        self.spots, self.expression, self.queries = draw()
        self.retriever = SpotRetriever(K, weights="inverse_l1").fit(self.spots, self.expression)
        self.unit_spots, self.unit_queries = unit(self.spots), unit(self.queries)
        self.index = faiss.IndexFlatIP(N_FEATURES)
        self.index.add(self.unit_spots)
        self.neighbors = self.search_faiss()
        self.sorted = torch.tensor(np.sort(self.neighbors, axis=1))
        self.weights = torch.rand(self.sorted.shape)

    def ours(self):
        return self.retriever.predict(self.queries)

    def loop(self):
        """As released: the neighbours of all queries at once, then a query at a time."""
        neighbors = self.search_faiss()
        predicted = np.empty((N_QUERIES, N_GENES), dtype=np.float32)
        for i, query in enumerate(self.queries):
            found = neighbors[i]
            distances = np.abs(self.spots[found] - query).sum(axis=1)
            predicted[i] = np.average(self.expression[found], axis=0, weights=1 / distances**2)
        return predicted

    def search_faiss(self):
        return self.index.search(unit(self.queries), K)[1]

    def search_torch(self):
        spots, queries = torch.from_numpy(self.unit_spots), torch.from_numpy(self.unit_queries)
        found = [(part @ spots.T).topk(K, sorted=False)[1] for part in queries.split(256)]
        return torch.cat(found)

    def l1_gathered(self, block=32):
        """Distances of a few queries at a time: what is gathered stays in the cache."""
        spots, queries = torch.from_numpy(self.spots), torch.from_numpy(self.queries)
        distances = torch.empty(N_QUERIES, K)
        gathered = torch.empty(block * K, N_FEATURES)
        for start in range(0, N_QUERIES, block):
            rows = slice(start, min(start + block, N_QUERIES))
            found = self.sorted[rows].flatten()
            part = gathered[: len(found)]
            torch.index_select(spots, 0, found, out=part)
            part = part.view(-1, K, N_FEATURES)
            distances[rows] = torch.cdist(queries[rows, None], part, p=1)[:, 0]
        return distances

    def l1_subtracted(self):
        return self._subtracted(16)

    def _subtracted(self, block):
        spots, queries = torch.from_numpy(self.spots), torch.from_numpy(self.queries)
        parts = zip(self.sorted.split(block), queries.split(block))
        found = [(spots[rows] - part[:, None]).abs_().sum(dim=2) for rows, part in parts]
        return torch.cat(found)

    def sum_bag(self):
        return torch.nn.functional.embedding_bag(
            self.sorted,
            torch.from_numpy(self.expression),
            per_sample_weights=self.weights,
            mode="sum",
        )

    def sum_sparse(self):
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        ends = torch.arange(0, self.sorted.numel() + 1, K)
        shape = (N_QUERIES, N_SPOTS)
        weighing = torch.sparse_csr_tensor(
            ends, self.sorted.flatten(), self.weights.flatten(), shape, check_invariants=False
        )
        return weighing @ torch.from_numpy(self.expression)


PARTS = {
    "search": ["search_faiss", "search_torch"],
    "L1 distances": ["l1_gathered", "l1_subtracted"],
    "weighted sum": ["sum_bag", "sum_sparse"],
}


def timed():
    """Seconds of each way, the best of REPEATS; the ways take turns."""
    ways = Ways()
    difference = np.abs(ways.ours() - ways.loop()).max()
    say(f"largest difference between the loop's prediction and ours: {difference:.1e}")
    names = ["loop", "ours", *sum(PARTS.values(), [])]
    seconds = dict.fromkeys(names, float("inf"))
    for _ in range(REPEATS):
        for name in names:
            start = time.perf_counter()
            getattr(ways, name)()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def memory(name):
    """A value of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status does not name {name}")


def extra_mb(n_queries):
    """What `predict` takes at its highest, beyond what is there before."""
    spots, expression, queries = draw(n_queries)
    retriever = SpotRetriever(K, weights="inverse_l1").fit(spots, expression)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = memory("VmRSS")
    retriever.predict(queries)
    return memory("VmHWM") - before


def in_a_process(function, *args):
    """Call it in a fresh process: memory is then its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    seconds = timed()
    for name, value in seconds.items():
        say(f"{name:14} {value:.3f} s")
    bound = sum(min(seconds[way] for way in ways) for ways in PARTS.values())
    say(f"parts alone: {bound:.3f} s")
    extra = {n: in_a_process(extra_mb, n) for n in (N_QUERIES, 10 * N_QUERIES)}
    for n, value in extra.items():
        say(f"{n:,} queries take {value:.0f} MB, of which the result {n * N_GENES * 4 / 1e6:.0f}")
    print(
        json.dumps(
            {
                "loop_vs_ours": round(seconds["loop"] / seconds["ours"], 2),
                "ours_vs_bound": round(seconds["ours"] / bound, 2),
                "extra_mb": round(max(extra.values())),
            }
        )
    )


if __name__ == "__main__":
    main()
