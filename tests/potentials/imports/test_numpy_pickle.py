"""Arrays come out of a pickle, code does not."""
import os
import pickle

import numpy as np
import pytest

from potentials.imports import imports
from potentials.imports._numpy_pickle import UnsafePickle, read_arrays


class Bomb:
    def __repr__(self):  # the same in every process that collects the tests
        return "Bomb()"

    def __reduce__(self):
        return (os.mkdir, ("the-code-ran",))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(content, protocol=pickle.DEFAULT_PROTOCOL):
    with open("p.pkl", "wb") as file:
        pickle.dump(content, file, protocol=protocol)
    return "p.pkl"


@pytest.mark.parametrize("protocol", [3, 4])  # of the two that arrays are published in
def test_nested_arrays_come_back_by_their_path(here, protocol):
    tree = {"params": {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": {"c": np.array([1, 2])}}}
    arrays = read_arrays(written(tree, protocol))
    assert set(arrays) == {"params.a", "params.b.c"}
    np.testing.assert_array_equal(arrays["params.a"], tree["params"]["a"])
    assert arrays["params.a"].dtype == np.float32


@pytest.mark.parametrize("content", [{"params": Bomb()}, [Bomb()], {"a": {"b": print}}, {"a": np.float64}, {Bomb(): 1}], ids=str)
def test_what_asks_for_more_than_arrays_is_refused_and_does_not_run(here, content):
    with pytest.raises(UnsafePickle, match="could run code"):
        read_arrays(written(content))
    assert [f.name for f in here.iterdir()] == ["p.pkl"]


@pytest.mark.parametrize(
    "content, words",
    [
        ({"x": np.array([1, "a"], dtype=object)}, "expected an array of numbers|not a readable parameter file"),
        ({"x": np.array(["text"])}, "expected an array of numbers|not a readable parameter file"),
        ({"x": 5}, "'x' is int, expected an array of numbers"),
        ([np.zeros(2)], "'' is list, expected an array of numbers"),
        ({"a": {1: np.zeros(2)}}, "key 1 under 'a' is not text"),
    ],
)
def test_what_is_no_tree_of_arrays_is_named(here, content, words):
    with pytest.raises(ValueError, match=words):
        read_arrays(written(content))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x05"], ids=["empty", "garbage", "cut"])
@pytest.mark.parametrize("name", ["p.pkl", "p.npz"])
def test_what_is_no_parameter_file(here, name, content):
    (here / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not a readable"):
        imports.get("so3lr")(name)


def test_an_archive_with_objects_is_refused(here):
    np.savez("p.npz", x=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="not a readable .npz of plain arrays"):
        imports.get("so3lr")("p.npz")
    assert not (here / "the-code-ran").exists()


def test_no_file_is_said(here):
    with pytest.raises(ValueError, match="There is no parameter file nothing.pkl"):
        imports.get("so3lr")("nothing.pkl")
