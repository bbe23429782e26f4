"""Starting momenta: temperature, no drift, no spin, and the seed alone decides."""
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.observables import angular_momentum, atomic_temperatures_K, kinetic_energy, temperature_K
from mdapp.simulation import ASEStepper
from toys import argon, carbon_dioxide, methanol

MOLECULES = {"methanol": methanol, "CO2": carbon_dioxide, "H2": lambda: molecule("H2"), "C60": lambda: molecule("C60")}


@pytest.mark.parametrize("build", MOLECULES.values(), ids=MOLECULES)
def test_free_molecule_starts_without_drift_and_spin(build):
    atoms = build()
    atoms.positions += 50.0
    p = draw_momenta(atoms, 300.0, np.random.default_rng(1))
    np.testing.assert_allclose(p.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(angular_momentum(atoms.positions, p, atoms.get_masses()), 0, atol=1e-10)
    assert kinetic_energy(p, atoms.get_masses()) > 0


def test_box_starts_without_drift():
    p = draw_momenta(argon(), 300.0, np.random.default_rng(1))
    np.testing.assert_allclose(p.sum(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("name", ensembles.names())
def test_thermometer_reads_the_target_at_step_0_in_every_ensemble(name):
    cls = ensembles.get(name)
    atoms = argon() if cls.needs_cell else methanol()
    options = {"temperature_K": 250.0} if "temperature_K" in cls.__dataclass_fields__ else {}
    rng = np.random.default_rng(4)
    atoms.set_momenta(draw_momenta(atoms, 250.0, rng))
    stepper = ASEStepper(atoms, cls(**options), 0.5, rng)
    atoms.set_momenta(draw_momenta(atoms, 250.0, rng, dof=stepper.degrees_of_freedom))
    assert stepper.frame().temperature_K == pytest.approx(250.0, rel=1e-12)


def test_unscaled_draws_have_the_canonical_mean_and_width():
    atoms, rng = methanol(), np.random.default_rng(5)
    K = np.array([kinetic_energy(draw_momenta(atoms, 300.0, rng, exact=False), atoms.get_masses()) for _ in range(4000)])
    kT = units.kB * 300.0
    assert K.mean() == pytest.approx(6.0 * kT, abs=4 * kT * np.sqrt(6.0 / 4000))  # 12 degrees of freedom: mean 6 kT, variance 6 kT^2
    assert K.var() == pytest.approx(6.0 * kT**2, rel=0.12)


def test_light_and_heavy_atoms_are_equally_hot():
    atoms, rng = argon(n=3), np.random.default_rng(6)
    masses = np.where(np.arange(len(atoms)) % 2, 1.0, 100.0)
    atoms.set_masses(masses)
    T = np.mean([atomic_temperatures_K(draw_momenta(atoms, 300.0, rng), masses) for _ in range(200)], axis=0)
    assert T[::2].mean() == pytest.approx(T[1::2].mean(), rel=0.03)  # 54 atoms, 200 draws: 0.9 % standard error each


def test_same_seed_same_momenta_and_another_seed_others():
    a, b, c = (draw_momenta(methanol(), 300.0, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


def test_global_generator_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    draw_momenta(methanol(), 300.0, np.random.default_rng(1))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_single_atom():
    atom = Atoms("Ar")
    assert not draw_momenta(atom, 300.0, np.random.default_rng(1)).any()  # its drift was taken out, and there is no more
    p = draw_momenta(atom, 300.0, np.random.default_rng(1), dof=3)
    assert temperature_K(kinetic_energy(p, atom.get_masses()), 3) == pytest.approx(300.0)


def test_fixed_atoms_rest_and_the_others_are_warm():
    atoms = methanol()
    atoms.set_constraint(FixAtoms([0, 2]))
    p = draw_momenta(atoms, 300.0, np.random.default_rng(1))
    assert not p[[0, 2]].any()
    assert temperature_K(kinetic_energy(p, atoms.get_masses()), 12 - 1) == pytest.approx(300.0)  # none turns about the line of the two


def test_zero_kelvin_is_rest_and_less_is_refused():
    assert not draw_momenta(methanol(), 0.0, np.random.default_rng(1)).any()
    with pytest.raises(ValueError, match="temperature_K must be a number >= 0, got -1"):
        draw_momenta(methanol(), -1.0, np.random.default_rng(1))
