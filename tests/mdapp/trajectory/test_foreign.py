"""Other programs' trajectories become the same frames."""
from __future__ import annotations

import warnings

import mdtraj
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from runs import ethanol, frame, topology

from mdapp.errors import RunFolderError, StructureError
from mdapp.trajectory import TrajectoryWriter, load_mdtraj, load_series, read_frames

FRAMES = [frame(ethanol(), step) for step in range(7)]


def images():
    for f in FRAMES:
        atoms = ethanol()
        atoms.positions = f.positions
        atoms.set_momenta(f.momenta)
        atoms.calc = SinglePointCalculator(atoms, energy=f.potential_energy, forces=f.forces)
        yield atoms


@pytest.fixture
def reference(tmp_path):
    return mdtraj.Trajectory(np.array([f.positions for f in FRAMES]) / 10, topology(ethanol()), time=np.arange(7) * 0.5)


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "traj"])
def test_text_and_ase_files(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write(path, list(images()))
    found = list(read_frames(path, stride=2))
    assert len(found) == 4 and [f.step for f in found] == [0, 2, 4, 6]
    for one, expected in zip(found, FRAMES[::2]):
        assert np.allclose(one.positions, expected.positions, atol=1e-7) and np.allclose(one.momenta, expected.momenta, atol=1e-7)
        assert np.allclose(one.forces, expected.forces, atol=1e-7) and one.potential_energy == pytest.approx(expected.potential_energy)
        assert one.kinetic_energy == pytest.approx(expected.kinetic_energy, rel=1e-5) and np.isnan(one.conserved_energy)
    assert np.allclose(load_series(path)["E_pot_eV"], [f.potential_energy for f in FRAMES])
    loaded = load_mdtraj(path)
    assert loaded.n_frames == 7 and loaded.topology.n_bonds == 8


@pytest.mark.parametrize("suffix", ["dcd", "xtc", "trr", "h5", "nc"])
def test_binary_files_with_a_topology(tmp_path, reference, suffix):
    path, pdb = tmp_path / f"a.{suffix}", tmp_path / "top.pdb"
    reference[0].save_pdb(str(pdb))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mdtraj would rather have netCDF4
        reference.save(str(path))
    found = list(read_frames(path, topology=pdb, stride=3))
    assert len(found) == 3
    for one, expected in zip(found, FRAMES[::3]):
        assert np.allclose(one.positions, expected.positions, atol=6e-3)  # xtc keeps 0.01 Å
        assert one.numbers.tolist() == expected.numbers.tolist()
        assert np.isnan(one.potential_energy) and np.isnan(one.momenta).all()
    assert load_mdtraj(path, topology=pdb).n_frames == 7
    if suffix != "h5":
        with pytest.raises(StructureError, match="knows no elements"):
            list(read_frames(path))


def test_models_of_a_pdb_are_frames(tmp_path, reference):
    reference.save_pdb(str(tmp_path / "a.pdb"))
    assert [len(f.numbers) for f in read_frames(tmp_path / "a.pdb")] == [9] * 7


@pytest.mark.parametrize("name", ["a.dcd", "a.xtc", "a.traj", "a.h5", "a.xyz", "a.npz", "missing.xyz"])
def test_garbage_is_refused_in_words(tmp_path, reference, name):
    reference[0].save_pdb(str(tmp_path / "top.pdb"))
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"garbage" * 30)
    with pytest.raises((StructureError, RunFolderError)) as error:
        list(read_frames(tmp_path / name, topology=tmp_path / "top.pdb"))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="holds no trajectory.h5"):
        next(read_frames(tmp_path))


def test_series_from_the_trajectory_alone(tmp_path):
    with TrajectoryWriter(tmp_path, topology(ethanol()), "run") as writer:
        for f in FRAMES:
            writer(f)
    series = load_series(tmp_path)
    assert series.n_atoms == 9 and np.allclose(series["conserved_eV"], [f.conserved_energy for f in FRAMES], rtol=1e-14)
    assert series.step.tolist() == list(range(7)) and np.isnan(series["spread_eV_A"]).all()
