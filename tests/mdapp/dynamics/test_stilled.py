"""Baths that multiply momenta make a drift of rounding grow; the motion of the whole is taken out now and then, and nothing else.

(Measured without it: methanol, CSVR of 10 fs, 30 ps: from 1e-31 to 2e-23 kT, a random walk of the logarithm that has no end.)
"""
import numpy as np
import pytest
from ase.constraints import FixAtoms
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta, ensembles
from mdapp.observables import angular_momentum
from mdapp.simulation import ASEStepper
from toys import argon, methanol

MULTIPLY = ["npt-c-rescale", "npt-mtk", "nvt-csvr", "nvt-nose-hoover"]


def started(name, atoms, seed=1, **options):
    cls, rng = ensembles.get(name), np.random.default_rng(seed)
    T = 40.0 if cls.needs_cell else 300.0
    ensemble = cls(temperature_K=T, **options)
    atoms.set_momenta(draw_momenta(atoms, T, rng, degrees_of_freedom_of(ensemble, atoms)))
    return ASEStepper(atoms, ensemble, 5.0 if cls.needs_cell else 0.5, rng)


def test_every_bath_that_multiplies_momenta_is_stilled_and_no_other():
    assert [name for name in ensembles.names() if hasattr(ensembles.get(name), "still")] == MULTIPLY
    conserving = [name for name in ensembles.names() if ensembles.get(name).conserves_momentum]
    assert conserving == sorted(["nve", *MULTIPLY])  # Newton's equations by themselves make nothing grow


@pytest.mark.parametrize("name", MULTIPLY)
def test_drift_and_spin_of_the_whole_are_taken_out_and_the_books_stay_balanced(name):
    atoms = argon() if ensembles.get(name).needs_cell else methanol()
    stepper = started(name, atoms)
    atoms.set_momenta(atoms.get_momenta() + 1e-6 * np.random.default_rng(2).normal(size=(len(atoms), 3)))
    if hasattr(stepper.dynamics, "_p"):
        stepper.dynamics._p = atoms.get_momenta()
    for _ in range(99):
        stepper.step()
    before = stepper.frame()
    assert np.abs(before.momenta.sum(axis=0)).max() > 1e-7
    stepper.step()
    after = stepper.frame()
    assert np.abs(after.momenta.sum(axis=0)).max() < 1e-12
    if not atoms.pbc.any():
        assert np.abs(angular_momentum(after.positions, after.momenta, after.masses)).max() < 1e-12
    assert abs(after.conserved_energy - before.conserved_energy) < 1e-3  # eV; the ripple of one step
    np.testing.assert_allclose(after.kinetic_energy, stepper.dynamics.atoms.get_kinetic_energy(), rtol=1e-14)


@pytest.mark.parametrize("fixed", [[0], [0, 1], [0, 1, 2]])
def test_what_fixed_atoms_push_is_left_alone(fixed):
    """Around fixed atoms the drift is heat; only the spin about one of them, or about the line of two, is not."""
    atoms = methanol()
    atoms.set_constraint(FixAtoms(fixed))
    stepper = started("nvt-csvr", atoms)
    for _ in range(100):
        stepper.step()
    p = atoms.get_momenta()
    assert np.abs(p.sum(axis=0)).max() > 1e-3 and not p[fixed].any()
