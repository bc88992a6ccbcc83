"""Processes that share a folder of features, while files are damaged and processes killed.

    python tests/featurizers/cache_stress.py [seconds]

Eight processes ask for random features, which a hash decides, and compare every byte that they
get. The folder is too small for all of them, one process writes into files at random, and one
after the other is killed with SIGKILL. Ends with an error if a byte was wrong.
"""

import hashlib
import multiprocessing
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

from histoexpr.featurizers._cache_folder import FolderStore

NAMES = [bytes([n]) * 16 for n in range(3)]
KEYS = [hashlib.sha256(b"%d" % n).digest()[:16] for n in range(1500)]
WIDTH = 400
MAX_BYTES = 600_000  # of 1,800,000

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["histoexpr.featurizers"])


def row(name, key):
    """What the features of a key are: nothing but a hash of it."""
    return hashlib.shake_128(name + key).digest(WIDTH)


def ask(folder, seed, seconds, tally):
    """Ask for random features until the time is over; counts rows, and those that are wrong."""
    warnings.simplefilter("ignore")
    generator, store = random.Random(seed), FolderStore(Path(folder), MAX_BYTES)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name, keys = generator.choice(NAMES), generator.sample(KEYS, generator.randint(1, 300))
        found = store.fill(name, keys, lambda missing: {key: row(name, key) for key in missing})
        wrong = sum(found[key] != row(name, key) for key in keys)
        with tally.get_lock():
            tally[0] += len(keys)
            tally[1] += wrong


def damage(folder, seed):
    """Write a few bytes into, or cut, a random file."""
    generator = random.Random(seed)
    files = sorted(Path(folder).glob("*.features"))
    try:
        with open(generator.choice(files), "r+b") as file:
            size = file.seek(0, 2)
            if generator.random() < 0.2:
                file.truncate(generator.randrange(size))
            else:
                file.seek(generator.randrange(size))
                file.write(generator.randbytes(3))
    except (IndexError, ValueError, FileNotFoundError):  # there is none, it is empty, or gone
        return False
    return True


def stress(folder, n_processes=8, seconds=60.0):
    """Let processes share a folder, kill them and damage it.

    Parameters
    ----------
    folder : str or Path
    n_processes : int, default=8
    seconds : float, default=60.0

    Returns
    -------
    dict of str to int
        How many rows were asked for, how many of them ``wrong``, how many files damaged and
        processes killed, and how many processes ``failed``.
    """
    tally = context.Array("q", 2)
    end, seed, n_damaged, n_killed = time.monotonic() + seconds, 0, 0, 0
    processes = []
    FolderStore(Path(folder), MAX_BYTES).open()
    while time.monotonic() < end:
        while len(processes) < n_processes:
            seed += 1
            left = max(0.0, end - time.monotonic())
            processes.append(context.Process(target=ask, args=(folder, seed, left, tally)))
            processes[-1].start()
        time.sleep(0.05)
        n_damaged += damage(folder, seed + n_damaged)
        if random.Random(seed + n_damaged).random() < 0.1:
            # A process that is killed while it counts would keep the count's lock.
            with tally.get_lock():
                processes[0].kill()
            processes.pop(0).join()
            n_killed += 1
    failed = 0
    for process in processes:
        process.join(60)
        failed += process.exitcode != 0
    return {
        "rows": tally[0], "wrong": tally[1], "damaged": n_damaged, "killed": n_killed,
        "failed": failed,
    }  # fmt: skip


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        result = stress(folder, seconds=seconds)
    sys.stdout.write(f"{result}\n")
    sys.exit(bool(result["wrong"] or result["failed"] or not result["rows"]))


if __name__ == "__main__":
    main()
