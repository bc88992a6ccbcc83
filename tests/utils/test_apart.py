"""Files that their readers cannot bear: they stop another process, not this one."""

import contextlib
import json
import os
import resource
import shutil
import struct
import sys
import zlib

import anndata
import h5py
import numpy as np
import pytest

from histoexpr.exceptions import FileError, HistoexprError
from histoexpr.utils._apart import check_apart
from histoexpr.utils._hdf5 import opened_h5
from histoexpr.utils._zarr import check_zarr

MIB = 2**20
TOO_LARGE = "would take more than 0.0625 GiB"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setenv("HISTOEXPR_MAX_DECODED_GB", str(64 / 1024))
    monkeypatch.delenv("HISTOEXPR_TRUST_FILES", raising=False)


@pytest.fixture
def strings(tmp_path):
    """An HDF5 file with eight strings of any length, and the place of the first's reference.

    A reference is a length (4 bytes), the address of a heap (8), and the number in it (4).
    """
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("names", data=list("abcdefgh"), dtype=h5py.string_dtype())
        place = data.id.get_offset()
    return path, place


@contextlib.contextmanager
def refused_within(n_bytes):
    """Whatever is refused here takes no more memory in another process."""
    # The most of any child so far; each starts with what its parent takes, as Linux counts it.
    whose = resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF
    before = max(resource.getrusage(who).ru_maxrss for who in whose)
    with pytest.raises((ValueError, OSError)):
        yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert 1024 * after < max(n_bytes, 1024 * before + 256 * MIB)


def patched(path, place, content):
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(content)
    return path


def test_a_right_file_passes(strings):
    check_apart(strings[0], "hdf5")
    with opened_h5(strings[0]) as file:
        assert file["names"][0] == b"a"


def test_a_type_that_is_none(tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file.attrs["name"] = "value"
    place = path.read_bytes().index(bytes([0x19, 1, 1, 0, 16, 0, 0, 0]))  # a string of any length
    patched(path, place + 1, b"\xff")
    with pytest.raises((ValueError, OSError)) as caught:  # HDF5 2.0 crashes
        check_apart(path, "hdf5")
    assert "crash" in str(caught.value) or not isinstance(caught.value, HistoexprError)


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for Python")
def test_a_crash_is_told(strings, tmp_path, monkeypatch):
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    for signal, kind, told in [
        ("SEGV", ValueError, "its reader, hdf5, crash .-11.: it is damaged"),
        ("KILL", FileError, "ended from outside; is there memory enough"),
    ]:
        script.write_text(f"#!/bin/sh\nkill -{signal} $$\n")
        script.chmod(0o755)
        with pytest.raises(kind, match=told) as caught:
            check_apart(strings[0], "hdf5")
        assert isinstance(caught.value, HistoexprError)


@ON_LINUX
def test_a_string_that_says_it_is_long(strings):
    path, place = strings
    patched(path, place, struct.pack("<I", 2**32 - 2))
    with refused_within(600 * MIB):  # HDF5 takes 4 GiB
        check_apart(path, "hdf5")


def test_one_long_string_named_again_and_again(tmp_path):
    path = tmp_path / "s.h5"
    for n_bytes, n_strings in ((MIB, 100), (2, 2**21)):  # a Python string of 2 bytes takes 35
        with h5py.File(path, "w") as file:
            data = file.create_dataset("names", (n_strings,), dtype=h5py.string_dtype())
            data[0] = "x" * n_bytes
            place = data.id.get_offset()
        content = path.read_bytes()
        patched(path, place, n_strings * content[place : place + 16])
        with pytest.raises(ValueError, match=TOO_LARGE):
            check_apart(path, "hdf5")


def test_data_under_several_names(tmp_path):
    """Each of them is read anew; in nested groups, without end."""
    for name, link in (("hard", lambda file: file["x"]), ("soft", lambda _: h5py.SoftLink("/x"))):
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros(9)
            file["y"] = link(file)
        with pytest.raises(ValueError, match="several names|from another place"), opened_h5(path):
            pass


def test_more_chunks_than_can_be_read(tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (2**22,), "u1", chunks=(1,))
    with pytest.raises(ValueError, match=TOO_LARGE):
        check_apart(path, "hdf5")


def test_a_file_that_is_written_to(strings):
    with h5py.File(strings[0], "r+"), pytest.raises(FileError, match="open for writing; close it"):
        check_apart(strings[0], "hdf5")


@ON_LINUX
def test_a_chunk_of_hdf5_that_unfolds_to_more_than_it_says(tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (MIB,), "u1", chunks=(MIB,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(1024 * MIB), 1))
    with refused_within(600 * MIB):
        check_apart(path, "hdf5")


def test_filters_that_are_not_at_hand_here_are_left_to_the_caller(tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((4,))
        creation.set_filter(305, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4,))
        data = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, creation)
        data.write_direct_chunk((0,), b"1234")
    check_apart(path, "hdf5")


def test_the_reader_tells_what_it_cannot_read(tmp_path):
    (tmp_path / "s.h5").write_bytes(b"not HDF5")
    with pytest.raises(OSError, match="signature not found"):
        check_apart(tmp_path / "s.h5", "hdf5")


# zarr --------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    pytest.importorskip("zarr")
    folder = tmp_path / "s.zarr"
    anndata.AnnData(np.eye(4, dtype=np.float32)).write_zarr(folder)
    return folder


def chunk_of(store, name):
    """The only one of an array, called "0" or "0.0", or at its end in folders of numbers."""
    (file,) = [f for f in (store / name).rglob("*") if f.is_file() and not f.name.strip("0.")]
    return file


def test_a_right_store_passes(store):
    check_zarr(store)


@ON_LINUX
def test_a_chunk_that_says_it_holds_many_strings(store):
    from numcodecs import Blosc, Zstd

    file = chunk_of(store, "obs/_index")
    codec = Zstd() if (store / "zarr.json").exists() else Blosc()
    many = struct.pack("<I", 2**29) + codec.decode(file.read_bytes())[4:]
    file.write_bytes(codec.encode(many))
    with refused_within(600 * MIB):
        check_zarr(store)


@ON_LINUX
def test_a_chunk_that_unfolds_to_more_than_it_says(store):
    from numcodecs import Blosc, Zstd

    file = chunk_of(store, "X")
    codec = Zstd() if (store / "zarr.json").exists() else Blosc()
    file.write_bytes(codec.encode(bytes(1024 * MIB)))
    with refused_within(600 * MIB):
        check_zarr(store)


def test_an_array_of_more_chunks_than_can_be_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    options = {"shape": (2**18, 2**20), "dtype": "u1", "mode": "w"}
    zarr.open_array(str(tmp_path / "images/few"), chunks=(2**13, 2**10), **options)
    check_zarr(tmp_path, lazy=["images"])  # 256 GiB, none of them there
    zarr.open_array(str(tmp_path / "images/many"), chunks=(2**7, 2**7), **options)
    with pytest.raises(ValueError, match=TOO_LARGE):
        check_zarr(tmp_path, lazy=["images"])


def test_values_of_any_size_that_are_not_there(tmp_path):
    zarr = pytest.importorskip("zarr")
    options = {"shape": (4,), "chunks": (4,), "mode": "w"}
    zarr.open_array(str(tmp_path / "large"), dtype=f"S{32 * MIB}", **options)
    with pytest.raises(ValueError, match=TOO_LARGE):
        check_zarr(tmp_path)


def metadata_of(store, name):
    """The file that tells of an array, and what it tells."""
    file = store / name / "zarr.json"
    file = file if file.exists() else store / name / ".zarray"
    return file, json.loads(file.read_text())


@pytest.mark.parametrize("field", ["codecs", "compressor", "filters"])
def test_pickles_are_not_unpacked(store, field):
    file, stated = metadata_of(store, "X")
    codec = {"id": "pickle", "name": "numcodecs.pickle"}
    stated[field] = codec if field == "compressor" else [codec]
    file.write_text(json.dumps(stated))
    with pytest.raises(ValueError, match="tells of a pickle"):
        check_zarr(store)


@pytest.mark.filterwarnings("ignore")
def test_metadata_are_told_twice_but_alike(store):
    import zarr

    zarr.consolidate_metadata(str(store))
    check_zarr(store)
    file = store / ".zmetadata" if (store / ".zmetadata").exists() else store / "zarr.json"
    told = json.loads(file.read_text())
    copies = (told.get("consolidated_metadata") or told)["metadata"]
    copies["X" if "X" in copies else "X/.zarray"]["shape"] = [2, 8]
    file.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="tells of 'X.*' otherwise"):
        check_zarr(store)


def test_copies_of_metadata_are_found_wherever_zarr_takes_them(store):
    """In a group within a copy of a group; beside a field of the other format."""
    _, array = metadata_of(store, "X")
    array["shape"] = [2, 8]
    deep = {"uns": {"node_type": "group", "consolidated_metadata": {"metadata": {"x": array}}}}
    for name, told in (
        ("zarr.json", {"node_type": "group", "consolidated_metadata": {"metadata": deep}}),
        (".zmetadata", {"metadata": {"X/.zarray": array}, "consolidated_metadata": {"a": 1}}),
    ):
        folder = store.parent / f"of {name}"
        shutil.copytree(store, folder)
        for old in folder.glob("z*.json") if name == "zarr.json" else ():
            old.unlink()
        for old in folder.glob(".z*") if name == "zarr.json" else ():
            old.unlink()
        (folder / name).write_text(json.dumps(told))
        with pytest.raises(ValueError, match="otherwise"):
            check_zarr(folder)


def test_two_formats_and_links(store):
    other = store.parent / "other"
    shutil.copytree(store, other)
    for name in ("zarr.json", ".zarray"):
        (other / "X" / name).write_text(metadata_of(store, "X")[0].read_text())
    with pytest.raises(ValueError, match="two formats"):
        check_zarr(other)
    (store / "Y").symlink_to(store / "X")
    with pytest.raises(ValueError, match="is a link"):
        check_zarr(store)


# another process ---------------------------------------------------------------------------------


def test_no_process_can_be_started(strings, monkeypatch):
    for no_python in (os.path.join("no", "such", "python"), "/bin/false", "", None):
        monkeypatch.setattr(sys, "executable", no_python)
        for not_yes in ("", "0", "no"):
            monkeypatch.setenv("HISTOEXPR_TRUST_FILES", not_yes)
            with pytest.raises(FileError, match="HISTOEXPR_TRUST_FILES=1"):
                check_apart(strings[0], "hdf5")
    monkeypatch.setenv("HISTOEXPR_TRUST_FILES", "1")
    check_apart(strings[0], "hdf5")


def test_modules_beside_the_caller_or_the_script_are_not_imported(strings, tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    check_apart(strings[0], "hdf5")
