"""What takes too long for `make test`: long runs, large predictions, hundreds of kills.

    python tests/soak [part ...]

Runs the parts named, or all, each in a process of its own. Prints what was tried, what was lost and
what was measured, a line of JSON for each part, and ends with an error if anything was lost.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

PARTS = ["cycles", "files", "processes", "predictions", "cache", "kills"]
HERE = Path(__file__).resolve().parent
# Small models, killed writers and the stress of the cache are those of the tests.
SHARED = [HERE, *(HERE.parent / name for name in (".", "reliability", "featurizers"))]
ALONE = "import json, importlib, sys; json.dump(importlib.import_module(sys.argv[1]).run(), " \
        "sys.stdout)"  # fmt: skip


def run(part):
    """What a part found; what it lost, if it failed, is everything."""
    paths = [*map(str, SHARED), os.environ.get("PYTHONPATH", "")]
    # As in the Makefile: threads of small networks, beside other work, wait most of the time.
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", ALONE, part], env=environment, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout) if done.returncode == 0 else {"lost": "all: it failed"}
    return {**found, "seconds": round(time.perf_counter() - started)}


def main():
    parts = sys.argv[1:] or PARTS
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"there is no {', '.join(sorted(unknown))}; choose among {', '.join(PARTS)}")
    lost = False
    for part in parts:
        found = run(part)
        lost |= bool(found["lost"])
        sys.stdout.write(json.dumps({part: found}) + "\n")
        sys.stdout.flush()
    sys.exit(lost)


if __name__ == "__main__":
    main()
