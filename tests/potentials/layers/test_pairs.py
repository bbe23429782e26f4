"""Long-range laws of a whole potential with charge, spin, electrostatics and dispersion: limits, continuity, far copies, memory."""
import copy
import math

import numpy as np
import pytest
import torch
from ase import Atoms

from potentials.conformance import check_potential
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch, sum_over_atoms
from potentials.layers.pairs import far_pairs
from potentials.neighbours import graph_for, graph_of, pairs, pairs_plain
from samples import argon, small, water

FAR = dict(use_charge_embed=True, use_spin_embed=True, electrostatic_energy_bool=True, dispersion_energy_bool=True)


@pytest.fixture(scope="module")
def potential():
    return small("so3krates", elements=(1, 8), cutoff=4.0, **FAR)


def evaluate(potential, atoms, cutoff):
    p = copy.copy(potential)
    p.long_range_cutoff = cutoff
    return energy_forces_stress(p, graph_for(atoms, p))


def ion(charge=-1, multiplicity=1):
    atoms = water()
    atoms.info.update(charge=charge, multiplicity=multiplicity)
    return atoms


@pytest.mark.parametrize("cutoff", ["auto", 3.5, 9.0])
def test_a_potential_with_all_that_so3lr_has_conforms(potential, cutoff):
    p = copy.deepcopy(potential)
    p.long_range_cutoff = cutoff
    assert all(law.kept for law in check_potential(p))


def test_a_large_cutoff_comes_to_all_pairs(potential):
    """A neutral molecule's shifted energy differs by k_e sum q^2 / 2R in leading order, its forces by the gradient of that, and dispersion by nothing."""
    whole = evaluate(potential, ion(0), None)
    q2 = float((whole.outputs.charges**2).sum())
    apart = []
    for R in (1e3, 1e4, 1e5):
        cut = evaluate(potential, ion(0), R)
        assert float(cut.energy - whole.energy) == pytest.approx(14.399645351950548 * q2 / (2 * R), rel=1e-3)
        torch.testing.assert_close(cut.outputs.terms["dispersion"], whole.outputs.terms["dispersion"])
        apart.append(float((cut.forces - whole.forces).abs().max()))
    assert apart[1] == pytest.approx(apart[0] / 10, rel=0.01) and apart[2] == pytest.approx(apart[0] / 100, rel=0.01)


def test_all_pairs_do_not_hang_on_how_they_are_asked_for(potential):
    for atoms in (ion(), ion(2, 3), water(3)):
        none, auto = evaluate(potential, atoms, None), evaluate(potential, atoms, "auto")
        assert torch.equal(none.energy, auto.energy) and torch.equal(none.forces, auto.forces)


def test_energy_and_force_go_to_zero_where_a_molecule_leaves_the_cutoff(potential):
    """Two molecules farther apart than everything else: what is left between them ends without a jump, and there is nothing beyond."""
    R, two = 9.0, Atoms("HOHO", np.zeros((4, 3)))

    def between(d):
        two.positions = [[0, 0, 0], [0, 0.3, 0.9], [0, 0, d], [0, 0.3, d + 0.9]]
        r = evaluate(potential, two, R)
        return float((r.outputs.terms["electrostatics"] + r.outputs.terms["dispersion"]).sum()), r.forces.numpy()

    for edge in (R, R - 0.9):  # the first pair leaves here, the last there
        (e_in, f_in), (e_out, f_out) = between(edge - 1e-6), between(edge + 1e-6)
        assert abs(e_in - e_out) < 1e-8 and np.abs(f_in - f_out).max() < 1e-6
    apart = between(R + 1.0)
    assert between(R + 2.0)[0] == pytest.approx(apart[0], abs=1e-12)


def test_far_molecules_feel_their_charges(potential):
    """Two copies: each molecule's own terms twice, and Coulomb between their centres in leading order. Charges are shared within one structure."""
    one = water()[:3]
    two = one + one
    two.positions[3:] += (2000.0, 0, 0)
    single, double = evaluate(potential, one, None), evaluate(potential, two, None)
    own, both = single.outputs, double.outputs
    torch.testing.assert_close(both.charges, torch.cat([own.charges, own.charges]), rtol=0, atol=1e-12)
    assert float(double.energy) == pytest.approx(2 * float(single.energy), abs=1e-6)  # dipoles of 2 e Å at 2000 Å: 1e-8 eV
    for term in ("network", "repulsion", "dispersion"):
        assert float(both.terms[term].sum()) == pytest.approx(2 * float(own.terms[term].sum()), abs=1e-10)


@pytest.mark.parametrize("charge", [-2, 0, 1])
def test_charges_of_each_structure_of_a_batch_sum_to_its_total_charge(potential, charge):
    p = copy.copy(potential)
    p.long_range_cutoff = "auto"
    cell = water(1)
    cell.set_cell(np.diag([7.0, 8.0, 9.0]) + 0.5)
    cell.pbc = True
    together = p.outputs(batch([graph_for(a, p) for a in (ion(charge, 3), water(2), cell, ion(-charge))]))
    graph = batch([graph_for(a, p) for a in (ion(charge, 3), water(2), cell, ion(-charge))])
    torch.testing.assert_close(sum_over_atoms(together.charges.detach(), graph), torch.tensor([charge, 0.0, 0.0, -charge], dtype=torch.float64), rtol=0, atol=1e-12)


def test_all_pairs_of_a_periodic_structure_are_refused(potential):
    cell = water()
    cell.set_cell([8, 8, 8])
    cell.pbc = True
    with pytest.raises(ValueError, match="infinitely many pairs: give a long-range cutoff"):
        evaluate(potential, cell, None)
    assert graph_for(cell, potential).long_range_cutoff == (12.0,)


def test_each_pair_lives_under_its_own_cutoff():
    graphs = [graph_of(water(k), 3.0, R) for k, R in enumerate((5.0, math.inf, 7.0))]
    far = far_pairs(batch(graphs), torch.float64)
    n = [len(g.long_range) // 2 for g in graphs]
    assert far.cutoff.tolist() == [5.0] * n[0] + [1.0] * n[1] + [7.0] * n[2]
    assert far.has_cutoff.tolist() == [True] * n[0] + [False] * n[1] + [True] * n[2] and not far.all_pairs


def test_a_cutoff_far_beyond_a_molecule_finds_all_pairs():
    atoms = water()
    far, plain = (search(atoms.positions, np.zeros((3, 3)), np.zeros(3, bool), 1000.0) for search in (pairs, pairs_plain))
    for a, b in zip(far, plain):
        np.testing.assert_array_equal(a, b)
    diagonal = float(np.linalg.norm(np.ptp(atoms.positions, axis=0)))  # pairs are complete on both sides of the short cut
    for cutoff in (0.99 * diagonal, diagonal, 1.01 * diagonal):
        for a, b in zip(*(search(atoms.positions, np.zeros((3, 3)), np.zeros(3, bool), cutoff) for search in (pairs, pairs_plain))):
            np.testing.assert_array_equal(a, b)


def test_the_long_range_list_grows_with_the_number_of_atoms():
    """At one density a finite cutoff gives every atom the same number of pairs: memory is linear, where all pairs are quadratic."""
    one, eight = argon(0, 2), argon(0, 2) * (2, 2, 2)
    counts = [len(graph_of(atoms, 4.0, 9.0).long_range) for atoms in (one, eight)]
    assert counts[1] == 8 * counts[0]
    free = [len(graph_of(argon(0, n, periodic=False), 4.0, math.inf).long_range) for n in (1, 2)]
    assert free == [4 * 3, 32 * 31]
