"""Results computed in threads while those before them are used."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


def computed_ahead(function, items, *, n_ahead=1, n_threads=1):
    """What a function gives for each item, in their order, a few items ahead of the one in use.

    Use it within ``contextlib.closing``: no thread is left when the generator is closed.

    Parameters
    ----------
    function : callable
        ``function(item)``, called in a thread. What it raises is raised where its result would
        have come.
    items : iterable
        Asked for its next item in the thread of the caller.
    n_ahead : int, default=1
        Results that are under way or wait, beyond the one in use: it bounds the memory.
    n_threads : int, default=1

    Yields
    ------
    object
        ``function(item)`` of each item.
    """
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="histoexpr-ahead")
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
