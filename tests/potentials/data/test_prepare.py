"""From files to the two parts of a training: what is left out before anything is learned from it, and when prepared data are made anew."""
import csv
import os
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from potentials.data.labelled import DataError, LabelKeys
from potentials.data.lammps import LammpsConfig
from potentials.data.sources import FileConfig
from potentials.training.config import DataConfig, PotentialConfig, TrainConfig
from potentials.training.prepare import prepare


def waters(n=20, bad={}):
    """Water molecules with labels, `bad` of which (by number) have the label named there spoilt."""
    frames = []
    for k in range(n):
        rng = np.random.default_rng(k)
        atoms = Atoms("OH2", np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]]) + 0.03 * rng.standard_normal((3, 3)))
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -10.0 + rng.standard_normal(), rng.standard_normal((3, 3))
        if bad.get(k) == "energy":
            atoms.info["REF_energy"] = np.nan
        elif bad.get(k) == "forces":
            atoms.arrays["REF_forces"][1, 1] = np.inf
        frames.append(atoms)
    return frames


@pytest.fixture
def config(tmp_path):
    write(tmp_path / "a.xyz", waters(bad={7: "energy", 9: "forces"}), format="extxyz")
    small = {"num_layers": 1, "num_features": 16, "num_heads": 2, "degrees": [1, 2], "cutoff": 4.0, "num_radial_basis_fn": 8}
    return TrainConfig(data=DataConfig(str(tmp_path / "a.xyz"), validation_fraction=0.2), output=str(tmp_path / "out"), potential=PotentialConfig("so3krates", small),
                       max_steps=1)  # fmt: skip


def with_data(config, **changes):
    return replace(config, data=replace(config.data, **changes))


@pytest.mark.parametrize("missing_labels", ["refuse", "mask"])
@pytest.mark.parametrize("cached", [False, True])
def test_labels_that_are_not_finite_are_out_before_anything_is_learned_from_them(config, tmp_path, cached, missing_labels):
    config = with_data(config, cache=str(tmp_path / "cache") if cached else None, missing_labels=missing_labels)
    for _ in range(2):  # the second time from the cache, if there is one
        told = []
        training, validation, known, _ = prepare(config, told.append)
        assert len(training.indices) + len(validation.indices) == 18 == len(training.dataset)
        assert np.isfinite(training.dataset.energy).all() and np.isfinite(training.dataset.forces).all()
        assert all(np.isfinite(e) for e in known.reference_energies.values()) and np.isfinite(known.force_rms)
        (warning,) = [line for line in told if "not finite" in line]
        assert warning.startswith("warning: 2 frames left out, with numbers that are not finite: frame 7 of a.xyz (energy), frame 9 of a.xyz (forces); listed in ")
        with open(tmp_path / "out" / "rejected.csv", newline="") as file:
            rows = [(r["file"], r["frame"], r["beyond_doubt"]) for r in csv.DictReader(file) if r["reason"] == "not finite"]
        assert rows == [(str(tmp_path / "a.xyz"), "7", "True"), (str(tmp_path / "a.xyz"), "9", "True")]
    assert any("18 prepared frames, as they are" in line for line in told) == cached


def test_without_cleaning_they_are_refused_also_from_a_cache_of_another_training(config, tmp_path):
    config = with_data(config, cache=str(tmp_path / "cache"))
    prepare(config, lambda line: None)
    for cache in (config.data.cache, None):
        with pytest.raises(DataError, match="energy is not a finite number in frame 7 of .*a.xyz; drop that frame or label it again"):
            prepare(with_data(config, cleaning="off", cache=cache), lambda line: None)


def test_frames_of_a_file_of_which_none_is_finite_are_refused(config, tmp_path):
    write(tmp_path / "a.xyz", waters(3, {0: "energy", 1: "energy", 2: "forces"}), format="extxyz")
    with pytest.raises(DataError, match="a.xyz: no frame is left, 3 have labels that are not finite numbers"):
        prepare(config, lambda line: None)


@pytest.mark.parametrize("of_the_file", [False, True])
@pytest.mark.parametrize("beside", ["energies", "topology"])
def test_a_changed_file_beside_a_lammps_dump_makes_the_data_anew(config, tmp_path, beside, of_the_file):
    frames = waters(8)
    labelled = [zip(a.positions, a.arrays["REF_forces"]) for a in frames]
    rows = ["".join(f"{i + 1} {1 if i == 0 else 2} {' '.join(f'{x:.8f}' for x in (*r, *f))}\n" for i, (r, f) in enumerate(frame)) for frame in labelled]
    head = "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS ff ff ff\n-9 9\n-9 9\n-9 9\nITEM: ATOMS id type x y z fx fy fz\n"
    (tmp_path / "w.lammpstrj").write_text("".join(head.format(k) + text for k, text in enumerate(rows)))

    def side_files(off, charge):
        np.savez(tmp_path / "e.npz", timestep=np.arange(8), energy=np.arange(8.0) + off)
        (tmp_path / "w.data").write_text(
            "water\n\n3 atoms\n2 atom types\n\n-9 9 xlo xhi\n-9 9 ylo yhi\n-9 9 zlo zhi\n\nMasses\n\n1 15.999\n2 1.008\n\nAtoms # full\n\n"
            f"1 1 1 {-2 * charge:.2f} 0 0 0\n2 1 2 {charge:.2f} 1 0 0\n3 1 2 {charge:.2f} 0 1 0\n")

    lammps = LammpsConfig(units="metal", energies=str(tmp_path / "e.npz"), topology=str(tmp_path / "w.data"))
    file = FileConfig(str(tmp_path / "w.lammpstrj"), lammps=lammps if of_the_file else None)
    config = with_data(config, train=(file,), lammps=None if of_the_file else lammps, cache=str(tmp_path / "cache"), cleaning="off")
    side_files(0.0, 0.4)
    before = prepare(config, lambda line: None)[0].dataset
    e, q = before.energy.copy(), before.charges.copy()
    side_files(*((100.0, 0.4) if beside == "energies" else (0.0, 0.3)))
    told = []
    after = prepare(config, told.append)[0].dataset
    assert any("made anew, since" in line and ("e.npz" if beside == "energies" else "w.data") in line for line in told)
    np.testing.assert_allclose(after.energy - e, 100.0 if beside == "energies" else 0.0)
    assert np.array_equal(after.charges, q) == (beside == "energies")
    for path in (tmp_path / "e.npz", tmp_path / "w.data"):
        os.utime(path, (1, 1))
    told.clear()
    prepare(config, told.append)
    assert any("as they are" in line for line in told)


def test_names_of_arrays_do_not_stand_in_the_way_of_a_file_of_isolated_atoms(config, tmp_path):
    frames = waters(10)
    np.savez(tmp_path / "a.npz", where=[a.positions for a in frames], E=[a.info["REF_energy"] for a in frames], F=[a.arrays["REF_forces"] for a in frames], z=[8, 1, 1])
    atoms = [Atoms(symbol, info={"E": energy}) for symbol, energy in (("O", -4.0), ("H", -1.0))]
    write(tmp_path / "atoms.xyz", atoms, format="extxyz")
    config = with_data(config, train=str(tmp_path / "a.npz"), keys=LabelKeys(energy="E", positions="where"), reference_energies="isolated",
                       isolated_atoms=str(tmp_path / "atoms.xyz"))  # fmt: skip
    known = prepare(config, lambda line: None)[2]
    assert known.reference_energies[8] == pytest.approx(-4.0)
