"""AnnData on disk, where the disk may be full."""

import io
import os


def write_h5ad(adata, path, compression=None):
    """Write an AnnData as its own ``write_h5ad`` does, but through memory.

    HDF5 cannot close a file that it could not write: the process would end in a crash.

    Parameters
    ----------
    adata : AnnData
    path : Path
        Give what `written_aside` gives.
    compression : {"gzip", "lzf"} or None, default=None

    Raises
    ------
    OSError
        If it cannot be written, e.g. to a full disk.
    """
    import h5py
    from anndata.io import write_elem

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        write_elem(file, "/", adata, dataset_kwargs={"compression": compression})
        if adata.raw is None:
            file.pop("raw", None)  # an empty one is not understood when the file is read backed
    path.write_bytes(image.getbuffer())


def reserve(path, n_bytes):
    """Make a file longer, so that HDF5 finds room on the disk; OSError where there is none."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path) + n_bytes)
