"""computed_ahead: in order, bounded, and no thread is left."""

import contextlib
import threading

import pytest

from histoexpr.utils import computed_ahead


def left():
    return [t for t in threading.enumerate() if t.name.startswith("histoexpr-ahead")]


@pytest.mark.parametrize("n_threads", [1, 4])
def test_results_come_in_order(n_threads):
    wait = [0.02, 0.0, 0.01, 0.0, 0.0]

    def slow(i):
        threading.Event().wait(wait[i])
        return i, threading.current_thread() is threading.main_thread()

    results = list(computed_ahead(slow, range(5), n_ahead=3, n_threads=n_threads))
    assert results == [(i, False) for i in range(5)]
    assert list(computed_ahead(slow, [])) == [] and not left()


def test_no_more_is_computed_ahead_than_asked_for():
    begun = []
    for used, _ in enumerate(computed_ahead(begun.append, range(20), n_ahead=3, n_threads=8)):
        assert len(begun) <= used + 1 + 3
    assert len(begun) == 20


def test_an_error_is_raised_in_its_place():
    def divide(i):
        return 6 / i

    found = []
    with pytest.raises(ZeroDivisionError):
        for value in computed_ahead(divide, [3, 2, 0, 1], n_ahead=2):
            found.append(value)
    assert found == [2, 3] and not left()


def test_an_error_of_the_items_is_raised():
    def items():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(computed_ahead(str, items()))
    assert not left()


def test_no_thread_is_left_when_the_loop_is_left():
    with pytest.raises(KeyError), contextlib.closing(computed_ahead(str, range(9))) as results:
        for _ in results:
            assert left()
            raise KeyError
    assert not left()
