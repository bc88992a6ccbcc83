"""Files whose readers may crash or fill the memory, tried in a process of their own."""

import json
import logging
import os
import subprocess
import sys

from ..exceptions import FileError, InputError
from . import _read_apart
from ._reading import LIMIT_VARIABLE, most_bytes

logger = logging.getLogger(__name__)

TRUST_VARIABLE = "HISTOEXPR_TRUST_FILES"
# What is allocated is filled with noise, so that what is read before it is written crashes there.
_NOISE = {"MALLOC_PERTURB_": "165"}
_ENDED = (-9, -15)  # SIGKILL, SIGTERM: by a person, a scheduler, or a machine without memory
_ONE_THREAD = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def check_apart(path, reader, parts=("",), lazy=()):
    """Have another process read a file, so that one its reader cannot bear stops only that.

    HDF5 believes what a file tells of the lengths and places of its strings: it reads beyond its
    own memory for one changed byte, or takes 4 GiB. Zarr does so with the number of strings.

    Parameters
    ----------
    path : path
    reader : {"hdf5", "zarr"}
    parts : sequence of str, default=("",)
        Of a zarr store, the groups and arrays to read; "" is all.
    lazy : sequence of str, default=()
        Groups of a zarr store whose arrays are read chunk by chunk.

    Raises
    ------
    ValueError
        If the reader crashes, or takes more memory than one file may (which Linux can tell).
    OSError
        If the reader refuses it, in the reader's words; or if no process can be started.
    """
    if os.environ.get(TRUST_VARIABLE) == "1":
        return
    if not sys.executable or getattr(sys, "frozen", False):
        raise _not_tried(path, "there is no Python to start")
    asked = {
        "path": os.path.abspath(path),
        "reader": reader,
        "parts": list(parts),
        "lazy": list(lazy),
        "modules": [place for place in sys.path if place],
        "most_bytes": int(min(most_bytes(), sys.maxsize // 8)),
    }
    logger.info("%s is read by a process of its own first", path)
    try:
        tried = subprocess.run(
            [sys.executable, "-I", _read_apart.__file__, json.dumps(asked)],
            env=os.environ | _NOISE | _ONE_THREAD,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise _not_tried(path, error) from error
    _check_end(path, reader, tried.returncode, tried.stderr.decode(errors="replace").strip())


def _check_end(path, reader, code, said):
    """Raise what the end of the process tells."""
    if code == _read_apart.REFUSED and "unable to lock file" in said:
        raise FileError(f"{str(path)!r} is open for writing; close it there to read it ({said}).")
    if code == _read_apart.REFUSED:
        raise OSError(said)
    if code == _read_apart.TOO_LARGE:
        raise InputError(
            f"{str(path)!r} would take more than {most_bytes() / 2**30:.3g} GiB in memory, which a "
            f"file may take. If you trust it, set the environment variable {LIMIT_VARIABLE} "
            "to more."
        )
    if code in _ENDED:
        raise _not_tried(path, "the process was ended from outside; is there memory enough?")
    if code < 0 or code > 255:  # a signal; on Windows, a number of its own
        raise InputError(
            f"{str(path)!r} makes its reader, {reader}, crash ({code}): it is damaged, or was made "
            "to do so. Copy or download it again."
        )
    if code:
        raise _not_tried(path, said.rpartition("\n")[2] or f"it ended with {code}")


def _not_tried(path, reason):
    return FileError(
        f"{str(path)!r} could not be tried in a process of its own ({reason}). If you trust what "
        f"you read, set the environment variable {TRUST_VARIABLE}=1: it is then left out."
    )
