"""Lennard-Jones against its formula, ASE's calculator and a number of the literature."""
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones as AseLennardJones

from potentials.architectures.lennard_jones import Config, LennardJones
from potentials.derivatives import energy_forces_stress
from potentials.neighbours import graph_of
from samples import argon

DEFAULT = Config()


def energy(atoms, config=DEFAULT):
    return float(energy_forces_stress(LennardJones(config), graph_of(atoms, config.cutoff)).energy)


def dimer(r):
    return Atoms("Ar2", [[0, 0, 0], [0, 0, r]])


def test_a_dimer_follows_the_formula():
    e, s = DEFAULT.epsilon, DEFAULT.sigma
    for r in (2.5, 3.405, 3.8, 6.0, 7.49):
        assert energy(dimer(r)) == pytest.approx(4 * e * ((s / r) ** 12 - (s / r) ** 6), rel=1e-13, abs=1e-16)
    assert energy(dimer(2 ** (1 / 6) * s)) == pytest.approx(-e, rel=1e-13)  # the bottom of the well


def test_the_switch_is_smooth_and_ends_at_the_cutoff():
    """Energy, slope and curvature of the dimer are continuous where the switch begins and ends."""
    h = 1e-3
    for where in (DEFAULT.switch_on, DEFAULT.cutoff):
        e = np.array([energy(dimer(where + k * h)) for k in range(-4, 5)])
        for order in (0, 1, 2):
            left, right = np.diff(e[:5], n=order)[-1] / h**order, np.diff(e[4:], n=order)[0] / h**order
            # one-sided differences of a C2 function differ by one more derivative times a few h: at most 1e-2 eV/Å^3 here
            assert abs(left - right) < 4 * h * 1e-2, (where, order)
    assert energy(dimer(DEFAULT.cutoff)) == energy(dimer(DEFAULT.cutoff + 1)) == 0


def test_forces_and_stress_equal_those_of_ase_inside_the_switch():
    """With the switch far out, both are plain sums; ASE shifts energies at its cutoff, so forces and stress are compared."""
    atoms = argon(n=1)
    atoms.calc = AseLennardJones(sigma=DEFAULT.sigma, epsilon=DEFAULT.epsilon, rc=16.0, smooth=False)
    config = Config(cutoff=16.0 + 1e-6, switch_on=16.0)  # a step at the same distance
    ours = energy_forces_stress(LennardJones(config), graph_of(atoms, config.cutoff), stress=True)
    np.testing.assert_allclose(ours.forces.numpy(), atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(ours.stress[0].numpy(), atoms.get_stress(voigt=False), atol=1e-12)


def test_the_fcc_crystal_has_its_lattice_sum():
    """E/N = 2 eps [A12 (s/a)^12 - A6 (s/a)^6], a the nearest distance; A12 = 12.13188, A6 = 14.45392 (Kittel, ch. 3)."""
    a = 3.9
    atoms = bulk("Ar", "fcc", a=a * np.sqrt(2))
    config = Config(cutoff=40.0, switch_on=39.0)
    expected = 2 * config.epsilon * (12.13188 * (config.sigma / a) ** 12 - 14.45392 * (config.sigma / a) ** 6)
    left_out = -8 * np.pi / 3 * config.epsilon * config.sigma**6 / atoms.get_volume() / 39.5**3  # beyond the sphere, 6e-4 of it
    assert energy(atoms, config) == pytest.approx(expected - left_out, rel=5e-6)  # the sphere's surface is made of shells of atoms


@pytest.mark.parametrize(
    "options, words",
    [
        ({"epsilon": 0.0}, "epsilon and sigma must be > 0"),
        ({"sigma": -1.0}, "epsilon and sigma must be > 0"),
        ({"epsilon": float("nan")}, "epsilon and sigma must be > 0"),
        ({"switch_on": 9.0}, "switch_on must lie between 0 and the cutoff"),
        ({"cutoff": float("nan")}, "switch_on must lie between 0 and the cutoff"),
    ],
)
def test_impossible_constants_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Config(**options)
