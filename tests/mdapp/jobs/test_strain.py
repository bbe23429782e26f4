"""A start that is strained or twisted is told of in one sentence before the first step; one that is thermal is not."""
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator
from jobs.test_run_guarded import acetamide
from springs import Methanol

from mdapp.cli import main
from mdapp.jobs._strain import configurational_temperature_K
from mdapp.trajectory import read_frames

QUICK = ["--temperature", "300", "--seed", "1", "--device", "cpu", "--threads", "1", "-o", "o"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Wells(Calculator):
    """Each coordinate in a harmonic well of its own, soft ones and stiff ones."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, n_atoms):
        super().__init__()
        self.k = np.random.default_rng(1).uniform(2.0, 60.0, size=(n_atoms, 3))  # eV/Å²

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.5 * float(np.sum(self.k * atoms.positions**2)), "forces": -self.k * atoms.positions}


@pytest.mark.parametrize("T, n_atoms", [(300.0, 20), (1500.0, 20), (300.0, 150)])
def test_forces_tell_how_hot_an_ensemble_is_from_which_a_structure_was_taken(T, n_atoms):
    """Each of 200 structures is off by some √(2/3N) of T, their mean by some 1.5 %."""
    calc, rng = Wells(n_atoms), np.random.default_rng(2)
    found = []
    for _ in range(200 if n_atoms < 100 else 40):
        atoms = Atoms(f"C{n_atoms}", rng.standard_normal((n_atoms, 3)) * np.sqrt(units.kB * T / calc.k))
        atoms.calc = calc
        before = atoms.positions.copy()
        found.append(configurational_temperature_K(atoms))
        assert np.array_equal(atoms.positions, before)
    assert np.mean(found) == pytest.approx(T, rel=0.04)
    atoms.positions[:] = 0.0
    assert configurational_temperature_K(atoms) == 0.0


def test_where_the_energy_curves_downwards_there_is_no_temperature():
    calc = Wells(3)
    calc.k = -calc.k
    atoms = Atoms("C3", np.ones((3, 3)))
    atoms.calc = calc
    assert np.isnan(configurational_temperature_K(atoms))


def twisted(degrees):
    atoms = acetamide()
    atoms.set_dihedral(0, 4, 6, 8, degrees, indices=[7, 8, 9, 10, 11])
    return atoms


@pytest.mark.parametrize("degrees, told", [(180, False), (150, False), (20, False), (100, True), (-60, True)])
def test_a_peptide_bond_that_is_twisted_at_the_start_is_named_with_its_angle_and_what_to_do(degrees, told, capsys):
    twisted(degrees).write("nma.xyz")
    assert main(["run", "nma.xyz", "-p", "ase:springs:Springs", "--steps", "20", *QUICK]) == 0
    said = capsys.readouterr().out
    if told:
        warning = next(line for line in said.splitlines() if "strained" in line)
        assert f"C4 - N6 is twisted by {min(abs(degrees), 180 - abs(degrees))}° from flat" in warning and "`mdapp relax nma.xyz -p ase:springs:Springs`" in warning
        assert said.index(warning) < said.index("20/20") and "peptide bond C4 - N6" in json.loads(Path("o/summary.json").read_text())["why"]
    else:
        assert "strained" not in said


def test_a_start_whose_forces_are_those_of_a_hot_one_is_called_strained_and_a_thermal_one_is_not(capsys):
    strained = molecule("CH3OH")
    strained.set_distance(0, 1, strained.get_distance(0, 1) + 0.2, fix=0)
    strained.write("m.xyz")
    assert main(["run", "m.xyz", "-p", "ase:springs:Methanol", "--steps", "20", "--no-relax-start", *QUICK]) == 0
    said = capsys.readouterr().out
    assert said.count("strained") == 2 and "are those of a structure at" in said and "`mdapp relax m.xyz" in said, said  # before the first step and in the verdict
    molecule("CH3OH").write("calm.xyz")
    assert main(["run", "calm.xyz", "-p", "ase:springs:Methanol", "--steps", "2000", "--every", "200", "--friction", "20", *QUICK[:-1], "long"]) == 0
    assert "strained" not in capsys.readouterr().out
    calc, found = Methanol(), []
    for frame in list(read_frames("long"))[3:]:
        atoms = Atoms(frame.numbers, frame.positions, calculator=calc)
        found.append(configurational_temperature_K(atoms))
    assert max(found) < 900 and np.mean(found) == pytest.approx(300, rel=0.5), found


def test_a_resumed_run_says_it_again_and_does_not_ask_again(capsys):
    twisted(95).write("nma.xyz")
    assert main(["run", "nma.xyz", "-p", "ase:springs:Springs", "--steps", "20", *QUICK]) == 0
    first = json.loads(Path("o/summary.json").read_text())
    assert main(["resume", "o", "--steps", "40"]) == 0
    second = json.loads(Path("o/summary.json").read_text())
    assert second["start_warnings"] == first["start_warnings"] and len(first["start_warnings"]) == 1 and second["verdict"] == "suspect"
