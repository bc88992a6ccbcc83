"""An AnnData on disk whose matrix is never in memory as a whole."""

import shutil
from pathlib import Path

import numpy as np

from .. import _keys
from ..exceptions import FileError, InputError
from ..utils import import_optional
from ..utils._files import to_disk
from ..utils._h5ad import reserve, write_h5ad

_ROWS = 4096  # written at a time
_METADATA = 2**20  # bytes that HDF5 writes of a matrix beside its values, at most
_ENCODING = {"encoding-type": "array", "encoding-version": "0.2.0"}  # AnnData's for dense arrays
SUFFIXES = (".h5ad", ".zarr")


def check_out(out):
    """The path to write to, with a suffix that says how."""
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise InputError(f"out must end in .h5ad or .zarr; got {str(out)!r}.")
    return out


def write_adata(adata, read, out, folder):
    """Write an AnnData without ``X``, and its ``X`` from a function of rows; whole or not at all.

    Parameters
    ----------
    adata : AnnData of shape (n_spots, n_genes)
        Its ``X`` is None.
    read : callable
        ``read(start, stop)`` gives rows of X, float32.
    out : Path
        An .h5ad file or a .zarr folder.
    folder : Path
        On the same disk; it is written there, and moved when it is whole. What a killed process
        left there is written over.

    Raises
    ------
    OSError
        If it cannot be written, e.g. to a full disk: then nothing is there that was not before.
    """
    path = folder / out.name
    write = _write_zarr if out.suffix == ".zarr" else _write_h5ad
    try:
        _remove(path)
        write(adata, read, path)
        _move(path, out)
    except (OSError, RuntimeError) as error:  # HDF5 closes a file on a full disk by RuntimeError
        _remove(path)
        raise FileError(f"{str(out)!r} cannot be written: {_first_line(error)}.") from error


def stored_key(out):
    """The key in ``uns["histoexpr"]`` of a finished prediction; None where there is none."""
    if not out.exists():
        return None
    try:
        if out.suffix == ".h5ad":
            import h5py

            with h5py.File(out, "r") as file:
                return file[f"uns/{_keys.UNS}/key"].asstr()[()]
        group = _zarr().open_group(str(out), mode="r")
        return str(group[f"uns/{_keys.UNS}/key"][()])
    except Exception:  # h5py and zarr raise many types; a file of other origin is written anew
        return None


def _write_h5ad(adata, read, path):
    import h5py

    write_h5ad(adata, path)
    reserve(path, 4 * adata.n_obs * adata.n_vars + _METADATA)
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        _fill(file.create_dataset("X", adata.shape, np.float32), read)


def _write_zarr(adata, read, path):
    zarr = _zarr()
    adata.write_zarr(path)
    group = zarr.open_group(str(path), mode="r+")
    create = getattr(group, "create_array", None) or group.create_dataset  # zarr 2 has no arrays
    chunks = (min(_ROWS, adata.n_obs), min(64, adata.n_vars))  # genes are looked at one by one
    _fill(create("X", shape=adata.shape, chunks=chunks, dtype="float32"), read)
    zarr.consolidate_metadata(str(path))


def _first_line(error):
    return str(error).strip().partition("\n")[0].rstrip(" .")


def _zarr():
    return import_optional("zarr", extra="slides", purpose="output as zarr")


def _fill(array, read):
    for name, value in _ENCODING.items():
        array.attrs[name] = value
    for start in range(0, array.shape[0], _ROWS):
        stop = min(start + _ROWS, array.shape[0])
        array[start:stop] = read(start, stop)


def _move(path, out):
    """Put a file or folder in the place of another, when all of it has reached the disk."""
    for part in (path, *path.rglob("*")):
        to_disk(part)
    if not out.is_dir():
        path.replace(out)
        return
    old = path.with_name("old")
    _remove(old)
    out.rename(old)
    try:
        path.rename(out)
    except OSError:
        old.rename(out)
        raise


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
