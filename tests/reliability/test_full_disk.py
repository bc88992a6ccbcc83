"""A disk that is full: an error that says so, and the old file as it was."""

import pytest

import writers
from faults import little_disk
from histoexpr.exceptions import FileError


def names(folder):
    """All names but those of predictions of a slide, which a failed run keeps for the next."""
    inside = (path.relative_to(folder) for path in folder.rglob("*"))
    left_out = (".blocks", ".zarr/")
    return {str(path) for path in inside if not any(part in str(path) for part in left_out)}


@pytest.mark.parametrize("n_bytes", [0, 1000])
@pytest.mark.parametrize("name", writers.WRITERS)
def test_a_full_disk_is_an_error_and_leaves_the_old_file(name, n_bytes, tmp_path):
    writer = writers.WRITERS[name]
    writer.write(tmp_path, 0)
    before = names(tmp_path)
    with little_disk(n_bytes), pytest.raises(OSError, match="cannot be written") as error:
        writer.write(tmp_path, 1)
    assert isinstance(error.value, FileError)
    if name == "features of a benchmark":  # they were removed, to be written again
        assert names(tmp_path) == {"features"}
    else:
        assert names(tmp_path) == before and writer.read(tmp_path) == 0
    writer.write(tmp_path, 1)
    assert names(tmp_path) == before and not list(tmp_path.glob(".*"))
    assert writer.read(tmp_path) == (0 if name == "gene map as PNG" else 1)
