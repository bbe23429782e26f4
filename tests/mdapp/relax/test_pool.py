"""Structures that relax together end where each would by itself; none waits for, or suffers from, another."""
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms, FixBondLength
from ase.optimize import FIRE, LBFGS
from pairs import Argon, Springs

from mdapp.relax import BatchOptions, RelaxationPool, relax_batch
from potentials.calculator import batch_evaluator

TIGHT = 1e-4  # eV/Å: positions are then known to better than 1e-5 Å in stiff directions and 1e-4 in the soft ones of these systems


def clusters():
    """Six Lennard-Jones clusters of 7 to 13 atoms near a minimum, in eV and with sigma of 2.5 Å."""
    whole = Icosahedron("Ar", 2, latticeconstant=2.8 * np.sqrt(2))
    made = []
    for seed in range(6):
        atoms = whole[: 13 - seed]
        atoms.rattle(0.1, seed=seed)
        made.append(atoms)
    return made


def molecules():
    made = []
    for seed, name in enumerate(Springs.NAMES):
        atoms = molecule(name)
        atoms.rattle(0.08, seed=seed)
        made.append(atoms)
    return made


def distance(a, b):
    """Largest distance of an atom after superposition, Å."""
    x, y = (p - p.mean(axis=0) for p in (a.positions, b.positions))
    u, _, vt = np.linalg.svd(x.T @ y)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return np.linalg.norm(x @ turn - y, axis=1).max()


@pytest.mark.parametrize("optimiser, theirs", [("fire", FIRE), ("lbfgs", LBFGS), ("internal", LBFGS)])
@pytest.mark.parametrize("structures, calculator", [(clusters, Argon), (molecules, Springs)], ids=["argon", "molecules"])
def test_minima_are_those_of_ase(optimiser, theirs, structures, calculator):
    fmax = 10 * TIGHT if optimiser == "fire" else TIGHT  # fire is there step for step
    found = dict(relax_batch(structures(), batch_evaluator(calculator()), BatchOptions(optimiser, fmax=fmax, steps=3000), in_flight=4))
    assert len(found) == 6
    for k, alone in enumerate(structures()):
        alone.calc = calculator()
        search = theirs(alone, logfile=None)
        assert search.run(fmax=fmax, steps=3000)
        end = found[k]
        assert end.converged and end.fmax <= fmax and end.reason == "converged"
        assert end.energy == pytest.approx(alone.get_potential_energy(), abs=1e-6)
        assert distance(end.atoms, alone) < 1e-4
        if optimiser == "fire":
            assert end.n_steps == search.nsteps  # step for step


def test_fire_takes_the_steps_of_ase():
    alone = clusters()[1]
    pool, evaluate = RelaxationPool("fire", fmax=1e-6, steps=60), batch_evaluator(Argon())
    for k, atoms in enumerate(clusters()):
        pool.add(k, atoms)
    alone.calc = Argon()
    for _ in FIRE(alone, logfile=None).irun(fmax=1e-6, steps=50):
        items = pool.requests()
        np.testing.assert_allclose(items[1].positions, alone.positions, atol=1e-9)
        pool.accept(*evaluate(items))


@pytest.mark.parametrize("optimiser", ["internal", "lbfgs", "fire"])
def test_a_structure_takes_the_same_way_in_any_company(optimiser):
    options, evaluate = BatchOptions(optimiser, fmax=0.01), batch_evaluator(Springs())
    together = dict(relax_batch(molecules(), evaluate, options))
    for in_flight in (1, 2):
        for k, end in relax_batch(molecules(), evaluate, options, in_flight=in_flight):
            assert end.n_steps == together[k].n_steps
            np.testing.assert_allclose(end.atoms.positions, together[k].atoms.positions, atol=1e-7)


def test_no_more_are_read_ahead_than_are_in_flight():
    read = []

    def source():
        for k, atoms in enumerate(molecules()):
            read.append(k)
            yield atoms

    given = 0
    for _ in relax_batch(source(), batch_evaluator(Springs()), BatchOptions(fmax=0.05), in_flight=2):
        given += 1
        assert len(read) <= given + 2
    assert given == 6


def test_the_criterion_and_the_steps_are_those_of_one():
    evaluate = batch_evaluator(Springs())
    for k, end in relax_batch(molecules(), evaluate, BatchOptions(fmax=1e-9, steps=3)):
        assert not end.converged and end.n_steps == 3 and "3 steps" in end.reason
    evaluations = evaluate.evaluations
    for k, end in relax_batch(molecules(), evaluate, BatchOptions(steps=0)):
        assert end.n_steps == 0 and np.array_equal(end.atoms.positions, molecules()[k].positions)
    assert evaluate.evaluations == evaluations + 6


def test_a_result_stands_alone_and_the_start_is_left_as_it_was():
    starts = molecules()
    starts[0].info["name"] = "methanol"
    starts[0].set_velocities(np.ones((6, 3)))
    found = dict(relax_batch(starts, batch_evaluator(Springs())))
    assert np.array_equal(starts[0].positions, molecules()[0].positions) and "momenta" in starts[0].arrays
    end = found[0]
    assert end.atoms.info["name"] == "methanol" and "momenta" not in end.atoms.arrays
    assert end.atoms.get_potential_energy() == end.energy
    assert np.linalg.norm(end.atoms.get_forces(), axis=1).max() == pytest.approx(end.fmax)


def test_fixed_atoms_do_not_move_and_do_not_count():
    for optimiser in ("internal", "lbfgs", "fire"):
        atoms = molecules()[1]
        atoms.set_constraint(FixAtoms([0, 2, 3]))
        ((_, end),) = relax_batch([atoms], batch_evaluator(Springs()), BatchOptions(optimiser, fmax=1e-3))
        assert end.converged and np.array_equal(end.atoms.positions[[0, 2, 3]], atoms.positions[[0, 2, 3]])
        assert np.abs(end.atoms.get_forces(apply_constraint=False)[[0, 2, 3]]).max() > 1e-3


def test_crystals_relax_with_their_cell_as_it_is():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    ((_, end),) = relax_batch([atoms], batch_evaluator(EMT()), BatchOptions(fmax=1e-3))
    assert end.converged and np.array_equal(end.atoms.cell.array, atoms.cell.array)
    perfect = bulk("Cu", cubic=True)
    perfect.calc = EMT()
    assert end.energy == pytest.approx(perfect.get_potential_energy(), abs=1e-6)


class Sick:
    """Springs that fail on structures with a nitrogen, and give NaN for propane from its third evaluation on."""

    def __init__(self):
        self.inner, self.seen = batch_evaluator(Springs()), 0

    def __call__(self, items):
        if any((item.system.numbers == 7).any() for item in items):
            raise RuntimeError("nitrogen is not for me")
        energies, forces = self.inner(items)
        for k, item in enumerate(items):
            if len(item.system.numbers) == 11:
                self.seen += 1
                if self.seen > 2:
                    energies[k] = np.nan
        return energies, forces


@pytest.mark.parametrize("optimiser", ["internal", "lbfgs", "fire"])
def test_a_bad_structure_does_not_cost_the_others(optimiser):
    options = BatchOptions(optimiser, fmax=0.01)
    healthy = dict(relax_batch(molecules(), batch_evaluator(Springs()), options))
    found = dict(relax_batch(molecules(), Sick(), options))
    assert sorted(found) == list(range(6))
    for k in (0, 1, 2, 3):
        assert found[k].converged and found[k].energy == pytest.approx(healthy[k].energy, abs=1e-9)
    assert not found[5].converged and "nitrogen is not for me" in found[5].reason and found[5].atoms.calc is None
    assert not found[4].converged and "not finite" in found[4].reason
    assert np.isfinite(found[4].energy) and np.isfinite(found[4].atoms.positions).all()


def test_running_out_of_memory_is_no_structures_fault():
    def evaluate(items):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(relax_batch(molecules(), evaluate))


def test_a_step_over_the_brink_is_taken_back():
    """A potential that knows no number beyond a wall: the steps shorten until they stay on this side."""

    def evaluate(items):
        x = np.array([item.positions[0, 0] for item in items])
        e = np.where(x < 1.05, (x - 1) ** 2 * np.where(x > 1, 400, 1), np.nan)
        f = np.where(x < 1.05, -2 * (x - 1) * np.where(x > 1, 400, 1), np.nan)
        return e, [np.array([[g, 0, 0]]) for g in f]

    options = BatchOptions(fmax=1e-4, max_step=0.5, steps=2000)
    ((_, end),) = relax_batch([Atoms("Ar", [[0.95 - 0.4, 0, 0]])], evaluate, options)
    assert end.converged and end.atoms.positions[0, 0] == pytest.approx(1, abs=1e-4)


def test_the_energy_never_rises_much_on_the_way():
    pool, evaluate = RelaxationPool(fmax=1e-3), batch_evaluator(Argon())
    rng = np.random.default_rng(4)
    pool.add(0, Atoms("Ar8", 6 * rng.random((8, 3))))
    kept = np.inf
    while pool:
        items = pool.requests()
        energies, forces = evaluate(items)
        pool.accept(energies, forces)
        if pool and pool._search.retreats[0] == 0:
            assert pool._search.origin_energy[0] <= kept + 0.01
            kept = pool._search.origin_energy[0]


def test_a_structure_can_be_taken_out_and_others_come_in():
    pool, evaluate = RelaxationPool(fmax=1e-3), batch_evaluator(Springs())
    pool.add("a", molecules()[0])
    pool.accept(*evaluate(pool.requests()))
    pool.add("b", molecules()[1])
    with pytest.raises(ValueError, match="relaxing already"):
        pool.add("b", molecules()[1])
    assert pool.keys() == ["a", "b"] and len(pool) == 2 and "b" in pool
    assert [item.key for item in pool.requests()] == ["a", "b"]
    pool.accept(*evaluate(pool.requests()))
    out = pool.drop("a", "guard")
    assert out.relaxed.reason == "guard" and not out.relaxed.converged and out.evaluations == 2 and np.isfinite(out.relaxed.energy)
    assert pool.drop("a", "again") is None
    ends = []
    while pool:
        ends += pool.accept(*evaluate(pool.requests()))
    assert [end.key for end in ends] == ["b"] and ends[0].relaxed.converged
    assert pool.evaluations == 1 + 2 + ends[0].evaluations - 1


def test_should_stop_ends_all_with_what_they_reached():
    rounds = []
    found = dict(relax_batch(molecules(), batch_evaluator(Springs()), BatchOptions(fmax=1e-9), 3, rounds.append, lambda: len(rounds) == 2))
    assert sorted(found) == [0, 1, 2] and all(end.reason == "stopped from outside" and end.n_steps == 2 for end in found.values())


@pytest.mark.parametrize("given, message", [
    (dict(optimiser="newton"), "known: internal, lbfgs, fire"), (dict(fmax=0.0), "fmax must be > 0"), (dict(max_step=float("nan")), "max_step must be > 0"),
    (dict(steps=-1), "steps must be"),
])
def test_wrong_questions_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        RelaxationPool(**given)


def test_what_cannot_be_held_together_is_refused():
    atoms = molecule("C2H6")
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ValueError, match="FixBondLength"):
        RelaxationPool().add(0, atoms)
    with pytest.raises(ValueError, match="without atoms"):
        RelaxationPool().add(0, Atoms())
    pool = RelaxationPool()
    pool.add(0, molecule("H2O"))
    pool.requests()
    with pytest.raises(ValueError, match="0 energies"):
        pool.accept(np.zeros(0), [])
