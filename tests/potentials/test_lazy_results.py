import copy
import pickle

import pytest

from potentials.lazy_results import LazyResults


@pytest.fixture
def calls():
    return []


@pytest.fixture
def results(calls):
    return LazyResults({"energy": 1.0}, {"terms": lambda: calls.append("terms") or 2.0, "far": lambda: calls.append("far") or 3.0})


def test_a_value_is_worked_out_once_and_only_when_asked_for(results, calls):
    assert "terms" in results and len(results) == 3 and results["energy"] == 1.0 and calls == []
    assert results["terms"] == results.get("terms") == 2.0 and calls == ["terms"]
    assert results.pending() == ("far",)


def test_whoever_goes_through_all_gets_all(results):
    assert {**results} == dict(results.items()) == results.copy() == {"energy": 1.0, "terms": 2.0, "far": 3.0}
    assert list(results) == list(results.keys()) == ["energy", "terms", "far"] and list(results.values()) == [1.0, 2.0, 3.0]


def test_copies_and_pickles_hold_values(results):
    assert pickle.loads(pickle.dumps(results)) == copy.deepcopy(results) == {"energy": 1.0, "terms": 2.0, "far": 3.0}


def test_what_is_set_is_not_worked_out(results, calls):
    results["terms"] = 5.0
    assert results["terms"] == 5.0 and results.get("nothing", 7) == 7 and calls == []
    with pytest.raises(KeyError):
        results["nothing"]
