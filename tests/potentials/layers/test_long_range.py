"""Charges, electrostatics and dispersion: sums, limits and formulas, by hand for a few atoms."""
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.special import erf

from potentials.graph import batch, sum_over_atoms
from potentials.layers.charges import HirshfeldRatios, PartialCharges, dipole
from potentials.layers.dispersion import Dispersion
from potentials.layers.electrostatics import DampedCoulomb
from potentials.layers.pairs import far_pairs
from potentials.neighbours import graph_of
from samples import argon, water

KE, SIGMA = 14.399645351950548, 4.0


def graph(atoms, far):
    return graph_of(atoms, 3.0, far)


def coulomb(q, atoms, far):
    g = graph(atoms, far)
    return DampedCoulomb(SIGMA)(torch.tensor(q, dtype=torch.float64), far_pairs(g, torch.float64), g)


def test_two_charges_follow_the_formula():
    for d in (0.5, 2.0, 7.0, 40.0):
        atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, d]])
        assert float(coulomb([0.7, -0.3], atoms, math.inf).sum()) == pytest.approx(KE * 0.7 * -0.3 * erf(d / SIGMA) / d, rel=1e-13)


def test_far_charges_attract_as_points():
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 50.0]])
    assert float(coulomb([1.0, -1.0], atoms, math.inf).sum()) == pytest.approx(-KE / 50, rel=1e-12)


def test_under_a_cutoff_the_formula_is_shifted_and_blended():
    R = 10.0

    def g(d):
        return erf(d / SIGMA) / d

    slope = 2 * math.exp(-((R / SIGMA) ** 2)) / (math.sqrt(math.pi) * SIGMA * R) - erf(R / SIGMA) / R**2
    for d in (1.0, 4.0, 6.0, 8.0, 9.9):
        c = (d / R - 0.45) / 0.55
        f = 1.0 if c <= 0 else math.exp(-1 / (1 - c)) / (math.exp(-1 / (1 - c)) + math.exp(-1 / c))
        expected = KE * 0.5 * -0.4 * (f * (g(d) - g(R)) + (1 - f) * (g(d) - g(R) - slope * (d - R)))
        atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, d]])
        assert float(coulomb([0.5, -0.4], atoms, R).sum()) == pytest.approx(expected, rel=1e-11, abs=1e-15)


def test_energy_and_force_vanish_at_the_cutoff():
    R, h = 10.0, 1e-5
    e = [float(coulomb([1.0, 1.0], Atoms("Na2", [[0, 0, 0], [0, 0, R - k * h]]), R).sum()) for k in (0, 1, 2)]
    assert abs(e[0]) < 1e-15 and abs(e[1]) < 1e-9 and abs(e[2] - e[0]) / (2 * h) < 1e-4  # quadratic in the distance to R


def test_charges_sum_to_the_total_charge_of_each_structure():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = PartialCharges(8).double()
        charged = water(1)
        charged.info["charge"] = -2
        g = batch([graph_of(a, 3.0) for a in (water(0), charged, argon(1, n=1))])
        x = torch.randn(g.n_atoms, 8, dtype=torch.float64)
    q = layer(x, g)
    torch.testing.assert_close(sum_over_atoms(q, g), torch.tensor([0.0, -2.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-13)
    raw = (layer.element(g.numbers) + layer.network(x))[:, 0]
    shift = (q - raw)[:6]
    torch.testing.assert_close(shift, shift[:1].expand(6), rtol=0, atol=1e-14)  # the same on all atoms of a structure


def test_ratios_are_positive():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer, g = HirshfeldRatios(8).double(), graph_of(water(0), 3.0)
        layer.volume.weight.data[8] = -0.9  # as in published weights
        assert (layer(torch.randn(6, 8, dtype=torch.float64), g) > 0).all()


def test_the_dipole_of_a_neutral_molecule_does_not_move_with_it():
    atoms = water(0)
    q = torch.tensor([-0.8, 0.4, 0.4, -0.8, 0.4, 0.4], dtype=torch.float64)
    here = dipole(q, graph_of(atoms, 3.0))
    np.testing.assert_allclose(here[0].numpy(), q.numpy() @ atoms.positions, atol=1e-14)
    atoms.positions += 100
    torch.testing.assert_close(dipole(q, graph_of(atoms, 3.0)), here, rtol=0, atol=1e-12)


def dispersion(atoms, far=math.inf, ratios=1.0):
    g = graph(atoms, far)
    return float(Dispersion(1.2).double()(torch.full((len(atoms),), ratios, dtype=torch.float64), far_pairs(g, torch.float64), g).sum())


def test_dispersion_attracts_and_falls_with_the_sixth_power():
    """Two argon atoms: -C6/D^6 far out, C6 = 64.3 hartree bohr^6 (Chu and Dalgarno); 1/D^8 is 2 % of it at 25 Å."""
    e = {d: dispersion(Atoms("Ar2", [[0, 0, 0], [0, 0, d]])) for d in (3.0, 4.0, 25.0, 50.0)}
    assert all(x < 0 for x in e.values()) and e[3.0] < e[4.0]
    D = 50.0 / 0.5291772105638411
    assert e[50.0] == pytest.approx(-64.3 * 27.211386024367243 / D**6, rel=0.02)
    assert e[25.0] / e[50.0] == pytest.approx(64, rel=0.05)


def test_dispersion_stays_finite_where_atoms_touch():
    assert -10 < dispersion(Atoms("Ar2", [[0, 0, 0], [0, 0, 0.05]])) < 0


def test_larger_atoms_attract_more():
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 20.0]])
    assert dispersion(atoms, ratios=1.2) / dispersion(atoms) == pytest.approx(1.2**2, rel=0.02)  # C6 goes with the square of the volume


def test_dispersion_ends_smoothly_at_a_cutoff():
    e = {d: dispersion(Atoms("Ar2", [[0, 0, 0], [0, 0, d]]), far=9.0) for d in (6.5, 6.999, 8.999, 9.0)}
    full = {d: dispersion(Atoms("Ar2", [[0, 0, 0], [0, 0, d]])) for d in e}
    assert e[6.5] == pytest.approx(full[6.5], rel=1e-13) and e[6.999] == pytest.approx(full[6.999], rel=1e-13)
    assert abs(e[8.999]) < 1e-12 and e[9.0] == 0


def test_structures_with_and_without_a_cutoff_share_a_batch():
    q = torch.tensor([0.5, -0.4, 0.5, -0.4], dtype=torch.float64)
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 6.0]])
    g = batch([graph(atoms, math.inf), graph(atoms, 10.0)])
    together = sum_over_atoms(DampedCoulomb(SIGMA)(q, far_pairs(g, torch.float64), g), g)
    for k, far in enumerate((math.inf, 10.0)):
        assert float(together[k]) == pytest.approx(float(coulomb([0.5, -0.4], atoms, far).sum()), rel=1e-13)


def test_a_graph_without_long_range_pairs_is_refused():
    with pytest.raises(ValueError, match="no long-range pairs; build it with graph_for"):
        far_pairs(graph_of(water(), 3.0), torch.float64)
