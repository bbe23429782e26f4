"""A cut and resumed run is the uninterrupted one, bit for bit, in every ensemble that is installed."""
import json

import numpy as np
import pytest
from ase.constraints import FixAtoms
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.dynamics._constraints import FixedBonds
from mdapp.dynamics._masses import repartitioned
from mdapp.schedule import Schedule
from mdapp.simulation import ASEStepper, simulate
from mdapp.topology import find_bonds
from toys import argon, methanol

LEGS = Schedule(60.0, ((200.0, 15.0), (20.0, 30.0)))  # fs: several changes within the runs below; ends after them for molecules, before for boxes
PLAIN = [(name, {}) for name in ensembles.names()]
CASES = list(PLAIN)
CASES += [(name, {"flexible": True}) for name in ("npt-langevin", "npt-mtk")]
CASES += [(name, {"cell_mask": "1,1,0", "flexible": flexible}) for name in ("npt-langevin", "npt-mtk") for flexible in (False, True)]
CASES += [(name, {"schedule": LEGS}) for name in ensembles.names() if name != "nve"]
CASES += [(name, {"held": held}) for name in ensembles.names() if not name.startswith("npt-") for held in ("bonds", "atoms", "both")]
CASES += [("nvt-langevin", {"schedule": LEGS, "held": "both", "heavy": True}), ("nve", {"heavy": True})]


def molecule_with(held="", heavy=False):
    """Methanol, with bonds or atoms held and heavier hydrogens."""
    atoms = methanol()
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if heavy:
        atoms.set_masses(repartitioned(atoms.numbers, atoms.get_masses(), bonds, 3.0))
    atoms.set_constraint([FixAtoms([1])] if held in ("atoms", "both") else [])
    if held in ("bonds", "both"):
        atoms.set_constraint([*atoms.constraints, FixedBonds(atoms, bonds[(atoms.numbers[bonds] == 1).any(axis=1)])])
    return atoms


def started(name, options, seed=3, state=None):
    cls, fields = ensembles.get(name), ensembles.get(name).__dataclass_fields__
    own = {"temperature_K": 60.0, **{k: v for k, v in options.items() if k in fields}}
    ensemble = cls(**{k: v for k, v in own.items() if k in fields})
    atoms = argon() if ensemble.needs_cell else molecule_with(options.get("held", ""), options.get("heavy", False))
    rng = np.random.default_rng(seed)
    if state is None:
        atoms.set_momenta(draw_momenta(atoms, 60.0, rng))
    return ASEStepper(atoms, ensemble, 5.0 if ensemble.needs_cell else 0.5, rng, state=state, schedule=options.get("schedule"))


def through_a_file(state):
    """What a restart file gives back: arrays, numbers and text, nothing else."""
    for name, value in state.items():
        assert isinstance(value, (np.ndarray, int, float, str)), f"{name} is a {type(value).__name__}"
    return {name: value.copy() if isinstance(value, np.ndarray) else json.loads(json.dumps(value)) for name, value in state.items()}


def assert_same(a, b):
    assert (a.step, a.time_fs) == (b.step, b.time_fs)
    for what in ("positions", "momenta", "forces", "cell"):
        np.testing.assert_array_equal(getattr(a, what), getattr(b, what), err_msg=what)
    for what in ("potential_energy", "kinetic_energy", "conserved_energy", "temperature_K"):
        assert getattr(a, what) == getattr(b, what), what


@pytest.mark.parametrize("name, options, cut", [(*case, 23) for case in CASES] + [(*case, cut) for case in PLAIN for cut in (0, 1)])
def test_resumed_run_equals_the_uninterrupted_one_to_the_bit(name, options, cut):
    whole, written = started(name, options), []
    simulate(whole, 60, sinks=[written.append], every=10)

    first, before = started(name, options), []
    states = []
    simulate(first, 60, sinks=[before.append], every=10, should_stop=lambda: first.step_number == cut,
             on_checkpoint=lambda state, watches: states.append(through_a_file(state)))
    second, after = started(name, options, seed=99, state=states[-1]), []
    assert second.step_number == cut
    simulate(second, 60, sinks=[after.append], every=10, resumed=True)

    assert_same(whole.frame(), second.frame())
    assert [f.step for f in before + after] == [f.step for f in written] == [0, 10, 20, 30, 40, 50, 60]
    for a, b in zip(written, before + after):
        assert_same(a, b)
    assert whole.state()["rng"] == second.state()["rng"]


@pytest.mark.parametrize("name, options", CASES)
def test_taking_a_state_does_not_disturb_the_run(name, options):
    quiet, saved = started(name, options), started(name, options)
    simulate(quiet, 24)
    simulate(saved, 24, checkpoint_every=7, on_checkpoint=lambda state, watches: None)
    assert_same(quiet.frame(), saved.frame())


@pytest.mark.parametrize("name, options", CASES)
def test_a_state_that_was_taken_does_not_change_with_the_run(name, options):
    stepper = started(name, options)
    simulate(stepper, 5)
    state = stepper.state()
    kept = through_a_file(state)
    simulate(stepper, 15)
    for key, value in kept.items():
        np.testing.assert_array_equal(state[key], value, err_msg=key)


@pytest.mark.parametrize("name, options", CASES)
def test_a_run_that_is_cut_twice_equals_the_uninterrupted_one(name, options):
    """At random moments, the second time after few steps or many; the states go through files."""
    whole = started(name, options)
    simulate(whole, 40)
    for cuts in ((7, 8), (3, 29)):
        state = None
        for cut in (*cuts, 40):
            part = started(name, options, seed=3 if state is None else 77, state=state)
            simulate(part, cut)
            state = through_a_file(part.state())
        assert_same(whole.frame(), part.frame())
        assert {k: v for k, v in through_a_file(whole.state()).items() if isinstance(v, str)} == {k: v for k, v in state.items() if isinstance(v, str)}


@pytest.mark.parametrize("name, options", CASES)
def test_a_run_that_is_cut_while_its_steps_are_halved_equals_the_uninterrupted_one(name, options):
    """As after a rewind: from step 10 to step 30 each step is made in two parts; the cuts come at its begin, within it, and after it."""
    def on(stepper, until):
        while stepper.step_number < until:
            if stepper.step_number in (10, 30):
                stepper.refine(2 if stepper.step_number == 10 else 1)
            stepper.step()
        return stepper

    whole = on(started(name, options), 40)
    for cuts in ((10, 30), (11, 23), (29, 31)):
        state = None
        for cut in (*cuts, 40):
            part = on(started(name, options, seed=3 if state is None else 77, state=state), cut)
            state = through_a_file(part.state())
            assert state["substeps"] == (2 if 10 < cut <= 30 else 1)
        assert_same(whole.frame(), part.frame())


def test_state_with_other_bonds_is_refused():
    state = started("nve", {"held": "bonds"}).state()
    with pytest.raises(ValueError, match="holds 4 bonds of fixed length, this run 0"):
        started("nve", {}, state=state)


def test_same_seed_same_run_other_seed_other_run():
    runs = [started("nvt-langevin", {}, seed=s) for s in (1, 1, 2)]
    for run in runs:
        simulate(run, 50)
    assert_same(runs[0].frame(), runs[1].frame())
    assert not np.allclose(runs[0].frame().positions, runs[2].frame().positions, atol=1e-3)


def test_another_time_step_goes_on_from_the_time_reached():
    first = started("nvt-langevin", {})
    simulate(first, 10)
    state = first.state()
    atoms = methanol()
    second = ASEStepper(atoms, ensembles.get("nvt-langevin")(temperature_K=60.0), 0.25, np.random.default_rng(), state=state)
    assert second.time_fs == 5.0
    simulate(second, 14)
    assert second.time_fs == 6.0


def test_state_of_another_molecule_is_refused():
    state = started("nve", {}).state()
    with pytest.raises(ValueError, match="holds 6 atoms, the structure 32"):
        ASEStepper(argon(), ensembles.get("nve")(), 1.0, np.random.default_rng(), state=state)
