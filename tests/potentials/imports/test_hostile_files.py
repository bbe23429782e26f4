"""Files made to do harm, or damaged, in place of published parameters: refused, and nothing in them runs."""
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from potentials.imports import imports
from potentials.imports._numpy_pickle import UnsafePickle, read_arrays

so3lr = imports.get("so3lr")


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=4))
    return path


class Runs:
    """What a hostile pickle does: a call at opening."""

    def __init__(self, call, *words):
        self.call, self.words = call, words

    def __reduce__(self):
        return self.call, self.words


def hostile(mark):
    """Pickles that make the file `mark` when opened by a plain reader, or ask for what arrays do not need."""
    command = f"open({str(mark)!r}, 'w').close()"
    array = np.zeros(3, dtype=np.float32)
    return {
        "os.system": {"params": Runs(os.system, f"touch {mark}")},
        "after an array": {"params": {"a": array, "b": Runs(exec, command)}},
        "eval in a list": {"params": [Runs(eval, command)]},
        "getattr": {"params": Runs(getattr, "text", "upper")},
        "numpy.load": Runs(np.load, str(mark)),
        "array of objects": {"params": {"a": np.array([Runs(exec, command)], dtype=object)}},
        "ordered dictionary": OrderedDict(params={"a": array}),
        "protocol 0": b"cbuiltins\nexec\n(V" + command.encode() + b"\ntR.",
        "name from the stack": b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c" + bytes([len(command)]) + command.encode() + b"\x85R.",
        "after an allowed class": b"\x80\x02cnumpy\nndarray\n)R0cos\nsystem\nV:\n\x85R.",
        "torch tensor": {"params": torch.zeros(3)},
    }


@pytest.mark.parametrize("kind", hostile("x"))
def test_a_pickle_that_names_code_is_refused_and_nothing_runs(kind, tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(UnsafePickle, match="was not read: it asks for .*so opening it could run code"):
        so3lr(written(tmp_path / "params.pkl", hostile(mark)[kind]))
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["os.system", "after an array", "eval in a list", "array of objects", "protocol 0", "name from the stack"])
def test_these_pickles_do_run_where_nobody_looks(kind, tmp_path):
    """So that the test above could fail."""
    pickle.loads(written(tmp_path / "params.pkl", hostile(tmp_path / "ran")[kind]).read_bytes())
    assert (tmp_path / "ran").exists()


def test_a_pickle_may_not_claim_more_than_it_holds(tmp_path):
    """A forged shape: seven numbers that claim to be 2^41."""
    content = pickle.dumps({"params": {"a": np.zeros(7, dtype=np.float32)}}, protocol=3)
    place = next(p for op, arg, p in pickletools.genops(content) if op.name == "BININT1" and arg == 7)
    forged = content[:place] + b"\x8a\x06" + (2**41).to_bytes(6, "little") + content[place + 2 :]
    with pytest.raises(ValueError, match="not a readable parameter file"):
        so3lr(written(tmp_path / "params.pkl", forged))


def test_a_tree_without_end_is_refused(tmp_path):
    endless = {}
    endless["a"] = endless
    with pytest.raises(ValueError, match="nested deeper"):
        so3lr(written(tmp_path / "params.pkl", endless))
    doubling = np.zeros(1)
    for _ in range(40):  # a file of a few hundred bytes, a tree of a million million leaves
        doubling = {"a": doubling, "b": doubling}
    with pytest.raises(ValueError, match="more than 100000 entries"):
        so3lr(written(tmp_path / "params.pkl", doubling))


def test_a_pickle_that_ends_early_is_refused_wherever_it_ends(tmp_path):
    whole = pickle.dumps({"params": {"a": np.zeros(1000)}}, protocol=4)
    for share in (0.0, 0.01, 0.5, 0.999):
        with pytest.raises(ValueError, match="is not a readable parameter file"):
            so3lr(written(tmp_path / "params.pkl", whole[: int(share * len(whole))]))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_arrays_arrive_as_they_were(protocol, tmp_path):
    rng = np.random.default_rng(0)
    leaves = {"f": np.asfortranarray(rng.normal(size=(2, 5))).astype(np.float32), "i": np.arange(6, dtype=">i4"), "one": np.array([7], dtype=np.uint8),
              "none": np.zeros((0, 3)), "point": np.array(2.5), "half": np.ones((2, 1, 2), dtype=np.float16)}  # fmt: skip
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"b": leaves}, protocol))
    if protocol == 0 or protocol == 1 or protocol == 2:  # their bytes are text that only _codecs.encode turns back
        with pytest.raises(UnsafePickle, match="_codecs.encode"):
            read_arrays(tmp_path / "x.pkl")
        return
    found = read_arrays(tmp_path / "x.pkl")
    assert found.keys() == {f"b.{name}" for name in leaves}
    for name, expected in leaves.items():
        assert found[f"b.{name}"].dtype == expected.dtype.newbyteorder("=") and found[f"b.{name}"].shape == expected.shape
        np.testing.assert_array_equal(found[f"b.{name}"], expected)


def test_an_archive_that_unpacks_to_more_than_is_read_is_refused(tmp_path, monkeypatch):
    import potentials.imports.so3lr as module

    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    np.savez_compressed(tmp_path / "p.npz", a=np.zeros(10_000))
    assert (tmp_path / "p.npz").stat().st_size < 1000
    with pytest.raises(ValueError, match="unpacks to 0.0 GB"):
        so3lr(tmp_path / "p.npz")


def test_a_damaged_archive_is_refused_wherever_it_ends(tmp_path):
    np.savez(tmp_path / "p.npz", a=np.zeros(1000))
    whole = (tmp_path / "p.npz").read_bytes()
    for share in (0.5, 0.9, 0.999):
        with pytest.raises(ValueError, match="not a readable .npz of plain arrays"):
            so3lr(written(tmp_path / "p.npz", whole[: int(share * len(whole))]))
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + b"x" * 100)
    with pytest.raises(ValueError, match="not a readable .npz of plain arrays"):
        so3lr(tmp_path / "p.npz")
