"""Frequencies against closed forms and ASE; nothing of rotations left in them; saddles are left behind."""
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.thermochemistry import HarmonicThermo
from ase.vibrations import Vibrations

from mdapp.relax import BatchOptions, Relaxed, follow_imaginary, harmonic_free_energy, normal_modes, relax
from potentials.calculator import batch_evaluator

HARTREE_BOHR2 = units.Hartree / units.Bohr**2


class Valence(Calculator):
    """A triatomic A-B-A (atoms A, B, A) by bond springs and a bend in the angle."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, r0: float, angle: float, k_r: float, k_a: float):
        super().__init__()
        self.r0, self.angle, self.k_r, self.k_a = r0, np.radians(angle), k_r, k_a

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        r = self.atoms.positions
        energy, forces, step = self._energy(r), np.zeros_like(r), 1e-5
        for k in range(r.size):
            for sign in (1, -1):
                moved = r.copy()
                moved.flat[k] += sign * step
                forces.flat[k] -= sign * self._energy(moved) / (2 * step)
        self.results = {"energy": energy, "forces": forces}

    def _energy(self, r):
        a, b = r[0] - r[1], r[2] - r[1]
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        bend = 2 * (1 + cosine) if self.angle == np.pi else (np.arccos(cosine) - self.angle) ** 2  # (π - θ)² to second order
        return 0.5 * self.k_r * sum((np.linalg.norm(v) - self.r0) ** 2 for v in (a, b)) + 0.5 * self.k_a * bend


def water():
    """Atoms H, O, H at the minimum of a valence force field."""
    r, half = 0.9572, np.radians(104.52 / 2)
    atoms = Atoms("HOH", [[r * np.sin(half), r * np.cos(half), 0], [0, 0, 0], [-r * np.sin(half), r * np.cos(half), 0]])
    atoms.calc = Valence(0.9572, 104.52, 0.55 * HARTREE_BOHR2, 4.5)
    return atoms


def symmetric_triatomic(atoms, k_r, k_a, r):
    """Wilson's GF solution of A-B-A: bend, symmetric and antisymmetric stretch in cm⁻¹, lowest first."""
    m_a, m_b = atoms.get_masses()[:2]
    cosine, sine = np.cos(np.radians(104.52)), np.sin(np.radians(104.52))
    g = np.array([[1 / m_a + (1 + cosine) / m_b, -np.sqrt(2) * sine / (m_b * r)],
                  [-np.sqrt(2) * sine / (m_b * r), 2 * (1 / m_a + (1 - cosine) / m_b) / r**2]])
    values = np.append(np.linalg.eigvals(g @ np.diag([k_r, k_a])), k_r * (1 / m_a + (1 - cosine) / m_b))
    return np.sort(np.sqrt(values)) * units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm


def test_water_has_the_frequencies_of_wilsons_gf_method():
    atoms = water()
    found = normal_modes(atoms)
    expected = symmetric_triatomic(atoms, 0.55 * HARTREE_BOHR2, 4.5, 0.9572)
    assert 1000 < expected[0] < 2000 and 3000 < expected[1] < expected[2] < 5000  # water indeed
    np.testing.assert_allclose(found.frequencies_cm1, expected, rtol=2e-4)  # delta = 0.01 Å: errors of second order
    assert found.n_imaginary == 0
    assert found.zero_point_energy == pytest.approx(0.5 * units.invcm * found.frequencies_cm1.sum())


def test_a_linear_molecule_has_one_vibration_more():
    atoms = Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    atoms.calc = Valence(1.16, 180.0, 80.0, 5.0)
    atoms.rotate(37, (1, 2, 3))
    found = normal_modes(atoms).frequencies_cm1
    m_o, m_c = atoms.get_masses()[:2]
    force_constants = [5.0 * 2 * (1 / m_o + 2 / m_c) / 1.16**2] * 2 + [80.0 / m_o, 80.0 * (1 / m_o + 2 / m_c)]
    expected = np.sqrt(force_constants) * units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
    assert len(found) == 4
    np.testing.assert_allclose(found, np.sort(expected), rtol=1e-3)


@pytest.mark.parametrize("atoms, n_modes", [
    (Atoms("Cu"), 0), (Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]), 1), (Atoms("Cu3", [[0, 0, 0], [0, 0, 2.3], [2.0, 0, 1.1]]), 3),
    (bulk("Cu", cubic=True) * (1, 1, 2), 21),
])
def test_as_many_vibrations_as_there_are_inner_motions(atoms, n_modes):
    atoms = atoms.copy()
    atoms.calc = EMT()
    assert normal_modes(atoms).frequencies_cm1.shape == (n_modes,)


def test_modes_move_and_turn_nothing_as_a_whole():
    atoms = water()
    m = atoms.get_masses()[:, None]
    for mode in normal_modes(atoms).modes:
        assert np.linalg.norm(mode) == pytest.approx(1)
        np.testing.assert_allclose((m * mode).sum(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(np.cross(atoms.positions, m * mode).sum(axis=0) - np.cross(
            (m * atoms.positions).sum(axis=0) / m.sum(), (m * mode).sum(axis=0)), 0, atol=1e-10)


def test_fixed_atoms_leave_the_vibrations_of_the_others_as_ase_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = Atoms("Cu3", [[0, 0, 0], [0, 0, 2.3], [2.0, 0, 1.1]])
    atoms.calc = EMT()
    atoms.set_constraint(FixAtoms([0]))
    atoms = relax(atoms, fmax=1e-4).atoms
    atoms.calc = EMT()
    found = normal_modes(atoms)
    vibrations = Vibrations(atoms, indices=[1, 2], delta=0.01)
    vibrations.run()
    theirs = vibrations.get_energies() / units.invcm
    np.testing.assert_allclose(found.frequencies_cm1, np.sort(theirs.real - theirs.imag), atol=0.5)
    assert not found.modes[:, 0].any()


def test_the_free_energy_is_that_of_ase_and_starts_at_the_zero_point():
    found = normal_modes(water())
    for temperature in (100.0, 300.0, 1000.0):
        theirs = HarmonicThermo(found.energies, potentialenergy=0.0).get_helmholtz_energy(temperature, verbose=False)
        assert harmonic_free_energy(found, temperature) == pytest.approx(theirs, abs=1e-10)
    assert harmonic_free_energy(found, 0) == found.zero_point_energy
    with pytest.raises(ValueError, match="temperature_K"):
        harmonic_free_energy(found, -1)


def test_a_saddle_is_followed_down_to_a_minimum():
    """Water made straight has no force across its axis, and two imaginary bends."""
    atoms = Atoms("HOH", [[-0.9572, 0, 0], [0, 0, 0], [0.9572, 0, 0]])

    class Bent(Valence):
        def _energy(self, r):
            a, b = r[0] - r[1], r[2] - r[1]
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            return 0.5 * self.k_r * sum((np.linalg.norm(v) - self.r0) ** 2 for v in (a, b)) + 2 * (cosine - np.cos(self.angle)) ** 2

    evaluate = batch_evaluator(Bent(0.9572, 104.52, 50.0, 0))
    modes = normal_modes(atoms, evaluate)
    assert modes.n_imaginary == 2
    straight = Relaxed(atoms, True, 0, 0.0, 0.0, None, "converged")
    end = follow_imaginary(straight, evaluate, BatchOptions(fmax=1e-3), modes)
    assert end.descents == 1 and end.modes.n_imaginary == 0 and end.relaxed.converged
    assert end.relaxed.atoms.get_angle(0, 1, 2) == pytest.approx(104.52, abs=0.05)
