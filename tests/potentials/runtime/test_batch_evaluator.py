"""Many structures at once are what they are one by one, wherever they have moved in between."""
import numpy as np
import pytest

from potentials.runtime.batch_evaluator import BatchEvaluator, Item
from potentials.runtime.evaluator import Evaluator, System
from samples import argon, small, water

LONG_RANGE = dict(electrostatic_energy_bool=True, dispersion_energy_bool=True, use_charge_embed=True)


def items_of(structures):
    return [Item(k, System(a.numbers, a.pbc, float(a.info.get("charge", 0))), a.positions, np.array(a.cell)) for k, a in structures.items()]


def assert_as_one_by_one(potential, evaluator, structures):
    items = items_of(structures)
    energies, forces = evaluator(items)
    assert energies.shape == (len(items),) and len(forces) == len(items)
    for k, item in enumerate(items):
        r = Evaluator(potential)(item.system, item.positions, item.cell)
        assert energies[k] == pytest.approx(float(r.energy), abs=1e-10)
        np.testing.assert_allclose(forces[k], r.forces.numpy(), atol=1e-10)


@pytest.mark.parametrize("options", [{}, LONG_RANGE], ids=["short", "long range"])
def test_a_batch_is_its_structures_one_by_one(options):
    potential = small("so3krates", **options)
    structures = {"a": water(0), "b": argon(0, n=1), "c": water(1)[:3], "d": argon(1, n=1, periodic=False), 5: argon(2, n=2)}
    if options:
        structures["c"].info["charge"] = 1
    for pairs in (1, 100, 10**6):
        assert_as_one_by_one(potential, BatchEvaluator(potential, batch_pairs=pairs), structures)


def test_structures_move_leave_and_come():
    """Lists of former positions, or of a structure that had the same name, are never used when they do not fit."""
    potential, rng = small("so3krates"), np.random.default_rng(0)
    evaluator = BatchEvaluator(potential, skin=0.3)
    structures = {0: water(0), 1: argon(0, n=1), 2: water(2)}
    for step in range(8):
        for atoms in structures.values():
            atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        if step == 3:
            del structures[0]
        if step == 5:
            structures[0], structures[1] = argon(3, n=1), water(5)
        assert_as_one_by_one(potential, evaluator, structures)
    evaluator.forget(0)
    assert_as_one_by_one(potential, evaluator, structures)


def test_lists_are_kept_while_they_hold(monkeypatch):
    import potentials.runtime.batch_evaluator as module

    searches, search = [], module.pairs
    monkeypatch.setattr(module, "pairs", lambda *args: searches.append(1) or search(*args))
    potential, atoms = small("lennard-jones"), argon(0, n=2)
    evaluator = BatchEvaluator(potential, skin=0.5)
    for _ in range(10):
        atoms.positions += 0.005
        evaluator(items_of({0: atoms}))
    assert len(searches) == 1 and evaluator.evaluations == 10


def test_no_structures_are_no_work():
    energies, forces = BatchEvaluator(small("lennard-jones"))([])
    assert energies.shape == (0,) and forces == []
