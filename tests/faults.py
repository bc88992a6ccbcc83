"""Faults that tests bring about."""

import contextlib
import resource


@contextlib.contextmanager
def little_disk(n_bytes):
    """No file may grow beyond that: writing fails in the kernel, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
