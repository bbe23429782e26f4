"""Prepared data on disk: the same batches to the bit, whole or not there, little memory."""
import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from data.test_dataset import structure
from potentials.data import DataError, build_dataset
from potentials.data.columns import Column, ColumnError, open_column
from potentials.data.storage import PreparedDataError, open_dataset, read_manifest, write_dataset


def varied(n=40):
    """Frames with and without a cell, labels, charges; small and large."""
    frames = [structure(k, n_atoms=2 + k % 7, periodic=k % 5 == 3, molecule=f"m{k % 6}") for k in range(max(n, 8))]
    frames[4] = replace(frames[4], energy=None)
    frames[5] = replace(frames[5], forces=None)
    frames[7] = replace(frames[7], charges=np.linspace(0, 1, len(frames[7].numbers)), dipole=np.ones(3), multiplicity=3)
    return frames[:n]


def assert_same_batch(a, b):
    for x, y in ((a, b), (a.graph, b.graph), (a.graph.edges, b.graph.edges), (a.graph.long_range, b.graph.long_range)):
        for f in fields(x) if x is not None else ():
            u, v = getattr(x, f.name), getattr(y, f.name)
            if isinstance(u, torch.Tensor):
                assert u.dtype == v.dtype and torch.equal(torch.nan_to_num(u, nan=1e9), torch.nan_to_num(v, nan=1e9)), f.name


@pytest.mark.parametrize("pairs", ["stored", "found"])
@pytest.mark.parametrize("far", [None, 4.5, float("inf")])
def test_batches_from_disk_are_those_from_memory(tmp_path, pairs, far):
    frames = varied() if far != float("inf") else [structure(k, n_atoms=2 + k % 5) for k in range(20)]
    here, there = build_dataset(frames, 3.0, far), write_dataset(tmp_path / "set", iter(frames), 3.0, far, pairs=pairs)
    assert len(here) == len(there) and here.elements == there.elements
    assert list(here.molecules) == list(there.molecules) and np.array_equal(here.edge_counts, there.edge_counts)
    for chosen in ([3, 0, 18], [7], [4, 5, 7, 3], np.arange(len(frames))):
        assert_same_batch(here.batch(chosen), there.batch(chosen))


def test_arrays_are_mapped_and_cannot_be_written(tmp_path):
    dataset = write_dataset(tmp_path / "set", varied(), 3.0)
    assert isinstance(dataset.positions.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        dataset.positions[0] = 0


def test_labels_that_no_frame_has_take_no_room(tmp_path):
    write_dataset(tmp_path / "set", [structure(2 * k) for k in range(10)], 3.0)
    there = {p.stem for p in (tmp_path / "set").glob("*.npy")}
    assert there.isdisjoint({"stress", "cell", "charges", "dipole", "charge", "unpaired", "pairs_shifts"}) and {"energy", "forces", "pairs_i"} <= there


def test_large_frames_widen_the_pairs_of_all(tmp_path):
    rng = np.random.default_rng(0)
    large = replace(structure(1), numbers=np.ones(300, int), positions=rng.uniform(0, 20, (300, 3)), forces=None)
    frames = [structure(0), large, structure(2)]
    there = write_dataset(tmp_path / "set", frames, 3.0)
    assert there.pairs.i.dtype == np.uint16
    assert_same_batch(build_dataset(frames, 3.0).batch([2, 1, 0]), there.batch([2, 1, 0]))


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def broken():
        yield from varied(5)
        raise DataError("frame 5 is broken")

    with pytest.raises(DataError, match="frame 5"):
        write_dataset(tmp_path / "set", broken(), 3.0)
    with pytest.raises(DataError, match="No labelled structures"):
        write_dataset(tmp_path / "set", [], 3.0)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_leaves_the_old_set(tmp_path):
    write_dataset(tmp_path / "set", varied(5), 3.0)
    with pytest.raises(DataError):
        write_dataset(tmp_path / "set", [], 3.0)
    assert len(open_dataset(tmp_path / "set")) == 5
    assert len(write_dataset(tmp_path / "set", varied(7), 3.0)) == 7
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_folder_of_others_is_not_touched(tmp_path):
    (tmp_path / "letters.txt").write_text("dear all")
    with pytest.raises(PreparedDataError, match="something else"):
        write_dataset(tmp_path, varied(3), 3.0)
    with pytest.raises(PreparedDataError, match="not a folder of prepared data"):
        open_dataset(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_damage_is_named(tmp_path):
    folder = tmp_path / "set"
    write_dataset(folder, varied(), 3.0)
    content = bytearray((folder / "positions.npy").read_bytes())
    content[-1] ^= 1
    (folder / "positions.npy").write_bytes(content)
    assert len(open_dataset(folder)) == 40  # sizes alone do not show it
    with pytest.raises(PreparedDataError, match="positions.npy has another checksum"):
        open_dataset(folder, verify=True)
    (folder / "positions.npy").write_bytes(content[:-8])
    with pytest.raises(PreparedDataError, match="positions.npy has .* bytes, not"):
        open_dataset(folder)
    (folder / "positions.npy").unlink()
    with pytest.raises(PreparedDataError, match="positions.npy is not there"):
        open_dataset(folder)
    manifest = read_manifest(folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": "mdapp prepared data 99"}))
    with pytest.raises(PreparedDataError, match="data 99"):
        open_dataset(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(PreparedDataError, match="damaged"):
        open_dataset(folder)


@pytest.mark.parametrize("values", [np.arange(5), np.array([1, 300, 2]), np.array([[0, 70_000]] * 3), np.array([-5, 2])])
def test_a_column_gives_back_what_it_got(tmp_path, values):
    column = Column(tmp_path / "x.npy", "int8" if values.min() < 0 else "uint8", values.shape[1:])
    for row in values:
        column.append(row[None])
    known = json.loads(json.dumps(column.close()))
    assert np.array_equal(open_column(tmp_path / "x.npy", known, verify=True), values)
    assert np.array_equal(np.load(tmp_path / "x.npy"), values)  # anyone can read it
    with pytest.raises(ColumnError, match="holds|bytes"):
        open_column(tmp_path / "x.npy", {**known, "shape": [len(values) + 1, *values.shape[1:]]})


def test_a_column_of_one_value_is_filled_up_when_another_comes(tmp_path):
    column = Column(tmp_path / "x.npy", "float64", (2,), fill=np.nan)
    column.append(np.full((3, 2), np.nan))
    assert not (tmp_path / "x.npy").exists()
    column.append(np.ones((1, 2)))
    found = open_column(tmp_path / "x.npy", column.close())
    assert np.isnan(found[:3]).all() and (found[3] == 1).all() and found.shape == (4, 2)
