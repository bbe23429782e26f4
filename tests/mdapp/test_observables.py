"""Temperature, pressure and the count of degrees of freedom."""
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from mdapp import observables as ob
from toys import argon


@pytest.mark.parametrize("n, translation, rotation, fixed, expected", [
    (10, False, False, 0, 30), (10, True, False, 0, 27), (10, True, True, 0, 24),
    (1, False, False, 0, 3), (1, True, False, 0, 0), (1, True, True, 0, 0),
    (2, True, True, 0, 1), (2, True, False, 0, 3),
    (3, True, True, 0, 3),  # CO2 too: bent, it has no freedom to turn about its axis
    (10, True, True, 4, 18), (10, False, False, 4, 18),
])
def test_degrees_of_freedom(n, translation, rotation, fixed, expected):
    assert ob.degrees_of_freedom(n, translation_removed=translation, rotation_removed=rotation, n_fixed=fixed) == expected


def test_kinetic_energy_and_temperature_agree_with_ase():
    atoms = molecule("CH3OH")
    atoms.set_momenta(np.random.default_rng(0).normal(size=(6, 3)))
    kinetic = ob.kinetic_energy(atoms.get_momenta(), atoms.get_masses())
    assert kinetic == pytest.approx(atoms.get_kinetic_energy(), rel=1e-14)
    assert ob.temperature_K(kinetic, 18) == pytest.approx(atoms.get_temperature(), rel=1e-12)  # ASE divides by 3N
    mean = ob.atomic_temperatures_K(atoms.get_momenta(), atoms.get_masses()).mean()
    assert mean == pytest.approx(atoms.get_temperature(), rel=1e-12)


def test_no_freedom_has_no_temperature():
    assert ob.temperature_K(0.0, 0) == 0.0


def test_ideal_gas_has_the_ideal_pressure():
    cell = np.diag([10.0, 20.0, 30.0])
    kinetic = 1.5 * 100 * units.kB * 300.0
    assert ob.pressure(np.zeros(6), kinetic, cell) == pytest.approx(100 * units.kB * 300.0 / 6000.0, rel=1e-12)


def test_pressure_is_minus_the_derivative_of_the_energy_by_the_volume():
    atoms = argon(edge=5.0)
    atoms.rattle(0.1, seed=1)
    pressure = ob.pressure(atoms.get_stress(), 0.0, atoms.cell.array)
    energies, volumes = [], []
    for scale in (1 - 1e-5, 1 + 1e-5):
        other = atoms.copy()
        other.calc = atoms.calc.__class__()
        other.set_cell(atoms.cell * scale, scale_atoms=True)
        energies.append(other.get_potential_energy())
        volumes.append(ob.volume(other.cell.array))
    slope = (energies[1] - energies[0]) / (volumes[1] - volumes[0])
    assert pressure > 0  # squeezed below its lattice constant
    assert pressure == pytest.approx(-slope, rel=1e-6)
    total = -np.trace(atoms.get_stress(voigt=False)) / 3
    assert pressure == pytest.approx(total, rel=1e-12)


def test_one_bar_is_a_hundred_kilopascal():
    assert ob.PER_BAR == pytest.approx(1e5 * units.Pascal, rel=1e-12)


def test_angular_velocity_carries_the_angular_momentum_of_a_rigid_body():
    atoms = molecule("CH3OH")
    masses, r = atoms.get_masses(), atoms.positions - atoms.get_center_of_mass()
    omega = np.array([0.1, -0.2, 0.3])
    momenta = masses[:, None] * np.cross(omega, r)
    np.testing.assert_allclose(ob.angular_velocity(atoms.positions, momenta, masses), omega, atol=1e-14)
    np.testing.assert_allclose(ob.angular_momentum(atoms.positions + 100.0, momenta, masses), ob.angular_momentum(atoms.positions, momenta, masses), atol=1e-11)


@pytest.mark.parametrize("atoms", [molecule("CO2"), molecule("H2"), Atoms("Ar")], ids=["CO2", "H2", "Ar"])
def test_linear_molecules_and_atoms_have_a_finite_angular_velocity(atoms):
    momenta = np.random.default_rng(2).normal(size=(len(atoms), 3))
    assert np.isfinite(ob.angular_velocity(atoms.positions, momenta, atoms.get_masses())).all()


def test_extent_is_the_reach_from_the_centre():
    assert ob.extent(np.array([[0.0, 0, 0], [4, 0, 0]]) + 7.0) == pytest.approx(2.0)
