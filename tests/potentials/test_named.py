"""Potentials that need no file."""
import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT
from ase.units import Hartree

from potentials import load_calculator
from potentials.named import named
from samples import argon


@pytest.mark.parametrize("name", ["lj", "emt"])
def test_a_factory_takes_device_and_dtype_and_says_what_it_is(name):
    calculator = named.get(name)(device="cpu", dtype="float64")
    assert calculator.card.level_of_theory and calculator.card.energy_zero and calculator.card.description
    assert calculator.elements is None or all(isinstance(z, int) for z in calculator.elements)


def test_lj_is_argon_and_takes_any_element():
    atoms, other = argon(1, n=1), argon(1, n=1)
    other.numbers[:] = np.arange(1, len(other) + 1)
    atoms.calc, other.calc = named.get("lj")(), named.get("lj")()
    assert atoms.get_potential_energy() == other.get_potential_energy() < 0


def test_emt_is_that_of_ase():
    ours, theirs = bulk("Cu") * (2, 2, 2), bulk("Cu") * (2, 2, 2)
    ours.calc, theirs.calc = named.get("emt")(), EMT()
    assert ours.get_potential_energy() == theirs.get_potential_energy()


def test_each_call_makes_a_calculator_of_its_own():
    assert named.get("lj")() is not named.get("lj")()


@pytest.mark.parametrize("word, module, package", [
    ("tblite:GFN2-xTB", "tblite.ase", "tblite"), ("pyscf:hf/sto-3g", "pyscf", "pyscf"), ("torchani:ANI2x", "torchani", "torchani"),
    ("mace:here.model", "mace.calculators", "mace-torch"),
])  # fmt: skip
def test_a_package_that_is_not_installed_is_told_in_a_sentence(word, module, package, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.model").write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    with pytest.raises(ValueError, match=f"^{word} needs the package {package}, which .* pip install {package}.$"):
        load_calculator(word)


def test_models_are_never_downloaded_by_surprise():
    with pytest.raises(ValueError, match="not downloaded"):
        load_calculator("mace:medium")
    with pytest.raises(ValueError, match="has no model 'ANI9'"):
        load_calculator("torchani:ANI9")


def test_pyscf_gives_the_known_energy_of_water_and_forces_that_are_its_slope():
    pytest.importorskip("pyscf", reason="pyscf is not installed (extra `pyscf`)")
    atoms = molecule("H2O")
    atoms.set_distance(0, 1, 0.96, fix=0)
    atoms.calc = load_calculator("pyscf:hf/sto-3g")
    assert atoms.get_potential_energy() / Hartree == pytest.approx(-74.96, abs=0.01)  # RHF/STO-3G near its minimum: -74.966 hartree
    force, h = atoms.get_forces()[1, 2], 4e-4
    energies = []
    for step in (h, -h):
        other = atoms.copy()
        other.positions[1, 2] += step
        other.calc = load_calculator("pyscf:hf/sto-3g")
        energies.append(other.get_potential_energy())
    assert force == pytest.approx((energies[1] - energies[0]) / (2 * h), abs=1e-4)  # eV/Å, of a field converged to 1e-9 hartree
    assert atoms.calc.card.level_of_theory == "hf/sto-3g"


def test_pyscf_reads_charge_and_multiplicity_and_refuses_what_is_periodic():
    pytest.importorskip("pyscf", reason="pyscf is not installed (extra `pyscf`)")
    calculator = load_calculator("pyscf:hf/sto-3g")
    hydroxyl = molecule("OH")
    hydroxyl.calc = calculator
    hydroxyl.info.update(multiplicity=2)
    radical = hydroxyl.get_potential_energy()
    hydroxyl.info.update(multiplicity=1, charge=-1)
    assert hydroxyl.get_potential_energy() != pytest.approx(radical, abs=0.1)
    hydroxyl.set_cell(np.eye(3) * 9)
    hydroxyl.pbc = True
    with pytest.raises(CalculationFailed, match="periodic"):
        hydroxyl.get_potential_energy()
