"""Readers: labels to eV and Å, and what is said when they are not there."""
import gzip
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from potentials.data import DataError, LabelKeys, Units, read_labelled
from potentials.data.labelled import not_finite
from potentials.data.units import BOHR, GPA, HARTREE

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


# ---------------------------------------------------------------- labels under several names

def two_methods(frames, *drop, energy_off=100.0, forces_off=3.0):
    """Frames with labels of two methods, REF_ and plain, less the names in `drop`."""
    made = []
    for k in range(frames):
        atoms = labelled(seed=k)
        atoms.info["Energy"] = atoms.info["REF_energy"] + energy_off
        atoms.arrays["force"] = forces_off * atoms.arrays["REF_forces"]
        for name in drop:
            atoms.info.pop(name, None), atoms.arrays.pop(name, None)
        made.append(atoms)
    return made


@pytest.mark.parametrize("drop, energy, factor", [((), 0.0, 1.0), (("REF_forces",), 100.0, 3.0), (("REF_energy",), 100.0, 3.0)])
def test_energy_and_forces_are_taken_from_names_that_belong_together(tmp_path, caplog, drop, energy, factor):
    write(tmp_path / "a.xyz", two_methods(3, *drop), format="extxyz")
    read = list(read_labelled(tmp_path / "a.xyz"))
    for s, atoms in zip(read, two_methods(3), strict=True):
        assert s.energy == atoms.info["REF_energy"] + energy
        np.testing.assert_allclose(s.forces, factor * atoms.arrays["REF_forces"], atol=1e-7)
    doubled = {"REF_energy": "forces is there as", "REF_forces": "energy is there as"}.get("".join(drop), "energy is there as 'REF_energy' and, with other values, as 'Energy'")
    assert caplog.text.count(doubled) == 1  # of a file, not of each frame


def test_several_names_of_the_same_numbers_are_no_reason_to_warn(tmp_path, caplog):
    frames = two_methods(2, energy_off=0.0, forces_off=1.0)
    for atoms in frames:
        atoms.info["free_energy"] = -1.0  # of a smeared occupation, beside the energy
    write(tmp_path / "a.xyz", frames, format="extxyz")
    list(read_labelled(tmp_path / "a.xyz"))
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_a_pair_of_different_methods_is_warned_of_unless_it_was_named(tmp_path, caplog):
    write(tmp_path / "a.xyz", two_methods(2, "Energy", "REF_forces"), format="extxyz")
    list(read_labelled(tmp_path / "a.xyz"))
    assert "energy is read from 'REF_energy' and forces from 'force' (frame 0 of a.xyz)" in caplog.text
    caplog.clear()
    list(read_labelled(tmp_path / "a.xyz", keys=LabelKeys(energy="REF_energy", forces="force")))
    assert "different methods" not in caplog.text


def test_all_frames_are_of_the_method_of_the_first_with_both_labels(tmp_path, caplog):
    frames = two_methods(2, "REF_forces")
    atom = Atoms("O")
    atom.info.update(REF_energy=-1.0, Energy=-2.0, config_type="IsolatedAtom")
    other = labelled(seed=5)
    write(tmp_path / "a.xyz", [*frames, atom], format="extxyz")
    assert [s.energy for s in read_labelled(tmp_path / "a.xyz")] == [-1970.0, -1971.0, -2.0]
    write(tmp_path / "b.xyz", [*frames, other], format="extxyz")
    list(read_labelled(tmp_path / "b.xyz"))
    assert "energy is read from 'REF_energy' in frame 2 of b.xyz, and from another name before" in caplog.text


# ---------------------------------------------------------------- names and units that would be passed over

@pytest.mark.parametrize("quantity", ["positions", "numbers", "cell"])
def test_a_name_that_the_format_has_no_place_for_is_refused(tmp_path, quantity):
    write(tmp_path / "a.xyz", labelled(), format="extxyz")
    with pytest.raises(DataError, match=f"keys.{quantity} = 'nope' means nothing to a.xyz, which is read as extxyz"):
        list(read_labelled(tmp_path / "a.xyz", keys=LabelKeys(**{quantity: "nope"})))


def spice_like(path, **more):
    """Two molecules of SPICE's layout, of which the second has more members."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            group = file.create_group(name)
            group["atomic_numbers"], group["conformations"] = [8, 1, 1], rng.standard_normal((2, 3, 3)) * 3
            group["dft_total_energy"], group["dft_total_gradient"] = np.full(2, -76.0), rng.standard_normal((2, 3, 3))
            group.attrs["total_charge"] = 0.0
        file["b"].attrs["net"] = -1.0
        for key, value in more.items():
            file["b"][key] = value
    return path


@pytest.mark.parametrize("keys, message", [
    (dict(stress="nope"), "keys.stress = 'nope' means nothing to a.hdf5, which is read as spice"),
    (dict(multiplicity="nope"), "keys.multiplicity = 'nope' means nothing"),
    (dict(dipole="nope"), "No dipole in any molecule of a.hdf5: looked for 'nope'; there in molecule 'a': atomic_numbers, conformations"),
    (dict(charges="nope"), "No charges in any molecule of a.hdf5"),
    (dict(molecule="nope"), "No molecule in any molecule of a.hdf5"),
    (dict(charge="nope"), "No charge in any molecule of a.hdf5: looked for the attribute 'nope'; there in molecule 'a': total_charge"),
    (dict(numbers="nope"), "No 'nope' in molecule 'a' of a.hdf5; there: atomic_numbers"),
])  # fmt: skip
def test_a_name_that_no_molecule_has_is_refused(tmp_path, keys, message):
    with pytest.raises(DataError, match=message):
        list(read_labelled(spice_like(tmp_path / "a.hdf5"), keys=LabelKeys(**keys)))


def test_a_name_that_some_molecules_have_is_taken_there(tmp_path):
    path = spice_like(tmp_path / "a.hdf5", mu=np.ones((2, 3)), of="series")
    read = list(read_labelled(path, keys=LabelKeys(dipole="mu", molecule="of", charge="net")))
    assert [s.dipole is None for s in read] == [True, True, False, False]
    assert [(s.molecule, s.charge) for s in read] == [("a", 0.0)] * 2 + [("series", -1.0)] * 2


@pytest.mark.parametrize("units", [Units("hartree", forces="hartree/bohr"), Units(length="bohr")])
def test_a_stress_of_which_nothing_says_the_unit_is_refused(tmp_path, caplog, units):
    atoms = labelled(cell=[8, 9, 10], pbc=True)
    atoms.info["REF_stress"] = np.full(6, 1e-4)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    np.savez(tmp_path / "a.npz", R=atoms.positions[None], E=[-76.0], z=atoms.numbers, stress=np.full((1, 6), 1e-4), unit_cell=9 * np.eye(3))
    for name in ("a.xyz", "a.npz"):
        with pytest.raises(DataError, match=rf"stress' of .*{name} cannot be read: nothing says the unit of the stress.*Give units.stress"):
            list(read_labelled(tmp_path / name, units=units))
        with caplog.at_level("INFO"):
            (s,) = read_labelled(tmp_path / name, units=replace(units, stress="GPa"))
        assert s.stress[0, 0] == pytest.approx(1e-4 * GPA) and "stress in GPa, turned into" in caplog.text
        caplog.clear()


def test_a_file_without_stress_needs_no_unit_of_it(tmp_path):
    write(tmp_path / "a.xyz", labelled(), format="extxyz")
    assert next(read_labelled(tmp_path / "a.xyz", units=Units("hartree"))).energy == pytest.approx(-2070.0 * HARTREE)


# ---------------------------------------------------------------- what is not a finite number

def test_frames_that_are_not_finite_pass_only_where_that_is_asked_for(tmp_path):
    frames = [labelled(seed=k) for k in range(4)]
    frames[1].info["REF_energy"], frames[2].arrays["REF_forces"][1, 1] = np.nan, np.inf
    write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(DataError, match="energy is not a finite number in frame 1 of a.xyz; drop that frame"):
        list(read_labelled(tmp_path / "a.xyz"))
    read = list(read_labelled(tmp_path / "a.xyz", nonfinite="keep"))
    assert [not_finite(s) for s in read] == [(), ("energy",), ("forces",), ()]
    np.savez(tmp_path / "a.npz", R=np.ones((2, 3, 3)), E=[np.nan, 0.0], F=np.zeros((2, 2, 3)), z=[8, 1, 1])
    with pytest.raises(DataError, match="'F' has shape"):  # a wrong shape stays one
        list(read_labelled(tmp_path / "a.npz", units=Units(), nonfinite="keep"))
