"""Arrays whose files tell when a bit has changed."""

import numpy as np
import pytest

from histoexpr.data import _checked_arrays
from histoexpr.data._checked_arrays import load_checked, save_checked

VALUES = np.arange(12.0, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("values", [VALUES, VALUES.T, VALUES[:, ::2], np.float64(3.0)])
def test_arrays_come_back_and_numpy_reads_them(tmp_path, values):
    save_checked(tmp_path / "a.npy", values)
    for found in (load_checked(tmp_path / "a.npy"), np.load(tmp_path / "a.npy")):
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype and found.shape == values.shape


def test_no_changed_bit_is_taken(tmp_path):
    path = tmp_path / "a.npy"
    save_checked(path, VALUES)
    right = path.read_bytes()
    for bit in range(0, 8 * len(right), 7):
        changed = bytearray(right)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = load_checked(path)
        except Exception:  # of NumPy, where the header is hit; `reading` translates them
            continue
        np.testing.assert_array_equal(found, VALUES)  # a blank of the header


def test_objects_are_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        load_checked(tmp_path / "a.npy")


def test_a_file_that_is_written_anew_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    save_checked(path, VALUES)
    read = _checked_arrays.npy.read_array_header_1_0

    def late(file):
        save_checked(path, VALUES + 1)
        return read(file)

    monkeypatch.setattr(_checked_arrays.npy, "read_array_header_1_0", late)
    np.testing.assert_array_equal(load_checked(path), VALUES)
    monkeypatch.undo()
    np.testing.assert_array_equal(load_checked(path), VALUES + 1)
