"""The damped charges of a crystal: Madelung constants, one split against another, the limit of large cutoffs, slopes."""
import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.special import erfc

from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.layers.electrostatics import DampedCoulomb
from potentials.layers.ewald import DampedEwald
from potentials.layers.pairs import far_pairs
from potentials.neighbours import graph_for, graph_of, pairs
from samples import small, water

KE = 14.399645351950548


def smooth(atoms, q, sigma):
    g = graph_of(atoms, 1.0)
    return float(DampedEwald(sigma)(torch.tensor(q, dtype=torch.float64), None, g).sum())


def short(atoms, q, sigma):
    """The other part of Coulomb's energy: erfc(d/sigma)/d of all images near enough to count."""
    i, j, shifts = pairs(atoms.positions, atoms.cell.array, atoms.pbc, 6.5 * sigma)
    d = np.linalg.norm(atoms.positions[j] + shifts @ atoms.cell.array - atoms.positions[i], axis=1)
    return KE * float((np.asarray(q)[i] * np.asarray(q)[j] * erfc(d / sigma) / d).sum())


@pytest.mark.parametrize("structure, a, neighbour, madelung", [
    ("rocksalt", 5.64, 0.5, 1.7475645946331822), ("cesiumchloride", 4.12, np.sqrt(3) / 2, 1.7626747730709883), ("zincblende", 5.41, np.sqrt(3) / 4, 1.6380550533887898),
])  # fmt: skip
@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_both_parts_together_give_madelung_constants(structure, a, neighbour, madelung, sigma):
    atoms = bulk("NaCl", structure, a=a)
    found = smooth(atoms, [1.0, -1.0], sigma) + short(atoms, [1.0, -1.0], sigma)
    assert -found * neighbour * a / KE == pytest.approx(madelung, rel=1e-10)


def test_a_charged_crystal_in_its_background_has_the_known_energy():
    """One component plasma: -0.895929 per q^2 over the radius of its share, on a body-centred lattice."""
    atoms = bulk("Na", "bcc", a=4.0)
    radius = (3 * atoms.get_volume() / (4 * np.pi)) ** (1 / 3)
    for sigma in (1.0, 3.0):
        assert (smooth(atoms, [1.0], sigma) + short(atoms, [1.0], sigma)) * radius / KE == pytest.approx(-0.895929255682, rel=1e-9)


def oblique(seed=0):
    rng = np.random.default_rng(seed)
    cell = np.array([[7.0, 0, 0], [1.5, 6.5, 0], [-1.0, 0.7, 8.0]])
    return Atoms("O8", rng.random((8, 3)) @ cell, cell=cell, pbc=True), np.concatenate([rng.normal(size=7), [0.0]])


def test_the_sum_does_not_hang_on_how_it_is_split():
    atoms, q = oblique()
    whole = [smooth(atoms, q, sigma) + short(atoms, q, sigma) for sigma in (1.5, 2.5, 4.0)]
    np.testing.assert_allclose(whole, whole[0], rtol=1e-10)  # a charged cell: the background's term is in it


def test_cut_off_pairs_come_to_the_same_energy_as_the_cutoff_grows():
    """The energy of pairs is shifted by k_e sum q^2 / 2R in a neutral cell, and comes down to the limit with it."""
    for seed in (1, 2):
        atoms, q = oblique(seed)
        q -= q.mean()
        limit, shift = smooth(atoms, q, 4.0), KE * (q**2).sum() / 2
        for R, closeness in ((30.0, 0.03), (60.0, 0.03)):
            g = graph_of(atoms, 1.0, R)
            cut = float(DampedCoulomb(4.0)(torch.tensor(q), far_pairs(g, torch.float64), g).sum())
            assert cut - limit == pytest.approx(shift / R, rel=closeness)


def test_a_larger_cell_and_a_moved_molecule_change_nothing():
    atoms, q = oblique()
    energy = smooth(atoms, q, 4.0)
    assert smooth(atoms * (2, 1, 2), np.tile(q, 4), 4.0) == pytest.approx(4 * energy, rel=1e-10)
    moved = atoms.copy()
    moved.positions += (3.0, 100.0, -7.0)
    moved.positions[2] += 5 * moved.cell[1]
    assert smooth(moved, q, 4.0) == pytest.approx(energy, rel=1e-10)


def test_chunks_add_up(monkeypatch):
    atoms, q = oblique()
    whole = smooth(atoms, q, 2.0)
    monkeypatch.setattr("potentials.layers.ewald.CHUNK", 50)
    assert smooth(atoms, q, 2.0) == pytest.approx(whole, rel=1e-13)


def test_in_a_whole_potential_forces_and_stress_are_slopes():
    p = small("so3krates", elements=(1, 8), cutoff=4.0, use_charge_embed=True, electrostatic_energy_bool=True, dispersion_energy_bool=True)
    p.long_range_cutoff, p.electrostatics = 8.0, DampedEwald(4.0)
    atoms = water()
    atoms.set_cell([[7.0, 0, 0], [1.0, 7.5, 0], [0.5, -0.5, 8.0]])
    atoms.pbc = True
    atoms.info["charge"] = 1

    def at(strain, moved):
        other = atoms.copy()
        other.positions += moved
        other.set_cell(other.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return float(p.outputs(graph_for(other, p)).energies.detach().sum())

    r = energy_forces_stress(p, graph_for(atoms, p), stress=True)
    rng, h = np.random.default_rng(0), 1e-4
    step, strain = rng.normal(size=(6, 3)), rng.normal(size=(3, 3))
    strain = strain + strain.T
    slope = (at(0, h * step) - at(0, -h * step)) / (2 * h)
    assert slope == pytest.approx(-float((r.forces.numpy() * step).sum()), rel=1e-5)
    slope = (at(h * strain, 0) - at(-h * strain, 0)) / (2 * h) / atoms.get_volume()
    assert slope == pytest.approx(float((r.stress[0].numpy() * strain).sum()), rel=1e-5)
    graph = graph_for(atoms, p)
    together = energy_forces_stress(p, batch([graph, copy.copy(graph)]))
    np.testing.assert_allclose(together.energy, 2 * [float(r.energy)], rtol=1e-11)


def test_a_structure_without_a_cell_is_refused():
    with pytest.raises(ValueError, match="periodic along all three vectors"):
        DampedEwald(4.0)(torch.zeros(6, dtype=torch.float64), None, graph_of(water(), 3.0))


def test_forces_written_out_are_minus_the_gradient():
    atoms, q = oblique()
    positions, q, cell = torch.tensor(atoms.positions, requires_grad=True), torch.tensor(q), torch.tensor(atoms.cell.array)
    ewald = DampedEwald(1.5)
    (gradient,) = torch.autograd.grad(ewald.energies(q, positions, cell).sum(), positions)
    assert torch.allclose(ewald.forces(q, positions.detach(), cell), -gradient, rtol=0, atol=1e-12)
