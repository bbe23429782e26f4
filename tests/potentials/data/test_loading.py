"""Batches that are made ahead: the same ones in the same order, and nothing left running."""
import threading

import pytest

from potentials.data.loading import made_ahead


def running():
    return [t for t in threading.enumerate() if t.name == "batches"]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_order_and_results_do_not_depend_on_the_thread(ahead):
    assert list(made_ahead(range(20), lambda k: k * k, ahead)) == [(k, k * k) for k in range(20)]
    assert not running()


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_comes_where_its_result_was_due(ahead):
    found = made_ahead(range(5), lambda k: 1 / (3 - k), ahead)
    assert [next(found)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert not running()


def test_one_who_leaves_early_leaves_no_thread():
    made = []
    for piece, _ in made_ahead(iter(range(10**9)), made.append, 2):
        if piece == 3:
            break
    assert not running() and len(made) <= 7


def test_no_more_than_asked_is_made_ahead():
    made, gate = [], threading.Event()

    def make(k):
        made.append(k)
        if len(made) == 4:
            gate.set()

    found = made_ahead(range(100), make, 2)
    next(found)  # one is out, two are ready, one waits for a place
    assert gate.wait(10)
    assert len(made) == 4
    found.close()
