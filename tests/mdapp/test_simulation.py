"""The loop: who is called when, what ends it, and what never reaches a sink."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.monitors import Verdict, monitors
from mdapp.observables import PER_BAR
from mdapp.simulation import AFTERMATH, Alarms, ASEStepper, simulate
from mdapp.topology.bonds import find_bonds
from toys import Bonded, Morse, argon, methanol

STRUCTURES = Path(__file__).parents[3] / "shared" / "structures"


def stepper_of(atoms=None, name="nve", timestep_fs=0.5, start_K=300.0, seed=1, **options):
    atoms = atoms or methanol()
    rng = np.random.default_rng(seed)
    atoms.set_momenta(draw_momenta(atoms, options.get("temperature_K", start_K), rng))
    return ASEStepper(atoms, ensembles.get(name)(**options), timestep_fs, rng)


@dataclass
class Says:
    """A watch that says what it is told, from a step on, and counts its looks."""

    level: str = "ok"
    since: int = 0
    monitor: str = "says"
    atoms: tuple = ()

    def __post_init__(self):
        self.seen = []

    def look(self, frame):
        self.seen.append(frame.step)
        return Verdict(self.level, self.monitor, f"{self.level} at {frame.step}", self.atoms) if frame.step >= self.since else Verdict()

    def state(self):
        return {"seen": np.array(self.seen)}

    def restore(self, state):
        self.seen = state["seen"].tolist()


class Poisoned(Morse):
    """Gives NaN, an enormous force or an error from a certain call on."""

    def __init__(self, atoms, how, after):
        super().__init__(atoms)
        self.how, self.after = how, after

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.calls > self.after:
            if self.how == "raise":
                raise RuntimeError("the potential failed")
            if self.how == "energy":
                self.results["energy"] = self.results["free_energy"] = float("nan")
            else:
                self.results["forces"][2] = {"nan": np.nan, "inf": np.inf, "huge": 1e6}[self.how]


def test_sinks_get_the_first_every_nth_and_the_last_frame():
    got = []
    outcome = simulate(stepper_of(), 25, sinks=[got.append], every=10)
    assert [f.step for f in got] == [0, 10, 20, 25]
    assert [f.time_fs for f in got] == [0.0, 5.0, 10.0, 12.5]
    assert (outcome.reason, outcome.step, outcome.last_sound.step, outcome.recorded) == ("finished", 25, 25, ())


def test_watches_look_every_ten_steps_and_at_what_is_written():
    watch = Says()
    simulate(stepper_of(), 45, [watch], [lambda frame: None], every=25, check_every=10)
    assert watch.seen == [0, 10, 20, 25, 30, 40, 45]


def test_frames_are_the_sinks_own():
    got = []
    simulate(stepper_of(), 20, sinks=[got.append], every=10)
    assert not np.allclose(got[0].positions, got[2].positions)
    for name in ("positions", "momenta", "forces", "cell"):
        assert not np.shares_memory(getattr(got[0], name), getattr(got[1], name))


def test_a_guard_stops_the_run_with_the_frames_before_it():
    got, told = [], []
    outcome = simulate(stepper_of(), 100, [Says("stop", since=50)], [got.append], every=20, on_event=lambda e, f: told.append((e, f)), record=7)
    assert (outcome.reason, outcome.step, outcome.last_sound.step) == ("guard", 50, 40)
    assert [f.step for f in outcome.recorded] == [44, 45, 46, 47, 48, 49, 50]  # full rate, up to the event
    assert [f.step for f in got] == [0, 20, 40]
    assert [(e.step, e.time_fs, e.verdict.level) for e in outcome.events] == [(50, 25.0, "stop")] and told[0][1].step == 50
    assert outcome.verdicts[0].reason == "stop at 50"


def test_recorded_frames_are_those_of_the_trajectory():
    whole = []
    simulate(stepper_of(), 50, sinks=[whole.append], every=1)
    outcome = simulate(stepper_of(), 100, [Says("stop", since=50)], record=10)
    for frame in outcome.recorded:
        same = whole[frame.step]
        np.testing.assert_allclose(frame.positions, same.positions, atol=1e-6)
        np.testing.assert_allclose(frame.momenta, same.momenta, rtol=1e-6)
        assert (frame.potential_energy, frame.time_fs) == (same.potential_energy, same.time_fs)
        assert frame.temperature_K == pytest.approx(same.temperature_K, rel=1e-6)


def test_warnings_are_told_once_in_a_while_and_counted_always():
    told = []
    outcome = simulate(stepper_of(), 200, [Says("warn", since=30)], on_event=lambda e, f: told.append(e.step), alarms=Alarms(100))
    assert told == [30, 130]
    assert outcome.reason == "finished" and outcome.warnings == {"says": 18}


def test_an_event_that_ends_nothing_is_recorded_with_what_follows():
    given = []
    simulate(stepper_of(), 200, [Says("warn", since=60)], on_recording=lambda event, frames: given.append((event.step, [f.step for f in frames])), record=100)
    assert given == [(60, list(range(60 + AFTERMATH - 99, 60 + AFTERMATH + 1)))]
    given.clear()
    simulate(stepper_of(), 70, [Says("warn", since=60)], on_recording=lambda event, frames: given.append((event.step, [f.step for f in frames])))
    assert given == [(60, list(range(71)))]


def test_what_was_said_before_a_restart_is_not_said_again():
    saved, told = [], []
    stepper = stepper_of()
    simulate(stepper, 50, [Says("warn")], on_event=lambda e, f: told.append(e.step), on_checkpoint=lambda state, watches: saved.append(watches))
    alarms = Alarms()
    alarms.restore(saved[-1]["alarms"])
    simulate(stepper, 100, [Says("warn")], on_event=lambda e, f: told.append(e.step), alarms=alarms)
    assert told == [0]


def test_marks_come_at_their_own_pace_and_see_what_the_guards_let_pass():
    marks = []
    simulate(stepper_of(), 100, [Says("stop", since=77)], mark_every=25, on_mark=lambda state, watches: marks.append(state["step"]))
    assert marks == [0, 25, 50, 75]


def test_a_refined_stepper_keeps_its_steps_and_times_and_follows_the_same_path_more_closely():
    coarse, fine, finest = (stepper_of(timestep_fs=dt) for dt in (1.0, 1.0, 0.5))
    fine.refine(2)
    for _ in range(20):
        coarse.step(), fine.step(), finest.step(), finest.step()
    assert (fine.step_number, fine.time_fs) == (20, 20.0) == (coarse.step_number, coarse.time_fs)
    np.testing.assert_allclose(fine.atoms.positions, finest.atoms.positions, atol=1e-12)
    assert not np.allclose(coarse.atoms.positions, fine.atoms.positions, atol=1e-6)


@pytest.mark.parametrize("name", ensembles.names())
def test_refining_and_coarsening_changes_no_bookkeeping(name):
    """The moment itself, its temperature and its conserved energy stay; a stepper restored in the middle goes on to the same bits."""
    options = {} if name == "nve" else {"temperature_K": 40.0}
    first, second = (stepper_of(argon(), name, 5.0, start_K=40.0, **options) for _ in range(2))
    for _ in range(5):
        first.step()
    before = first.frame()
    first.refine(4)
    after = first.frame()
    assert (before.conserved_energy, before.kinetic_energy, before.time_fs) == (after.conserved_energy, after.kinetic_energy, after.time_fs)
    for _ in range(3):
        first.step()
    second.restore(first.state())
    for stepper in (first, second):
        stepper.step()
        stepper.refine(1)
        stepper.step()
    assert np.array_equal(first.atoms.positions, second.atoms.positions) and first.frame().conserved_energy == second.frame().conserved_energy


def test_two_monitors_do_not_silence_each_other():
    outcome = simulate(stepper_of(), 50, [Says("warn", monitor="a"), Says("warn", monitor="b")])
    assert [(e.step, e.verdict.monitor) for e in outcome.events] == [(0, "a"), (0, "b")]


def test_told_to_go_on_a_guard_only_reports():
    outcome = simulate(stepper_of(), 50, [Says("stop", since=20)], stop_on_guard=False)
    assert outcome.reason == "finished" and [e.step for e in outcome.events] == [20]


@pytest.mark.parametrize("how", ["nan", "inf", "huge", "energy"])
@pytest.mark.parametrize("name, options", [("nve", {}), ("nvt-langevin", {"temperature_K": 300.0}), ("nvt-csvr", {"temperature_K": 300.0})])
@pytest.mark.parametrize("goes_on", [False, True])
def test_numbers_that_run_away_end_every_run_and_never_reach_a_sink(how, name, options, goes_on):
    """No guard was asked for, and even `stop_on_guard=False` does not help."""
    atoms = methanol()
    atoms.calc = Poisoned(atoms, how, after=33)
    got = []
    outcome = simulate(stepper_of(atoms, name, **options), 1000, [], [got.append], every=1, check_every=10, stop_on_guard=not goes_on)
    assert outcome.reason == "guard" and 30 < outcome.step < 45
    assert outcome.events[-1].verdict.level == "stop" and outcome.events[-1].verdict.monitor == "finite"
    if how != "energy":
        assert 2 in outcome.events[-1].verdict.atoms
    assert [f.step for f in got] == list(range(len(got))) and len(got) >= 30
    for frame in [*got, outcome.last_sound]:
        assert np.isfinite(frame.positions).all() and np.isfinite(frame.forces).all() and np.isfinite(frame.conserved_energy)


@pytest.mark.parametrize("name", ["npt-langevin", "npt-mtk"])
def test_a_box_that_runs_away_ends_the_run_in_words(name):
    stepper = stepper_of(argon(), name, 5.0, temperature_K=40.0, pressure_bar=1e9)
    outcome = simulate(stepper, 500, [monitors.get(m)().begin(stepper.frame(), np.zeros((0, 2), int)) for m in monitors.names()])
    assert outcome.reason == "guard"


def test_a_leap_is_named_with_its_atom():
    atoms = methanol()
    stepper = stepper_of(atoms)
    momenta = atoms.get_momenta()
    momenta[5] = [5.0 * 1.008 * 10.0, 0, 0]
    atoms.set_momenta(momenta)
    outcome = simulate(stepper, 10)
    assert outcome.reason == "guard" and outcome.events[-1].verdict.atoms == (5,) and "H5 moves" in outcome.events[-1].verdict.reason


def test_a_potential_that_fails_on_sound_numbers_is_not_taken_for_physics():
    atoms = methanol()
    atoms.calc = Poisoned(atoms, "raise", after=20)
    with pytest.raises(RuntimeError, match="the potential failed"):
        simulate(stepper_of(atoms), 100)


def test_asked_to_stop_it_stops_at_a_whole_step_and_saves():
    saved, got = [], []
    stepper = stepper_of()
    outcome = simulate(stepper, 100, [Says()], [got.append], every=10, checkpoint_every=20, should_stop=lambda: stepper.step_number == 33,
                       on_checkpoint=lambda state, watches: saved.append((state["step"], sorted(watches))))
    assert (outcome.reason, outcome.step) == ("stopped", 33)
    assert saved == [(k, ["alarms", "says"]) for k in (0, 20, 33)]
    assert [f.step for f in got] == [0, 10, 20, 30]  # step 33 is not due, and an uninterrupted run has no such frame


def test_checkpoints_come_after_the_frames_they_refer_to_and_none_after_a_guard():
    order = []
    simulate(stepper_of(), 100, [Says("stop", since=70)], [lambda f: order.append(("frame", f.step))], every=20, checkpoint_every=40,
             on_checkpoint=lambda state, watches: order.append(("state", state["step"])))
    assert order == [("frame", 0), ("state", 0), ("frame", 20), ("frame", 40), ("state", 40), ("frame", 60)]


def test_a_finished_run_is_saved_once_and_resuming_it_does_nothing():
    saved, got = [], []
    simulate(stepper_of(), 40, checkpoint_every=20, on_checkpoint=lambda state, watches: saved.append(state))
    assert [s["step"] for s in saved] == [0, 20, 40]
    atoms = methanol()
    again = ASEStepper(atoms, ensembles.get("nve")(), 0.5, np.random.default_rng(), state=saved[-1])
    outcome = simulate(again, 40, sinks=[got.append])
    assert (outcome.reason, outcome.step, got) == ("finished", 40, [])


def test_a_run_can_be_extended():
    saved, got, whole = [], [], []
    simulate(stepper_of(), 30, sinks=[got.append], every=10, on_checkpoint=lambda state, watches: saved.append(state))
    longer = ASEStepper(methanol(), ensembles.get("nve")(), 0.5, np.random.default_rng(), state=saved[-1])
    simulate(longer, 60, sinks=[got.append], every=10)
    simulate(stepper_of(), 60, sinks=[whole.append], every=10)
    assert [f.step for f in got] == [f.step for f in whole]
    np.testing.assert_array_equal(got[-1].positions, whole[-1].positions)


def test_watches_see_in_two_parts_what_they_see_in_one():
    whole, first, second = Says(), Says(), Says()
    simulate(stepper_of(), 80, [whole])
    saved = []
    stepper = stepper_of()
    simulate(stepper, 80, [first], should_stop=lambda: stepper.step_number == 40, on_checkpoint=lambda state, watches: saved.append((state, watches)))
    second.restore(saved[-1][1]["says"])
    simulate(ASEStepper(methanol(), ensembles.get("nve")(), 0.5, np.random.default_rng(), state=saved[-1][0]), 80, [second])
    assert second.seen == whole.seen


@pytest.mark.parametrize("options, said", [
    ({"every": 0}, "every must be at least 1, got 0"), ({"check_every": -1}, "check_every must be at least 1"),
    ({"checkpoint_every": 0}, "checkpoint_every must be at least 1, got 0"),
])
def test_senseless_periods_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        simulate(stepper_of(), 10, **options)


def test_fewer_steps_than_are_done_are_refused():
    stepper = stepper_of()
    simulate(stepper, 10)
    with pytest.raises(ValueError, match="steps is the total: 5 asked for, but 10 are done already"):
        simulate(stepper, 5)


def test_written_frames_of_a_box_carry_stress_and_pressure():
    got = []
    simulate(stepper_of(argon(), "nvt-csvr", 5.0, temperature_K=40.0), 10, sinks=[got.append], every=10)
    atoms = argon()
    atoms.positions, atoms.cell = got[1].positions, got[1].cell
    np.testing.assert_allclose(got[1].stress, atoms.get_stress(), atol=1e-15)
    atoms.set_momenta(got[1].momenta)
    expected = -np.trace(atoms.get_stress(voigt=False, include_ideal_gas=True)) / 3
    assert got[1].pressure == pytest.approx(expected, rel=1e-10) and abs(got[1].pressure / PER_BAR) > 1


def test_written_frames_carry_charges_and_the_dipole_of_the_whole():
    class Charged(Morse):
        def calculate(self, atoms=None, *args, **kwargs):
            super().calculate(atoms, *args, **kwargs)
            charges = np.linspace(-1.0, 1.0, len(atoms))
            self.results |= {"charges": charges, "dipole": charges @ atoms.positions}

    atoms = methanol()
    atoms.calc = Charged(atoms)
    stepper = stepper_of(atoms)
    stepper.step()
    assert not {"charges", "dipole"} & set(stepper.frame().extras)
    found = stepper.frame(full=True)
    np.testing.assert_allclose(found.extras["dipole"], found.extras["charges"] @ found.positions, rtol=1e-12)


def test_a_free_molecule_has_no_pressure():
    got = []
    simulate(stepper_of(), 1, sinks=[got.append])
    assert got[0].stress is None and got[0].pressure is None


def test_the_committee_is_asked_for_written_frames_only():
    asked, got = [], []
    atoms = methanol()
    rng = np.random.default_rng(1)
    stepper = ASEStepper(atoms, ensembles.get("nve")(), 0.5, rng, spread=lambda calc: asked.append(calc) or 0.25)
    simulate(stepper, 20, sinks=[got.append], every=10)
    assert [f.spread for f in got] == [0.25] * 3 and asked == [atoms.calc] * 3


# ---------------------------------------------------------------------------- a healthy, hot molecule


def hot(atoms, name, **options):
    """All guards with their defaults on 2 ps at 500 K; but those of peptide bonds, which turn freely in this toy without torsions."""
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    atoms.calc = Bonded(atoms, bonds)
    stepper = stepper_of(atoms, name, 0.5, start_K=500.0, seed=11, **options)
    watches = [monitors.get(m)().begin(stepper.frame(), bonds) for m in monitors.names() if m != "peptide-bond"]
    return simulate(stepper, 4000, watches)


@pytest.mark.parametrize("name, options", [("nve", {}), ("nvt-langevin", {"temperature_K": 500.0}), ("nvt-csvr", {"temperature_K": 500.0})])
def test_a_healthy_hot_molecule_raises_no_alarm(name, options):
    outcome = hot(molecule("CH3CONH2"), name, **options)
    assert outcome.reason == "finished" and outcome.events == (), [e.verdict.reason for e in outcome.events]


@pytest.mark.skipif(not STRUCTURES.is_dir(), reason="needs the structures beside the repository")
@pytest.mark.parametrize("file", ["alanine_dipeptide.xyz", pytest.param("ac_ala3_nhme.xyz", marks=pytest.mark.slow)])
def test_a_healthy_hot_peptide_raises_no_alarm(file):
    outcome = hot(read(STRUCTURES / file), "nvt-langevin", temperature_K=500.0)
    assert outcome.reason == "finished" and outcome.events == (), [e.verdict.reason for e in outcome.events]


@pytest.mark.parametrize("watches, cause", [
    ([("a", "stop", ()), ("b", "warn", (1,))], "a"),  # what only warns at the same look is not why
    ([("a", "warn", (1,)), ("b", "stop", ()), ("c", "stop", (2,)), ("d", "stop", (3,))], "c"),  # the first that names atoms
    ([("a", "stop", ()), ("b", "stop", ())], "a"),
    ([("a", "warn", (1,))], None)])  # fmt: skip
def test_the_cause_of_an_end_is_a_guard_that_stopped_it(watches, cause):
    outcome = simulate(stepper_of(), 40, [Says(level, 20, name, atoms) for name, level, atoms in watches])
    assert (outcome.cause.verdict.monitor if outcome.cause else None) == cause and outcome.reason == ("guard" if cause else "finished")
