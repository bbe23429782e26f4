"""Potentials that need no file."""
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

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
