"""Processes that are killed with SIGKILL at random moments.

They are forked from a server that has imported everything, so that a hundred of them cost
seconds; each says when it begins, and the clock runs from there.
"""

import contextlib
import multiprocessing
import time

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    # All that `runs` and `writers` import: a process then begins in milliseconds.
    """torch timm anndata h5py zarr tifffile pyarrow.parquet matplotlib.figure histoexpr.methods
    histoexpr.slides histoexpr.io histoexpr.report histoexpr.cli._benchmark""".split()
)


@contextlib.contextmanager
def begun(function, *args):
    """A process in which ``function(begin, *args)`` runs and has called ``begin()``."""
    here, there = _context.Pipe(duplex=False)
    process = _context.Process(target=_run, args=(function, there, args), daemon=True)
    process.start()
    there.close()
    try:
        assert here.poll(120), "the process did not begin"
        with contextlib.suppress(EOFError):  # it failed: its exit code says so
            here.recv_bytes()
        yield process
    finally:
        process.kill()
        process.join()
        here.close()


def _run(function, there, args):
    function(lambda: there.send_bytes(b"begun"), *args)


def finish(function, *args):
    """Run to the end; the seconds that it took from its beginning."""
    with begun(function, *args) as process:
        started = time.perf_counter()
        process.join()
        assert process.exitcode == 0
        return time.perf_counter() - started


def kill_within(seconds, rng, function, *args):
    """Kill a process a random time after it began; whether it was still running."""
    with begun(function, *args) as process:
        process.join(rng.uniform(0, seconds))
        running = process.exitcode is None
        process.kill()
        process.join()
    assert running or process.exitcode == 0
    return running
