"""A million training spots: what an approximate index finds, how fast, and in how much memory.

    python benchmarks/scale.py [--full]

STco is fitted on six patients of a synthetic cohort. Its spot embeddings, of 256 dimensions, are
drawn again, with replacement, until there are a million, each with noise of the covariance that
was measured: half of that of the differences between neighbouring spots of a section. Queries
are drawn in the same way from the image embeddings of two patients that were not fitted;
indexes are tuned on images of the fitted ones. Expression is drawn at random, 785 genes, 40 %
not zero, and lies in a file that is mapped into memory. 200 neighbours by cosine, 1,000 queries
at a time; searches take turns with exact ones of the same spots, the best of three counts.

Prints a table of indexes and numbers of spots; with --full, "hnsw" and "ivf" of a million, too,
which takes four minutes more. The last line is JSON, of "ivf_pq" and a million spots:

    {"recall": share of the 200 nearest spots that it finds,
     "speedup_vs_flat": throughput over that of the exact search,
     "model_gb": memory of a process that loads the fitted model from its file and predicts the
                 queries, beyond what it takes before. Vectors and expression stay in the file:
                 the vectors are counted, as every search reads them; of the expression only
                 single rows are read, in pages that the system drops when it needs memory}

Memory is read from /proc: Linux only.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import numpy as np
from scipy.spatial import cKDTree

from histoexpr import SpotRetriever, STco, TextureFeaturizer
from histoexpr.datasets import make_spatial_expression

SIZES = (10_000, 100_000, 1_000_000)
KINDS = ("hnsw", "ivf", "ivf_pq")
SLOW = {("hnsw", SIZES[-1]), ("ivf", SIZES[-1])}
K, N_GENES, NONZERO, N_QUERIES, N_EXAMPLES = 200, 785, 0.4, 1_000, 1_024
N_PATIENTS, N_HELD_OUT, REPEATS, BLOCK = 8, 2, 3, 65_536
ROW = "{:>9}  {:7} {:>7} {:>10} {:>8} {:>9} {:>8}"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Drawn:
    """As many embeddings as are wanted, like those of one set of spots.

    Parameters
    ----------
    embeddings : ndarray of shape (n_spots, n_features), dtype float32
    adata : AnnData
        Of these spots: their sections and places.
    """

    def __init__(self, embeddings, adata):
        self.embeddings = embeddings
        section = adata.obs["section"].to_numpy(str)
        apart = []
        for name in np.unique(section):
            rows = np.flatnonzero(section == name)
            places = adata.obsm["spatial"][rows]
            nearest = cKDTree(places).query(places, 2)[1][:, 1]
            apart.append(embeddings[rows] - embeddings[rows[nearest]])
        apart = np.concatenate(apart)
        # A root of the covariance; the noise of a difference is that of two spots.
        _, scales, directions = np.linalg.svd(apart / np.sqrt(2 * len(apart)), full_matrices=False)
        self.noise = scales[:, None] * directions

    def draw(self, n, seed):
        rng = np.random.default_rng(seed)
        drawn = self.embeddings[rng.integers(len(self.embeddings), size=n)]
        for start in range(0, n, BLOCK):
            block = drawn[start : start + BLOCK]
            shape = len(block), len(self.noise)
            block += rng.standard_normal(shape, dtype=np.float32) @ self.noise
        return drawn


def draw_embeddings():
    """Of a million spots, of queries, and of images to tune an index on."""
    images, adata = make_spatial_expression(
        N_PATIENTS, grid=(20, 20), n_genes=N_GENES, mpp=2.0, out_px=32, random_state=0
    )
    patients = np.unique(adata.obs["patient"])
    held_out = adata.obs["patient"].isin(patients[-N_HELD_OUT:]).to_numpy()
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    model = STco(TextureFeaturizer(), random_state=0).fit(images[train], adata[train])
    return (
        Drawn(model.retriever_.embeddings_, adata[train]).draw(SIZES[-1], 0),
        Drawn(model.embed_images(images[test]), adata[test]).draw(N_QUERIES, 1),
        Drawn(model.embed_images(images[train]), adata[train]).draw(N_EXAMPLES, 2),
    )


def draw_expression(path, n_spots):
    """Mapped from a file: float32, row by row."""
    expression = np.lib.format.open_memmap(path, "w+", np.float32, (n_spots, N_GENES))
    rng = np.random.default_rng(3)
    for start in range(0, n_spots, BLOCK):
        rows = expression[start : start + BLOCK]
        drawn = rng.standard_exponential(rows.shape, dtype=np.float32)
        rows[:] = np.maximum(drawn + np.log(NONZERO, dtype=np.float32), 0)
    expression.flush()
    return np.load(path, mmap_mode="r")


def seconds(function, *args):
    start = time.perf_counter()
    found = function(*args)
    return time.perf_counter() - start, found


def compare(kind, flat, expression, queries, examples):
    """A fitted retriever, and its row of the table."""
    n = len(flat.embeddings_)
    model = SpotRetriever(K, index=kind)
    build, _ = seconds(model.fit, flat.embeddings_, expression[:n], examples)
    times = {"flat": [], kind: []}
    for _ in range(REPEATS):
        taken, (_, nearest) = seconds(flat.kneighbors, queries)
        times["flat"].append(taken)
        taken, (_, found) = seconds(model.kneighbors, queries)
        times[kind].append(taken)
    row = {
        "recall": np.mean([np.isin(a, b).mean() for a, b in zip(nearest, found)]),
        "per_second": N_QUERIES / min(times[kind]),
        "speedup_vs_flat": min(times["flat"]) / min(times[kind]),
        "mb": len(model.__getstate__()["_index_bytes"]) / 1e6,
        "build": build,
    }
    return model, row


def memory():
    """What this process holds, without pages of files, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError("/proc/self/status does not name RssAnon")


def memory_of_model(path, queries):
    before = memory()
    model = joblib.load(path, mmap_mode="r")
    model.predict(queries)
    return memory() - before + model.embeddings_.nbytes / 1e9


def model_gb(model, queries, folder):
    """Of a process of its own."""
    path = folder / "model.joblib"
    joblib.dump(model, path)
    say(f"the model's file: {path.stat().st_size / 1e9:.2f} GB")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(memory_of_model, path, queries).result()


def show(n, kind, row):
    say(ROW.format(
        f"{n:,}", kind, f"{row['recall']:.3f}", f"{row['per_second']:,.0f}",
        f"{row['speedup_vs_flat']:.1f}", f"{row['mb']:,.0f}", f"{row['build']:.1f}",
    ))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="all indexes of a million spots")
    full = parser.parse_args().full
    spots, queries, examples = draw_embeddings()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        expression = draw_expression(folder / "expression.npy", len(spots))
        say(ROW.format("spots", "index", "recall", "queries/s", "x flat", "index MB", "build s"))
        for n in SIZES:
            flat = SpotRetriever(K, index="flat").fit(spots[:n], expression[:n])
            for kind in KINDS:
                if full or (kind, n) not in SLOW:
                    model, row = compare(kind, flat, expression, queries, examples)
                    show(n, kind, row)
        taken = model_gb(model, queries, folder)
    found = {"recall": round(row["recall"], 4)}
    found["speedup_vs_flat"] = round(row["speedup_vs_flat"], 1)
    print(json.dumps({**found, "model_gb": round(taken, 2)}))


if __name__ == "__main__":
    main()
