"""Reading ahead: in any order the same patches, and few of them in memory."""

import threading

import numpy as np
import pytest

from histoexpr.data import SpotPatches, open_slide
from histoexpr.slides import _ahead
from histoexpr.slides._ahead import ReadAhead


@pytest.fixture
def centres():
    return np.random.default_rng(0).uniform(20, 280, (50, 2)).round(1)


@pytest.fixture
def ahead(tissue, centres, monkeypatch):
    monkeypatch.setattr(_ahead, "_CHUNK_BYTES", 4 * 16 * 16 * 3)  # four patches a chunk
    reader = ReadAhead(open_slide(tissue, mpp=2.0), n_threads=2)
    with reader.reading(centres, [np.arange(30), np.arange(30, 50)]):
        yield reader


def cut(image, centres, **options):
    return SpotPatches.from_images(image, centres, **{"patch_size": "16px", "out_px": 16} | options)


@pytest.mark.parametrize(
    "order",
    [range(50), range(49, -1, -1), [3, 3, 3, 40, 0, 1, 2, 49, 4], [*range(20), *range(50)]],
    ids=["in turn", "backwards", "wild", "from the start again"],
)
def test_any_order_gives_the_same(ahead, centres, tissue, order):
    X, truth = cut(ahead, centres), np.asarray(cut(tissue, centres))
    for row in order:
        np.testing.assert_array_equal(X[row], truth[row])


def test_other_sizes_and_places_are_read_too(ahead, centres, tissue):
    for options in (dict(patch_size="32px"), dict(out_px=8), dict(fill=9), {}):
        for where in (centres, centres + 0.7):
            wanted = np.asarray(cut(tissue, where, **options))
            np.testing.assert_array_equal(np.asarray(cut(ahead, where, **options)), wanted)


def test_patches_in_turn_are_read_once_by_threads_and_forgotten(ahead, centres, monkeypatch):
    read, original = [], type(ahead._slide).cut

    def spying(self, centres, *args):
        read.extend([threading.current_thread().name] * len(centres))
        return original(self, centres, *args)

    monkeypatch.setattr(type(ahead._slide), "cut", spying)
    X = cut(ahead, centres)
    for row in range(50):
        X[row]
        (window,) = ahead._windows.values()
        assert len(window._chunks) <= 2 * 2 + 1 + 2  # ahead, the present one, and behind
    assert len(read) == 50
    assert all(name.startswith("histoexpr-slide") for name in read)


def test_an_error_in_a_thread_comes_out(ahead, centres, monkeypatch):
    monkeypatch.setattr(type(ahead._slide), "cut", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cut(ahead, centres)[0]
