"""Start: what `import histoexpr` adds to importing torch and scikit-learn.

    python benchmarks/startup.py

Fresh processes, in turns, each way by its best. ``import histoexpr`` alone loads next to nothing,
so what counts is the import and every name at the top: estimators, featurizers, `save`, `load`.
The last line is JSON:

    {"extra_seconds": seconds of that, over those of ``import torch, sklearn``}
"""

import argparse
import json
import subprocess
import sys
import time

ROUNDS = 5
BARE = "import torch, sklearn"
WAYS = {
    BARE: BARE,
    "import histoexpr": f"{BARE}, histoexpr",
    "everything at the top": (
        f"{BARE}, histoexpr; [getattr(histoexpr, name) for name in histoexpr._HOME]"
    ),
}


def seconds(code):
    """Of a process that does this and ends."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    found = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, code in WAYS.items():
            found[name].append(seconds(code))
    best = {name: min(values) for name, values in found.items()}
    print(f"{BARE}: {best[BARE]:.2f} s", file=sys.stderr)
    extra = {name: value - best[BARE] for name, value in best.items() if name != BARE}
    for name, value in extra.items():
        print(f"{name}: {value:+.2f} s", file=sys.stderr)
    print(json.dumps({"extra_seconds": round(extra["everything at the top"], 3)}))


if __name__ == "__main__":
    main()
