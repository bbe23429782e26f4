"""Internal coordinates say what the atoms do, and a search in them ends where others end, sooner."""
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from pairs import Argon, Springs

from mdapp.minima.dihedrals import rotors, turned
from mdapp.minima.molecule import Molecule
from mdapp.relax import BatchOptions, RelaxationPool, relax_batch
from mdapp.relax.internals import Frame, internals_of, moved
from mdapp.topology import find_bonds
from potentials.calculator import batch_evaluator

NAMES = ("CH3CH2OH", "CH3CONH2", "C6H6", "isobutane")


def coordinates(name):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    return atoms, internals(atoms)


def internals(atoms):
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return internals_of(np.asarray(atoms.numbers, dtype=np.int64).tobytes(), np.asarray(bonds, dtype=np.int64).tobytes())


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_is_the_derivative_and_spans_all_inner_moves(name):
    atoms, found = coordinates(name)
    x, h = atoms.positions[None], 1e-5
    jacobian = found.jacobian(x)[0]
    for k in range(x.size):
        d = np.zeros(x.size)
        d[k] = h
        there, back = (found.values(x + sign * d.reshape(x.shape)) for sign in (1, -1))
        np.testing.assert_allclose(found.difference(back, there)[0] / (2 * h), jacobian[:, k], atol=1e-8)  # central differences: h² and rounding / h
    assert np.linalg.matrix_rank(jacobian, tol=1e-6) == x.size - 6


@pytest.mark.parametrize("name", NAMES)
def test_atoms_go_where_coordinates_are_sent(name):
    atoms, found = coordinates(name)
    x = np.stack([atoms.positions, molecule(name).positions])
    wanted = x + 0.1 * np.random.default_rng(0).standard_normal(x.shape)
    frame = Frame.at(found, x, found.stiffness(x))
    change = found.difference(frame.values, found.values(wanted))
    there = moved(found, x, frame.values, frame.to_atoms, change)
    np.testing.assert_allclose(found.difference(found.values(wanted), found.values(there)), 0.0, atol=1e-4)


def test_a_torsion_turns_a_chain_and_stretches_nothing():
    atoms = molecule("trans-butane")
    found, x = internals(atoms), atoms.positions[None]
    frame = Frame.at(found, x, found.stiffness(x))
    carbons = np.array([all(atoms.numbers[k] == 6 for k in t) for t in found.torsions])
    middle = np.array([set(t[1:3]) == set(found.torsions[carbons][0][1:3]) for t in found.torsions])
    change = np.zeros((1, len(found)))
    change[0, -len(found.torsions) :][middle] = 0.5  # rad: the whole of one side
    there = moved(found, x, frame.values, frame.to_atoms, change)
    done = found.difference(frame.values, found.values(there))[0]
    stiff = len(found.stretches) + len(found.bends)
    np.testing.assert_allclose(done[stiff:][middle], 0.5, atol=1e-3)
    np.testing.assert_allclose(done[:stiff], 0.0, atol=1e-4)


def test_the_gradient_is_that_of_the_atoms():
    atoms, found = coordinates("CH3CONH2")
    x = atoms.positions[None]
    forces = np.random.default_rng(1).standard_normal(x.shape)
    frame = Frame.at(found, x, found.stiffness(x))
    rigid = Frame.at(found, x, found.stiffness(x)).to_atoms[0] @ found.jacobian(x)[0]  # projects onto inner moves
    back = -(found.jacobian(x)[0].T @ frame.gradient(forces)[0])
    np.testing.assert_allclose(back, rigid.T @ forces.ravel(), atol=1e-8)


def test_what_has_no_torsions_or_is_in_pieces_has_no_coordinates():
    assert internals(molecule("H2O")) is None
    two = molecule("CH3CH2OH")
    other = two.copy()
    other.translate([8, 0, 0])
    assert internals(two + other) is None
    assert internals(molecule("C2H2")) is None or internals(molecule("C2H2")).straight(molecule("C2H2").positions[None])[0]


def conformers():
    """Chains turned about their bonds."""
    chain, rng, made = molecule("trans-butane"), np.random.default_rng(3), []
    bonds = rotors(Molecule.of(chain), methyls=True)
    for _ in range(6):
        x = chain.positions
        for rotor in bonds:
            x = turned(x, rotor, rng.uniform(-0.6, 0.6))
        made.append(Atoms(chain.numbers, x))
    return made


class Chain:
    """Butane with harmonic stretches and bends, threefold torsions and soft repulsion, by differences of its energy."""

    def __init__(self):
        self.found, self.evaluations = internals(molecule("trans-butane")), 0
        self.rest = self.found.values(molecule("trans-butane").positions[None])[0]

    def energy(self, x):
        found, n = self.found, len(self.found.stretches) + len(self.found.bends)
        d = found.values(x) - self.rest
        stretches, bends = d[:, : len(found.stretches)], d[:, len(found.stretches) : n]
        return 15 * (stretches**2).sum(1) + 3 * (bends**2).sum(1) - 0.01 * np.cos(3 * found.values(x)[:, n:] + np.pi).sum(1)

    def __call__(self, items):
        self.evaluations += len(items)
        x, h = np.stack([item.positions for item in items]), 1e-5
        shape = x[0].shape
        steps = h * np.eye(x[0].size).reshape(-1, *shape)
        forces = [-(self.energy(one + steps) - self.energy(one - steps)).reshape(shape) / (2 * h) for one in x]
        return self.energy(x), forces


def test_chains_end_where_the_atoms_coordinates_lead_them_in_half_the_evaluations():
    used, ends = {}, {}
    for optimiser in ("internal", "lbfgs"):
        evaluate = Chain()
        ends[optimiser] = dict(relax_batch(conformers(), evaluate, BatchOptions(optimiser, fmax=1e-3)))
        assert all(end.converged and end.fmax <= 1e-3 for end in ends[optimiser].values())
        used[optimiser] = evaluate.evaluations
    assert used["internal"] < 0.6 * used["lbfgs"], used
    for k, end in ends["internal"].items():
        assert end.energy == pytest.approx(ends["lbfgs"][k].energy, abs=1e-5)  # the nearest minima, here


def test_molecules_clusters_crystals_and_held_atoms_relax_side_by_side():
    held = molecule("C3H8")
    held.rattle(0.05, seed=2)
    held.set_constraint(FixAtoms([0, 1]))
    made = [held, molecule("CH3CHO"), molecule("H2O")]
    for seed, atoms in enumerate(made[1:]):
        atoms.rattle(0.05, seed=seed)
    for k, end in relax_batch(made, batch_evaluator(Springs()), BatchOptions("internal", fmax=1e-3)):
        assert end.converged
        if k == 0:
            assert np.array_equal(end.atoms.positions[:2], held.positions[:2])
    whole = Icosahedron("Ar", 2, latticeconstant=2.8 * np.sqrt(2))
    whole.rattle(0.1, seed=1)
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=1)
    for atoms, calculator in ((whole, Argon()), (crystal, EMT())):
        one, other = (next(relax_batch([atoms], batch_evaluator(calculator), BatchOptions(name, fmax=1e-3)))[1] for name in ("internal", "lbfgs"))
        assert one.converged and np.array_equal(one.atoms.positions, other.atoms.positions)  # by the same code


def test_what_becomes_straight_goes_on_in_the_atoms_coordinates():
    pool = RelaxationPool("internal", fmax=1e-3)
    for key, name in enumerate(("C3H8", "CH3CHO", "C3H8")):
        pool.add(key, molecule(name))
    pool.requests()
    pool._search._give_up(1, molecule("CH3CHO").positions)
    evaluate = batch_evaluator(Springs())
    found = {}
    while pool:
        for end in pool.accept(*evaluate(pool.requests())):
            found[end.key] = end.relaxed
    assert sorted(found) == [0, 1, 2] and all(end.converged for end in found.values())
    assert found[0].energy == pytest.approx(found[2].energy, abs=1e-9)
