"""A moving system: the kept list changes no number, whatever moves."""
import numpy as np
import pytest

from potentials.architectures.lennard_jones import Config, LennardJones
from potentials.derivatives import energy_forces_stress
from potentials.neighbours import graph_of
from potentials.runtime.evaluator import Evaluator, System
from samples import argon, small, water


def fresh(potential, atoms, stress=False):
    return energy_forces_stress(potential, graph_of(atoms, potential.cutoff), stress=stress)


def assert_same(one, other, stress=False):
    """The pairs are the same, in the same order: so are the bits."""
    assert one.energy.tolist() == other.energy.tolist()
    np.testing.assert_array_equal(one.forces.numpy(), other.forces.numpy())
    if stress:
        np.testing.assert_array_equal(one.stress.numpy(), other.stress.numpy())


@pytest.mark.parametrize("name", ["lennard-jones", "so3krates"])
def test_a_random_walk_of_a_molecule(name):
    potential, atoms, rng = small(name), water(0), np.random.default_rng(1)
    evaluator, system = Evaluator(potential, skin=0.6), System(atoms.numbers, atoms.pbc)
    for _ in range(40):
        atoms.positions += 0.04 * rng.normal(size=atoms.positions.shape) + 0.02
        assert_same(evaluator(system, atoms.positions, atoms.cell.array), fresh(potential, atoms))
    assert evaluator.calls == 40 and 1 < evaluator.searches < 20


def test_a_random_walk_of_atoms_and_cell():
    """As under a barostat: volume, shape and orientation of the cell change, atoms ride along and jitter; none is wrapped."""
    potential, atoms, rng = LennardJones(Config(cutoff=6.0, switch_on=5.0)), argon(1, n=2), np.random.default_rng(2)
    evaluator, system = Evaluator(potential, skin=0.8), System(atoms.numbers, atoms.pbc)
    for step in range(60):
        strain = 0.003 * rng.normal(size=(3, 3)) + (-0.004 if step < 30 else 0.006) * np.eye(3)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
        one = evaluator(system, atoms.positions, atoms.cell.array, stress=True)
        assert_same(one, fresh(potential, atoms, stress=True), stress=True)
    assert 2 < evaluator.searches < 50


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True)], ids=str)
def test_partly_periodic_cells(pbc):
    potential, rng = LennardJones(Config(cutoff=6.0, switch_on=5.0)), np.random.default_rng(3)
    atoms = argon(2, n=2)
    atoms.pbc = pbc
    evaluator, system = Evaluator(potential, skin=0.8), System(atoms.numbers, atoms.pbc)
    for _ in range(15):
        atoms.set_cell(atoms.cell.array * (1 + 0.002 * rng.normal()), scale_atoms=True)
        atoms.positions += 0.02 * rng.normal(size=atoms.positions.shape)
        assert_same(evaluator(system, atoms.positions, atoms.cell.array), fresh(potential, atoms))
    assert evaluator.searches < 15


def test_long_range_pairs_have_a_list_of_their_own():
    potential = small("so3krates", electrostatic_energy_bool=True, dispersion_energy_bool=True)
    rng = np.random.default_rng(4)
    for atoms in (water(1), argon(1, n=1)):
        evaluator, system = Evaluator(potential, skin=0.6), System(atoms.numbers, atoms.pbc)
        for _ in range(6):
            atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
            graph = graph_of(atoms, potential.cutoff, potential.far_cutoff(bool(atoms.pbc.any())))
            assert_same(evaluator(system, atoms.positions, atoms.cell.array), energy_forces_stress(potential, graph))


def test_what_was_searched_when_does_not_change_a_bit():
    """A resumed run searches anew where an uninterrupted one had a list: their numbers must be one."""
    potential, atoms, rng = small(), water(5), np.random.default_rng(6)
    system = System(atoms.numbers, atoms.pbc)
    early = Evaluator(potential, skin=1.0)
    early(system, atoms.positions, atoms.cell.array)
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    late = Evaluator(potential, skin=1.0)
    assert_same(early(system, atoms.positions, atoms.cell.array), late(system, atoms.positions, atoms.cell.array))
    assert early.searches == late.searches == 1


def test_another_system_starts_anew():
    potential = small("so3krates", use_charge_embed=True)
    atoms, evaluator = water(7), Evaluator(potential)
    first = evaluator(System(atoms.numbers, atoms.pbc), atoms.positions, atoms.cell.array)
    swapped = atoms.numbers[::-1].copy()
    other = evaluator(System(swapped, atoms.pbc), atoms.positions, atoms.cell.array)
    charged = evaluator(System(atoms.numbers, atoms.pbc, charge=1.0), atoms.positions, atoms.cell.array)
    again = evaluator(System(atoms.numbers, atoms.pbc), atoms.positions, atoms.cell.array)
    energies = [float(r.energy) for r in (first, other, charged, again)]
    assert len(set(energies)) == 3 and energies[0] == energies[3]


def test_a_fast_translation_costs_one_search_a_skin():
    """500 Å in steps of a third of the skin: a search about every second step, none lost."""
    potential, atoms = LennardJones(), argon(0, n=1, periodic=False)
    evaluator, system = Evaluator(potential, skin=0.6), System(atoms.numbers, atoms.pbc)
    start = float(fresh(potential, atoms).energy)
    for _ in range(10):
        atoms.positions += 50.0
        assert float(evaluator(system, atoms.positions, atoms.cell.array).energy) == pytest.approx(start, abs=1e-11)
    assert evaluator.searches == 10


def test_the_evaluator_freezes_what_it_evaluates():
    potential = small().train()
    Evaluator(potential)
    assert not potential.training and not any(p.requires_grad for p in potential.parameters())


def test_positions_that_are_no_numbers_are_refused_and_harm_no_later_call():
    potential, atoms = LennardJones(), argon(0, n=1)
    evaluator, system = Evaluator(potential), System(atoms.numbers, atoms.pbc)
    expected = float(evaluator(system, atoms.positions, atoms.cell.array).energy)
    broken = atoms.positions.copy()
    broken[1, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        evaluator(system, broken, atoms.cell.array)
    assert float(evaluator(system, atoms.positions, atoms.cell.array).energy) == expected
