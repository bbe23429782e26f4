"""Readers: labels to eV and Å, and what is said when they are not there."""
import gzip
import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from potentials.data import DataError, LabelKeys, Units, read_labelled
from potentials.data.units import BOHR, HARTREE

PEPTIDES = Path(__file__).parents[3] / "../shared/data/peptides_gfn2/peptides_gfn2_val.h5"
SPICE = Path(__file__).parents[3] / "../shared/data/spice/raw/SPICE-1.1.4_subset_shared.hdf5"


def water(seed=0, **cell):
    positions = np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]])
    return Atoms("OH2", positions + 0.01 * np.random.default_rng(seed).standard_normal((3, 3)), **cell)


def labelled(energy_key="REF_energy", forces_key="REF_forces", seed=0, **cell):
    atoms = water(seed, **cell)
    atoms.info[energy_key] = -2070.0 - seed
    atoms.arrays[forces_key] = np.random.default_rng(seed).standard_normal((3, 3))
    return atoms


# ---------------------------------------------------------------- extended xyz

def test_extxyz_gives_back_what_was_written(tmp_path):
    frames = [labelled(seed=k) for k in range(3)]
    write(tmp_path / "a.xyz", frames, format="extxyz")
    read = list(read_labelled(tmp_path / "a.xyz"))
    assert [s.energy for s in read] == [-2070.0, -2071.0, -2072.0]
    for s, atoms in zip(read, frames, strict=True):
        np.testing.assert_allclose(s.positions, atoms.positions, atol=1e-7)  # eight digits in the file
        np.testing.assert_allclose(s.forces, atoms.arrays["REF_forces"], atol=1e-7)
        assert s.numbers.tolist() == [8, 1, 1] and not s.pbc.any() and s.charge == 0 and s.stress is None


def test_gzip_reads_the_same(tmp_path):
    write(tmp_path / "a.xyz", [labelled(seed=k) for k in range(2)], format="extxyz")
    with open(tmp_path / "a.xyz", "rb") as plain, gzip.open(tmp_path / "b.xyz.gz", "wb") as zipped:
        shutil.copyfileobj(plain, zipped)
    for a, b in zip(read_labelled(tmp_path / "a.xyz"), read_labelled(tmp_path / "b.xyz.gz"), strict=True):
        assert a.energy == b.energy and np.array_equal(a.forces, b.forces)


def test_labels_that_ase_moves_into_a_calculator_are_found(tmp_path):
    atoms = water(cell=[8, 9, 10], pbc=True)
    stress = np.array([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])
    forces = np.arange(9.0).reshape(3, 3)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces, stress=stress)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (s,) = read_labelled(tmp_path / "a.xyz")
    assert s.energy == -3.0
    np.testing.assert_allclose(s.forces, forces)
    np.testing.assert_allclose(s.stress, [[0.1, 0.03, 0.02], [0.03, 0.2, 0.01], [0.02, 0.01, 0.3]])  # ASE's Voigt order xx yy zz yz xz xy


def test_reference_labels_come_before_those_of_a_calculator(tmp_path):
    atoms = labelled()
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.zeros((3, 3)))
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (s,) = read_labelled(tmp_path / "a.xyz")
    assert s.energy == -2070.0 and np.abs(s.forces).sum() > 1


def test_units_are_converted_once(tmp_path):
    atoms = labelled(cell=[20, 20, 20], pbc=True)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (plain,) = read_labelled(tmp_path / "a.xyz")
    (s,) = read_labelled(tmp_path / "a.xyz", units=Units("hartree", "bohr"))
    assert s.energy == pytest.approx(plain.energy * HARTREE, rel=1e-14)
    np.testing.assert_allclose(s.positions, plain.positions * BOHR, rtol=1e-14)
    np.testing.assert_allclose(s.cell, plain.cell * BOHR, rtol=1e-14)
    np.testing.assert_allclose(s.forces, plain.forces * HARTREE / BOHR, rtol=1e-14)


def test_units_and_keys_are_said_in_the_log(tmp_path, caplog):
    write(tmp_path / "a.xyz", labelled(), format="extxyz")
    with caplog.at_level(logging.INFO):
        list(read_labelled(tmp_path / "a.xyz", units=Units("kcal/mol")))
    assert "energy from 'REF_energy'" in caplog.text and "energies in kcal/mol" in caplog.text


def test_keys_may_be_named(tmp_path):
    atoms = labelled("E_mine", "F_mine")
    atoms.info.update(REF_energy=5.0, charge=-1, residue="WAT")
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (s,) = read_labelled(tmp_path / "a.xyz", keys=LabelKeys(energy="E_mine", forces="F_mine", molecule="residue"))
    assert s.energy == -2070.0 and s.charge == -1 and s.molecule == "WAT"
    np.testing.assert_allclose(s.forces, atoms.arrays["F_mine"], atol=1e-7)


def test_missing_key_lists_what_is_there(tmp_path):
    frames = [labelled(), labelled("Etot", "Ftot")]
    write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(DataError, match=r"No energy in frame 1 of a\.xyz: looked for 'REF_energy'.*there: Etot, Ftot.*keys\.energy"):
        list(read_labelled(tmp_path / "a.xyz"))
    with pytest.raises(DataError, match=r"No forces in frame 0 of a\.xyz: looked for 'F'; there: REF_energy, REF_forces"):
        list(read_labelled(tmp_path / "a.xyz", keys=LabelKeys(forces="F")))


def test_frames_may_lack_energy_or_forces_and_the_log_counts_them(tmp_path, caplog):
    frames = [labelled(seed=k) for k in range(3)]
    del frames[1].info["REF_energy"], frames[2].arrays["REF_forces"]
    write(tmp_path / "a.xyz", frames, format="extxyz")
    read = list(read_labelled(tmp_path / "a.xyz"))
    assert [s.energy is None for s in read] == [False, True, False]
    assert [s.forces is None for s in read] == [False, False, True]
    assert "1 of 3 frames have no energy" in caplog.text and "1 of 3 frames have no forces" in caplog.text and "stress" not in caplog.text


@pytest.mark.parametrize("what", ["energy", "forces", "positions"])
def test_nan_is_refused_by_frame(tmp_path, what):
    frames = [labelled(), labelled()]
    if what == "energy":
        frames[1].info["REF_energy"] = float("nan")
    elif what == "forces":
        frames[1].arrays["REF_forces"][2, 1] = np.nan
    else:
        frames[1].positions[0, 0] = np.inf
    write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(DataError, match=f"{what} is not a finite number in frame 1 of a.xyz"):
        list(read_labelled(tmp_path / "a.xyz"))


def test_forces_of_another_shape_are_refused(tmp_path):
    atoms = labelled()
    atoms.arrays["REF_forces"] = np.zeros((3, 2))
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    with pytest.raises(DataError, match=r"forces has shape \(3, 2\), expected \(3, 3\).*frame 0 of a.xyz"):
        list(read_labelled(tmp_path / "a.xyz"))


def test_garbage_is_refused_by_name(tmp_path):
    (tmp_path / "a.xyz").write_text("3\nenergy=1\nO 0 0 0\nH 0 0\n")
    with pytest.raises(DataError, match="a.xyz cannot be read as extended xyz"):
        list(read_labelled(tmp_path / "a.xyz"))
    (tmp_path / "b.xyz").write_text("")
    with pytest.raises(DataError, match="b.xyz"):
        list(read_labelled(tmp_path / "b.xyz"))


def test_no_file_a_folder_and_a_strange_suffix(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.xyz"):
        list(read_labelled(tmp_path / "no.xyz"))
    with pytest.raises(DataError, match="is a folder"):
        list(read_labelled(tmp_path))
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"known: \.xyz"):
        list(read_labelled(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="Unknown format 'xyzz'.*extxyz, npz, spice, ani"):
        list(read_labelled(tmp_path / "a.txt", format="xyzz"))


# ---------------------------------------------------------------- SPICE layout

def spice_file(path, n_frames=2, numbers=True, **extra):
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        for name in ("ammonia", "water"):
            symbols = {"ammonia": [7, 1, 1, 1], "water": [8, 1, 1]}[name]
            group = file.create_group(name)
            if numbers:
                group["atomic_numbers"] = np.array(symbols, dtype=np.int16)
            group["conformations"] = rng.standard_normal((n_frames, len(symbols), 3)).astype(np.float32)
            group["dft_total_energy"] = rng.standard_normal(n_frames) - 76
            group["formation_energy"] = rng.standard_normal(n_frames)
            group["dft_total_gradient"] = rng.standard_normal((n_frames, len(symbols), 3)).astype(np.float32)
            for key, value in extra.items():
                group[key] = value[name]
    return path


def test_spice_is_read_in_atomic_units_and_forces_are_minus_the_gradient(tmp_path):
    path = spice_file(tmp_path / "a.h5")
    read = list(read_labelled(path))
    assert [s.molecule for s in read] == ["ammonia"] * 2 + ["water"] * 2
    with h5py.File(path) as file:
        group = file["water"]
        for k, s in enumerate(read[2:]):
            assert s.energy == pytest.approx(group["dft_total_energy"][k] * HARTREE, rel=1e-14)
            np.testing.assert_allclose(s.positions, group["conformations"][k].astype(float) * BOHR, rtol=1e-14)
            np.testing.assert_allclose(s.forces, -group["dft_total_gradient"][k].astype(float) * HARTREE / BOHR, rtol=1e-14)
            assert s.numbers.tolist() == [8, 1, 1]


def test_spice_believes_the_units_that_data_sets_name(tmp_path):
    path = spice_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        for group in file.values():
            group["conformations"].attrs["units"] = "nanometers"
    s = next(read_labelled(path))
    with h5py.File(path) as file:
        np.testing.assert_allclose(s.positions, file["ammonia"]["conformations"][0].astype(float) * 10, rtol=1e-14)
        np.testing.assert_allclose(s.forces, -file["ammonia"]["dft_total_gradient"][0].astype(float) * HARTREE / BOHR, rtol=1e-14)


def test_spice_takes_another_energy_and_forces_without_a_sign(tmp_path):
    path = spice_file(tmp_path / "a.h5", forces={"ammonia": np.ones((2, 4, 3)), "water": np.ones((2, 3, 3))})
    s = next(read_labelled(path, keys=LabelKeys(energy="formation_energy", forces="forces"), units=Units()))
    with h5py.File(path) as file:
        assert s.energy == file["ammonia"]["formation_energy"][0]
    assert np.all(s.forces == 1)


def test_spice_finds_elements_and_charge_in_a_numbered_smiles(tmp_path):
    smiles = {"ammonia": ["[N+:2]([H:1])([H:3])[H:4]"], "water": ["[H:3][O:1][H:2]"]}
    path = spice_file(tmp_path / "a.h5", numbers=False, smiles=smiles)
    read = list(read_labelled(path))
    assert read[0].numbers.tolist() == [1, 7, 1, 1] and read[0].charge == 1
    assert read[2].numbers.tolist() == [8, 1, 1] and read[2].charge == 0


def test_spice_believes_the_attribute_before_the_smiles(tmp_path):
    path = spice_file(tmp_path / "a.h5", smiles={"ammonia": ["[N+:1]([H:2])([H:3])[H:4]"], "water": ["[O:1]([H:2])[H:3]"]})
    with h5py.File(path, "a") as file:
        file["ammonia"].attrs["total_charge"] = -2
    assert next(read_labelled(path)).charge == -2


def test_spice_without_elements_or_labels_lists_what_is_there(tmp_path):
    path = spice_file(tmp_path / "a.h5", numbers=False, smiles={"ammonia": ["N"], "water": ["O"]})
    with pytest.raises(DataError, match="No atomic_numbers in molecule 'ammonia' of a.h5.*there: conformations"):
        list(read_labelled(path))
    path = spice_file(tmp_path / "b.h5")
    with h5py.File(path, "a") as file:
        del file["water"]["dft_total_gradient"]
    frames = read_labelled(path)
    assert next(frames).molecule == "ammonia"  # read as it goes: the first molecule is fine
    with pytest.raises(DataError, match="No 'dft_total_gradient' in molecule 'water' of b.h5; there: atomic_numbers, conformations"):
        list(frames)


def test_spice_with_lengths_that_differ_is_refused(tmp_path):
    path = spice_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["water"]["dft_total_energy"]
        file["water"]["dft_total_energy"] = np.zeros(5)
    with pytest.raises(DataError, match="2 conformations, but energies of shape .5,.*molecule 'water'"):
        list(read_labelled(path))
    (tmp_path / "b.h5").write_text("no HDF5")
    with pytest.raises(DataError, match="b.h5 cannot be read as HDF5"):
        list(read_labelled(tmp_path / "b.h5"))


@pytest.mark.skipif(not PEPTIDES.exists(), reason=f"{PEPTIDES.name} is not here")
def test_real_energies_and_forces_belong_together():
    """Along relaxation paths the energy falls by what the forces say: units and sign are right."""
    with h5py.File(PEPTIDES) as file:
        kinds = np.concatenate([group["frame_kind"][:] for group in file.values()])
    frames = list(read_labelled(PEPTIDES))
    assert len(frames) == 1997
    by_forces, by_energy = [], []
    for k in np.flatnonzero((kinds[:-1] == 3) & (kinds[1:] == 3)):
        a, b = frames[k], frames[k + 1]
        dx = b.positions - a.positions if a.molecule == b.molecule else np.inf
        if np.max(np.abs(dx)) < 0.15:  # Å; the trapezium rule is good to some percent there
            by_forces.append(-0.5 * np.sum((a.forces + b.forces) * dx))
            by_energy.append(b.energy - a.energy)
    assert len(by_forces) >= 20
    slope = np.dot(by_forces, by_energy) / np.dot(by_forces, by_forces)
    assert slope == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(by_forces, by_energy)[0, 1] > 0.98


@pytest.mark.skipif(not SPICE.exists(), reason=f"{SPICE.name} is not here")
def test_real_spice_file_names_its_own_charges():
    charges = {s.molecule: s.charge for s in read_labelled(SPICE)}
    assert charges == {"103147721": 1.0, "C#C.[Na+]": 1.0}
