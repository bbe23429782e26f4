"""Restart files: bits, damage, the one before."""
from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest

from mdapp.errors import OutputError, RunFolderError
from mdapp.trajectory import load_checkpoint, save_checkpoint
from mdapp.trajectory.checkpoint import USER_BLOCK

STATE = {
    "step": 12,
    "big": 2**127 + 1,
    "x": 0.1 + 0.2,
    "tiny": 5e-324,
    "nan": float("nan"),
    "inf": float("-inf"),
    "yes": True,
    "none": None,
    "text": "größe\n\0",
    "list": [1, [2.5, None], {"a": np.arange(3)}],
    "empty": {},
    "arrays": {
        "f8": np.random.default_rng(0).normal(size=(4, 3)),
        "f4": np.ones(2, "f4"),
        "bool": np.array([True, False]),
        "scalar": np.array(3.0),
        "none": np.zeros((0, 3)),
        "i": np.arange(5, dtype="i2"),
        "big endian": np.arange(3, dtype=">f8"),
        "complex": np.array([1 + 2j]),
    },
}


def same(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.shape == b.shape and a.dtype == b.dtype.newbyteorder(a.dtype.byteorder) and np.array_equal(a, b)
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_a_state_comes_back_bit_for_bit(tmp_path):
    save_checkpoint(tmp_path, STATE)
    loaded = load_checkpoint(tmp_path)
    assert same(STATE, loaded.state) and loaded.notes == ()


def test_a_generator_goes_on_where_it_was(tmp_path):
    for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox):
        rng = np.random.Generator(kind(3))
        rng.normal(size=7)
        save_checkpoint(tmp_path, {"rng": rng.bit_generator.state})
        other = np.random.Generator(kind(99))
        other.bit_generator.state = load_checkpoint(tmp_path).state["rng"]
        assert np.array_equal(rng.normal(size=5), other.normal(size=5))


def test_the_last_two_are_kept_and_nothing_else(tmp_path):
    for step in range(4):
        save_checkpoint(tmp_path, {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.h5", "checkpoint.prev.h5"]
    assert load_checkpoint(tmp_path).state["step"] == 3
    (tmp_path / "checkpoint.h5").unlink()
    loaded = load_checkpoint(tmp_path)
    assert loaded.state["step"] == 2 and "checkpoint.prev.h5" in loaded.notes[0]


def test_any_damage_falls_back_to_the_one_before_and_is_said(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step, "array": np.full((60, 3), float(step)), "text": "x" * 300})
    path = tmp_path / "checkpoint.h5"
    raw, rng = path.read_bytes(), np.random.default_rng(0)
    noticed = 0
    for k in range(150):
        damaged = bytearray(raw)
        place = int(rng.integers(len(raw)))
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(raw[:place] if k % 5 == 0 else bytes(damaged))
        loaded = load_checkpoint(tmp_path)
        assert (loaded.state["array"] == loaded.state["step"]).all() and loaded.state["text"] == "x" * 300
        if loaded.state["step"] == 1:
            noticed += 1
            assert "checkpoint.prev.h5" in loaded.notes[0] and loaded.path.name == "checkpoint.prev.h5"
    assert noticed == 150
    (tmp_path / "checkpoint.prev.h5").write_bytes(b"")
    path.write_bytes(raw[:100])
    with pytest.raises(RunFolderError, match="cannot be resumed"):
        load_checkpoint(tmp_path)


def test_none_at_all_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="no checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [object(), b"bytes", {1: 2}, {"a": {"__array__": 0}}, np.array(["a"]), np.array([object()]), {1, 2}])
def test_what_is_not_plain_is_refused_by_place(tmp_path, value):
    with pytest.raises(TypeError, match=r"state\.part"):
        save_checkpoint(tmp_path, {"part": value})
    assert list(tmp_path.iterdir()) == []


def with_a_fitting_checksum(path, change):
    """A file made by somebody with intent."""
    save_checkpoint(path.parent, {"a": np.zeros(3)})
    with h5py.File(path, "r+") as file:
        change(file)
    raw = path.read_bytes()[USER_BLOCK:]
    path.write_bytes((b"mdapp checkpoint, format 1, sha256 %s\n" % hashlib.sha256(raw).hexdigest().encode()).ljust(USER_BLOCK, b"\0") + raw)


def test_links_and_claims_are_refused(tmp_path):
    def link(file):
        del file["arrays/0"]
        file["arrays/0"] = h5py.SoftLink("/tree")

    def claim(file):
        del file["arrays/0"]
        file.create_dataset("arrays/0", shape=(10**12,), dtype="f8", chunks=(1000,))

    for change, says in ((link, "link"), (claim, "claims")):
        with_a_fitting_checksum(tmp_path / "checkpoint.h5", change)
        (tmp_path / "checkpoint.prev.h5").unlink(missing_ok=True)
        with pytest.raises(RunFolderError, match=says):
            load_checkpoint(tmp_path)


def test_a_folder_that_is_gone_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match="cannot be written: no such file"):
        save_checkpoint(tmp_path / "gone", {"a": 1})
