"""How much memory a process holds, and whether that grows."""

import contextlib
import ctypes
import gc
import os

ALLOWED_PERCENT = 5


def resident():
    """MiB that the process holds, when what is not used was collected and given back."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # of glibc, which keeps freed memory
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch:
    """Memory over many rounds: after a warm-up, and at most from then on."""

    def __init__(self, warm_up):
        # What is there already, a million objects of libraries, need not be looked through again
        # in each round: that took half a second.
        gc.collect()
        gc.freeze()
        self.warm_up = warm_up
        self.rounds = []

    def look(self):
        """Call it after each round."""
        self.rounds.append(resident())

    def found(self):
        """What the memory was, in MiB, by how much it grew, and whether that is too much.

        ``leak_that_would_show`` is the least of a round that would be, in KiB.
        """
        first, most = self.rounds[self.warm_up - 1], max(self.rounds[self.warm_up :])
        growth = 100 * (most / first - 1)
        gc.unfreeze()
        allowed = 1024 * first * ALLOWED_PERCENT / 100
        return {
            "rounds": len(self.rounds),
            "leak_that_would_show": round(allowed / (len(self.rounds) - self.warm_up)),
            "mib_after_warm_up": round(first),
            "mib_at_most": round(most),
            "growth_percent": round(growth, 2),
            "grew_too_much": growth > ALLOWED_PERCENT,
        }
