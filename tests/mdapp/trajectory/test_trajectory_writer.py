"""Frames to disk and back: precision, units, MDTraj's reading, resuming, damage."""
from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import mdtraj
import numpy as np
import pytest
from ase import units
from runs import assert_same, ethanol, frame, shuffled_water, topology

from mdapp.errors import OutputError, RunFolderError
from mdapp.trajectory import TrajectoryWriter, load_mdtraj, load_series, read_frames, read_topology, recover
from mdapp.trajectory import write as write_module


def write_run(folder: Path, atoms, steps, full=False, run_id="run"):
    with TrajectoryWriter(folder, topology(atoms), run_id) as writer:
        for step in steps:
            writer(frame(atoms, step, full))
    return writer


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("atoms", [ethanol(), ethanol(periodic=True), shuffled_water()], ids=["free", "triclinic", "residues apart"])
def test_frames_come_back_as_they_were(tmp_path, atoms, full):
    steps = range(0, 300, 10)
    write_run(tmp_path, atoms, steps, full)
    found = list(read_frames(tmp_path))
    assert len(found) == len(steps)
    for one, step in zip(found, steps):
        assert_same(one, frame(atoms, step, full))
    assert [f.step for f in read_frames(tmp_path / "trajectory.h5", stride=7)] == list(steps)[::7]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trajectory.h5"]


def test_the_dipole_of_three_atoms_is_no_row_for_each_of_them(tmp_path):
    atoms = shuffled_water()[[0, 4, 2]]  # H, O, H: stored in another order
    atoms.numbers = [1, 8, 1]
    dipole, charges = np.array([0.1, 0.2, 0.3]), np.array([0.4, -0.8, 0.4])
    with TrajectoryWriter(tmp_path, topology(atoms), "run") as writer:
        for step in range(3):
            writer(replace(frame(atoms, step), extras={"charges": charges, "dipole": step * dipole}))
    for step, found in enumerate(read_frames(tmp_path)):
        np.testing.assert_allclose(found.extras["dipole"], step * dipole, rtol=1e-6)
        np.testing.assert_allclose(found.extras["charges"], charges, rtol=1e-6)


def test_mdtraj_opens_it_in_its_own_units(tmp_path):
    atoms = ethanol(periodic=True)
    write_run(tmp_path, atoms, (0, 10, 20))
    loaded = mdtraj.load(str(tmp_path / "trajectory.h5"))
    expected = frame(atoms, 10)
    assert loaded.n_frames == 3 and loaded.topology.n_bonds == 8
    assert np.allclose(loaded.time, [0, 0.005, 0.010])
    assert np.allclose(loaded.unitcell_volumes[1], abs(np.linalg.det(expected.cell)) * 1e-3, rtol=1e-6)
    pairs = np.array([[0, 1], [2, 8]])  # all distances, through walls too, are those of the true cell
    ours = [_nearest(expected, a, b) for a, b in pairs]
    assert np.allclose(mdtraj.compute_distances(loaded, pairs)[1] * 10, ours, atol=1e-4)
    from mdtraj.formats import HDF5TrajectoryFile

    with HDF5TrajectoryFile(str(tmp_path / "trajectory.h5")) as file:
        data = file.read()
    assert np.allclose(data.potentialEnergy[1], expected.potential_energy * units.mol / units.kJ)
    assert np.allclose(np.linalg.norm(data.velocities[1], axis=1), np.linalg.norm(expected.velocities, axis=1) * units.fs * 100, rtol=1e-5)
    assert np.allclose(data.temperature[1], expected.temperature_K)


def _nearest(f, a, b):
    from ase.geometry import find_mic

    return find_mic(f.positions[b] - f.positions[a], f.cell, True)[1]


def test_residues_that_stand_apart_are_together_in_the_file(tmp_path):
    atoms = shuffled_water()
    write_run(tmp_path, atoms, (0, 1))
    loaded = mdtraj.load(str(tmp_path / "trajectory.h5"))
    for bond in loaded.topology.bonds:
        assert np.linalg.norm(loaded.xyz[0, bond.atom1.index] - loaded.xyz[0, bond.atom2.index]) < 0.13
    assert [atom.element.symbol for atom in read_topology(tmp_path)._atoms] == list(atoms.symbols)
    assert load_mdtraj(tmp_path) == loaded


def test_frames_are_seen_before_the_writer_closes(tmp_path):
    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    for step in range(5):
        writer(frame(atoms, step))
    assert [f.step for f in read_frames(tmp_path)] == list(range(5))
    assert load_mdtraj(tmp_path).n_frames == 5
    assert mdtraj.load(str(tmp_path / "trajectory.h5")).n_frames >= 1
    writer.fold()
    assert mdtraj.load(str(tmp_path / "trajectory.h5")).n_frames == 5
    writer.close()


def test_folding_keeps_up_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(write_module, "SHORTEST_INTERVAL_S", 0.0)
    monkeypatch.setattr(write_module, "COST_FACTOR", 0.0)
    monkeypatch.setattr(write_module, "BYTES_PER_S", 1e18)
    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    for step in range(4):
        writer(frame(atoms, step))
        assert mdtraj.load(str(tmp_path / "trajectory.h5")).n_frames == step + 1
    writer.close()


def test_resuming_drops_what_came_after_the_checkpoint_and_stores_nothing_twice(tmp_path):
    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    for step in range(0, 60, 10):
        writer(frame(atoms, step))
        if step == 30:
            state = writer.state()
    writer.close()
    for _ in range(3):  # any number of times
        with TrajectoryWriter(tmp_path, topology(atoms), "run", resume=state) as writer:
            for step in range(0, 90, 10):
                writer(frame(atoms, step))
        assert [f.step for f in read_frames(tmp_path)] == list(range(0, 90, 10))
    for found in read_frames(tmp_path):
        assert_same(found, frame(atoms, found.step))


def test_a_leftover_journal_is_folded_once(tmp_path):
    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    for step in range(5):
        writer(frame(atoms, step))
    journal = (tmp_path / "trajectory.journal").read_bytes()
    (tmp_path / "trajectory.h5.tmp").write_bytes(b"half a copy")
    assert recover(tmp_path) == 4
    (tmp_path / "trajectory.journal").write_bytes(journal)  # killed between the rename and the clearing of the journal
    assert recover(tmp_path) == 0
    assert [f.step for f in read_frames(tmp_path)] == list(range(5))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trajectory.h5"]


def test_a_journal_cut_anywhere_gives_the_whole_frames_before_the_cut(tmp_path):
    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    sizes = []
    for step in range(6):
        writer(frame(atoms, step))
        sizes.append((tmp_path / "trajectory.journal").stat().st_size)
    raw = (tmp_path / "trajectory.journal").read_bytes()
    for cut in [0, 3, 10, 200, *np.random.default_rng(0).integers(0, len(raw), 30).tolist()]:
        (tmp_path / "trajectory.journal").write_bytes(raw[:cut])
        whole = sum(size <= cut for size in sizes[1:])
        found = list(read_frames(tmp_path))
        assert [f.step for f in found] == list(range(1 + whole))
        for f in found:
            assert_same(f, frame(atoms, f.step))


def test_an_altered_journal_never_gives_wrong_frames(tmp_path):
    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    for step in range(6):
        writer(frame(atoms, step))
    raw = (tmp_path / "trajectory.journal").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(raw)
        damaged[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        (tmp_path / "trajectory.journal").write_bytes(bytes(damaged))
        try:
            for f in read_frames(tmp_path):
                assert_same(f, frame(atoms, f.step))
        except RunFolderError:
            pass


def test_an_altered_trajectory_is_refused_or_right(tmp_path):
    atoms = ethanol()
    write_run(tmp_path, atoms, range(200))
    path = tmp_path / "trajectory.h5"
    raw, rng, refused = path.read_bytes(), np.random.default_rng(2), 0
    for k in range(60):
        damaged = bytearray(raw)
        begin = int(rng.integers(len(raw)))
        damaged[begin : begin + 64] = rng.bytes(len(damaged[begin : begin + 64]))
        path.write_bytes(bytes(damaged) if k % 6 else raw[:begin])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for f in read_frames(tmp_path):
                    expected = frame(atoms, f.step)
                    assert_same(f, expected)
        except RunFolderError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder, other: (folder / "trajectory.h5").unlink(),
        lambda folder, other: (folder / "trajectory.h5").write_bytes(b""),
        lambda folder, other: (folder / "trajectory.h5").write_bytes((folder / "trajectory.h5").read_bytes()[:3000]),
        lambda folder, other: (folder / "trajectory.h5").write_bytes((other / "trajectory.h5").read_bytes()),
        lambda folder, other: (folder / "trajectory.journal").write_bytes(b"nonsense" * 40),
    ],
    ids=["missing", "empty", "cut", "of another run", "garbage in the journal"],
)
def test_resuming_on_damaged_files_is_refused_in_words(tmp_path, spoil):
    atoms = ethanol()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        writer = write_run(tmp_path / name, atoms, range(5), run_id=name)
    spoil(tmp_path / "a", tmp_path / "b")
    with pytest.raises(RunFolderError) as error:
        TrajectoryWriter(tmp_path / "a", topology(atoms), "a", resume=writer.state())
    assert "trajectory" in str(error.value)


def test_fewer_frames_than_the_checkpoint_knows_is_refused(tmp_path):
    atoms = ethanol()
    write_run(tmp_path, atoms, range(5))
    for state in ({"n_frames": 9, "last_step": 8}, {"n_frames": 4, "last_step": 4}, {"n_frames": 6, "last_step": 4}):
        with pytest.raises(RunFolderError, match="the checkpoint knows"):
            TrajectoryWriter(tmp_path, topology(atoms), "run", resume=state)
    assert len(list(read_frames(tmp_path))) == 5


def test_a_trajectory_is_never_overwritten(tmp_path):
    write_run(tmp_path, ethanol(), range(3))
    with pytest.raises(OutputError, match="exists already"):
        TrajectoryWriter(tmp_path, topology(ethanol()), "run")
    assert len(list(read_frames(tmp_path))) == 3


def test_no_number_that_is_none_is_stored(tmp_path):
    atoms = ethanol()
    with TrajectoryWriter(tmp_path, topology(atoms), "run") as writer:
        writer(frame(atoms, 0))
        for change in ({"forces": np.full((9, 3), np.nan)}, {"positions": np.full((9, 3), np.inf)}, {"potential_energy": np.nan}):
            with pytest.raises(ValueError, match="step 1 are not all finite"):
                writer(replace(frame(atoms, 1), **change))
        writer(frame(atoms, 2))
    assert [f.step for f in read_frames(tmp_path)] == [0, 2]


def test_a_missing_optional_value_is_none_again(tmp_path):
    atoms = ethanol()
    with TrajectoryWriter(tmp_path, topology(atoms), "run") as writer:
        writer(frame(atoms, 0, full=True))
        writer(frame(atoms, 1))
    last = list(read_frames(tmp_path))[-1]
    assert last.stress is None and last.pressure is None and last.extras == {}


def test_a_full_disk_or_a_vanished_folder_is_one_sentence_and_nothing_is_lost(tmp_path, monkeypatch):
    atoms, real = ethanol(), write_module.store.append
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    for step in range(3):
        writer(frame(atoms, step))

    def full(*args):
        raise OutputError("trajectory.h5 cannot be written: no space left on device.")

    monkeypatch.setattr(write_module.store, "append", full)
    with pytest.raises(OutputError):
        writer.fold()
    writer.close()
    monkeypatch.setattr(write_module.store, "append", real)
    assert recover(tmp_path) == 2
    with pytest.raises(OutputError, match="cannot be written"):
        TrajectoryWriter(tmp_path / "gone", topology(atoms), "run")(frame(atoms, 0))


def test_a_disk_that_fills_up_leaves_whole_frames(tmp_path):
    """A real limit on the size of files (RLIMIT_FSIZE) stands for a full disk."""
    import resource
    import signal

    atoms = ethanol()
    writer = TrajectoryWriter(tmp_path, topology(atoms), "run")
    writer(frame(atoms, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written = 1
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(OutputError, match="trajectory.journal cannot be written"):
            for step in range(1, 1000):
                writer(frame(atoms, step))
                written += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert writer.n_frames == written > 1
    writer.close()
    assert [f.step for f in read_frames(tmp_path)] == list(range(written))


def test_links_out_of_the_file_are_refused(tmp_path):
    write_run(tmp_path, ethanol(), range(3))
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["coordinates"] = np.zeros((3, 9, 3), dtype="f4")
    with h5py.File(tmp_path / "trajectory.h5", "r+") as file:
        del file["forces"]
        file["forces"] = h5py.ExternalLink(str(secret), "/coordinates")
    for read in (lambda: list(read_frames(tmp_path)), lambda: load_mdtraj(tmp_path), lambda: load_series(tmp_path)):
        with pytest.raises(RunFolderError, match="link to elsewhere"):
            read()


def test_claims_beyond_the_size_of_the_file_are_refused(tmp_path):
    write_run(tmp_path, ethanol(), range(3))
    with h5py.File(tmp_path / "trajectory.h5", "r+") as file:
        file["coordinates"].resize(10**9, axis=0)
    with pytest.raises(RunFolderError, match="claims"):
        list(read_frames(tmp_path))


def test_writing_a_frame_is_cheap(tmp_path):
    """Below 0.2 ms on an idle core; the limit here leaves room for a busy one."""
    import time

    atoms = ethanol()
    frames = [frame(atoms, step) for step in range(300)]
    with TrajectoryWriter(tmp_path, topology(atoms), "run") as writer:
        writer(frames[0])
        times = []
        for one in frames[1:]:
            begin = time.perf_counter()
            writer(one)
            times.append(time.perf_counter() - begin)
    assert np.median(times) < 1e-3
