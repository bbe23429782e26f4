"""A cut and resumed run is the uninterrupted one, bit for bit, in every ensemble that is installed."""
import json

import numpy as np
import pytest
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.simulation import ASEStepper, simulate
from toys import argon, methanol

CASES = [(name, {}) for name in ensembles.names()] + [("npt-langevin", {"flexible": True}), ("npt-mtk", {"flexible": True})]


def started(name, options, seed=3, state=None):
    cls = ensembles.get(name)
    ensemble = cls(**({"temperature_K": 60.0} | options)) if "temperature_K" in cls.__dataclass_fields__ else cls(**options)
    atoms, timestep_fs = (argon(), 5.0) if ensemble.needs_cell else (methanol(), 0.5)
    rng = np.random.default_rng(seed)
    if state is None:
        atoms.set_momenta(draw_momenta(atoms, 60.0, rng))
    return ASEStepper(atoms, ensemble, timestep_fs, rng, state=state)


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


@pytest.mark.parametrize("name, options", CASES)
@pytest.mark.parametrize("cut", [0, 1, 37])
def test_resumed_run_equals_the_uninterrupted_one_to_the_bit(name, options, cut):
    whole, written = started(name, options), []
    simulate(whole, 120, sinks=[written.append], every=20)

    first, before = started(name, options), []
    states = []
    simulate(first, 120, sinks=[before.append], every=20, should_stop=lambda: first.step_number == cut,
             on_checkpoint=lambda state, watches: states.append(through_a_file(state)))
    second, after = started(name, options, seed=99, state=states[-1]), []
    assert second.step_number == cut
    simulate(second, 120, sinks=[after.append], every=20, resumed=True)

    assert_same(whole.frame(), second.frame())
    assert [f.step for f in before + after] == [f.step for f in written] == [0, 20, 40, 60, 80, 100, 120]
    for a, b in zip(written, before + after):
        assert_same(a, b)
    assert whole.state()["rng"] == second.state()["rng"]


@pytest.mark.parametrize("name, options", CASES)
def test_taking_a_state_does_not_disturb_the_run(name, options):
    quiet, saved = started(name, options), started(name, options)
    simulate(quiet, 60)
    simulate(saved, 60, checkpoint_every=7, on_checkpoint=lambda state, watches: None)
    assert_same(quiet.frame(), saved.frame())


@pytest.mark.parametrize("name, options", CASES)
def test_a_state_that_was_taken_does_not_change_with_the_run(name, options):
    stepper = started(name, options)
    simulate(stepper, 5)
    state = stepper.state()
    kept = through_a_file(state)
    simulate(stepper, 25)
    for key, value in kept.items():
        np.testing.assert_array_equal(state[key], value, err_msg=key)


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
