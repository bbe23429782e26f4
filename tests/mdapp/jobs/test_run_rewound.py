"""After an alarm a run goes back, takes the stretch again in smaller steps, and leaves a folder as if nothing unsound had been there."""
import json
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import Icosahedron

from mdapp.config import ResumeConfig, RunConfig
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.jobs import _rewind
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.screen import Screen
from mdapp.simulation import ASEStepper
from mdapp.trajectory import load_checkpoint, read_events, read_frames
from mdapp.trajectory.thermo import read_thermo
from toys import argon, methanol

HOLED = {"structure": "ar.xyz", "potential": "ase:jobs.strangers:Holed", "temperature": 30.0, "timestep": 4.0, "every": 10, "friction": 5.0, "device": "cpu", "threads": 1}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    for name, steps in (("MARK_EVERY", 40), ("MARGIN", 20), ("SETTLED", 80)):  # a short run is to see all of it
        monkeypatch.setattr(_rewind, name, steps)
    monkeypatch.setattr("mdapp.jobs._session.MARK_EVERY", 40)


def settings(**changes):
    return RunConfig(**{**HOLED, "steps": 900, "seed": 3, "on_event": "rewind", "output": "a", **changes})


def same_run(a, b):
    first, second = list(read_frames(a)), list(read_frames(b))
    assert [f.step for f in first] == [f.step for f in second]
    for f, g in zip(first, second):
        assert all(np.array_equal(getattr(f, name), getattr(g, name)) for name in ("time_fs", "positions", "momenta", "conserved_energy")), f.step
    assert Path(a, "thermo.csv").read_bytes() == Path(b, "thermo.csv").read_bytes()
    x, y = (load_checkpoint(Path(p)).state for p in (a, b))
    assert all(np.array_equal(x["stepper"][k], y["stepper"][k]) for k in x["stepper"]) and x["rewinds"]["history"] == y["rewinds"]["history"]


def test_without_rewinds_the_run_would_end():
    result = run(settings(on_event="stop"))
    assert result.exit_code == 4 and 100 < result.summary["failure"]["step"] < 900


@pytest.mark.parametrize("ensemble", [{}, {"thermostat": "csvr", "seed": 4}], ids=["langevin", "csvr"])
def test_a_rewound_run_finishes_and_holds_no_unsound_frame(ensemble):
    result = run(settings(rewinds=30, **ensemble))
    assert (result.exit_code, result.verdict) == (0, "suspect") and "rewound" in result.summary["why"], result.summary["why"]
    history = result.summary["rewinds"]
    assert history and all(e["to_step"] <= max(0, e["step"] - 20) and e["substeps"] >= 2 and e["monitor"] for e in history)
    frames = list(read_frames("a"))
    assert [f.step for f in frames] == list(range(0, 901, 10)) and [f.time_fs for f in frames] == [4.0 * s for s in range(0, 901, 10)]
    assert read_thermo(Path("a/thermo.csv"))["step"].tolist() == [f.step for f in frames]
    pairs = np.triu_indices(13, 1)
    for f in frames:
        assert np.linalg.norm(f.positions[pairs[0]] - f.positions[pairs[1]], axis=1).min() > 3.499 and f.temperature_K < 300
    conserved = np.array([f.conserved_energy for f in frames])
    assert np.ptp(conserved) < 0.02, "what the integrator lost at the hole must not be in the books"
    kinds = [e["kind"] for e in read_events(Path("a"))]
    assert kinds.count("rewind") == kinds.count("guard") == len(history)
    assert len(list(Path("a").glob("event-*.extxyz"))) == len(history)
    assert json.loads(Path("a/summary.json").read_text())["rewinds"] == history


def test_the_step_is_smaller_after_a_rewind_and_as_asked_once_it_is_sound_again():
    result = run(settings(rewinds=30))
    last = max(e["step"] for e in result.summary["rewinds"])
    state = load_checkpoint(Path("a")).state["stepper"]
    assert 300 < last < 500 and result.summary["rewinds"][0]["substeps"] == 2
    assert int(state["substeps"]) == 1 and float(state["timestep_fs"]) == 4.0


def test_a_step_that_is_too_long_is_halved_until_the_run_holds():
    """Without any noise: only the smaller step can help."""
    from mdapp.simulation import Alarms, simulate

    atoms, rng = methanol(), np.random.default_rng(1)
    atoms.set_momenta(draw_momenta(atoms, 300.0, rng))
    stepper, alarms = ASEStepper(atoms, ensembles.get("nve")(), 12.0, rng), Alarms()
    rewinder = _rewind.Rewinder(stepper, [], alarms, limit=10, seed=1)
    for _ in range(10):
        outcome = simulate(stepper, 400, mark_every=40, on_mark=lambda state, watches: rewinder.mark(state, watches, {}), alarms=alarms, record=0)
        if outcome.reason == "finished":
            break
        rewinder.back(outcome.events[-1])
    assert outcome.reason == "finished" and rewinder.history and stepper.time_fs == 4800.0


def test_new_noise_alone_leads_past_the_trouble_with_steps_as_they_were():
    result = run(settings(rewinds=30, rewind_by="noise"))
    assert result.exit_code == 0 and result.summary["rewinds"] and all(e["substeps"] == 1 for e in result.summary["rewinds"])
    assert "new noise" in next(e["message"] for e in read_events(Path("a")) if e["kind"] == "rewind")


def test_where_the_same_way_would_lead_to_the_same_alarm_the_run_ends_before_its_rewinds_are_used_up():
    """Without noise a hole stays where it is, however small the steps."""
    result = run(settings(rewinds=30, rewind_by="steps", ensemble="nve", temperature=90.0))
    history = result.summary["rewinds"]
    assert result.exit_code == 4 and 2 <= len(history) < 12 and history[-1]["to_step"] == history[-2]["to_step"]
    assert run(settings(rewinds=30, ensemble="nve", temperature=70.0, steps=300, output="b")).exit_code == 0, "other directions of the momenta lead past it"


@pytest.mark.parametrize("name", [name for name in ensembles.names() if getattr(ensembles.get(name), "deterministic", False)])
def test_turned_momenta_keep_the_conserved_energy(name):
    kind = ensembles.get(name)
    atoms = argon() if kind.needs_cell else methanol()
    rng = np.random.default_rng(1)
    atoms.set_momenta(draw_momenta(atoms, 60.0, rng))
    stepper = ASEStepper(atoms, kind(**({"temperature_K": 60.0} if "temperature_K" in kind.__dataclass_fields__ else {})), 0.5, rng)
    for _ in range(10):
        stepper.step()
    before, bits = stepper.frame(), stepper.rng.bit_generator.state
    stepper.turn_momenta()
    after = stepper.frame()
    assert after.conserved_energy == pytest.approx(before.conserved_energy, abs=1e-12) and stepper.rng.bit_generator.state != bits
    assert np.linalg.norm(after.momenta - before.momenta) > 0.5 * np.linalg.norm(before.momenta)
    np.testing.assert_allclose(after.momenta.sum(axis=0), 0, atol=1e-10)
    stepper.step()
    assert stepper.frame().conserved_energy == pytest.approx(before.conserved_energy, abs=1e-4)


def test_every_ensemble_without_random_numbers_says_so_and_no_other():
    for name in ensembles.names():
        kind = ensembles.get(name)
        atoms, rng = argon() if kind.needs_cell else methanol(), np.random.default_rng(1)
        atoms.set_momenta(draw_momenta(atoms, 60.0, np.random.default_rng(2)))
        before = rng.bit_generator.state
        stepper = ASEStepper(atoms, kind(**({"temperature_K": 60.0} if "temperature_K" in kind.__dataclass_fields__ else {})), 0.5, rng)
        for _ in range(3):
            stepper.step()
        assert (rng.bit_generator.state == before) == getattr(kind, "deterministic", False), name


def test_when_rewinds_are_used_up_the_guard_ends_the_run():
    result = run(settings(rewinds=1, temperature=60.0, steps=5000))
    assert result.exit_code == 4 and len(result.summary["rewinds"]) == 1 and "1 rewind did not help" in result.summary["why"]
    last = [f.step for f in read_frames("a")][-1]
    assert last <= result.summary["failure"]["step"]


@pytest.mark.parametrize("cuts", [pytest.param((130,), marks=pytest.mark.slow), pytest.param((333, 335), marks=pytest.mark.slow), (100, 250, 400, 401, 620)])
def test_a_rewound_run_that_is_interrupted_equals_one_that_was_not(cuts, monkeypatch):
    from mdapp.jobs import _session

    run(settings(rewinds=30))
    for k, cut in enumerate((*cuts, None)):
        reached = []

        def simulate(stepper, steps, *words, cut=cut, reached=reached, **options):
            asked = options["should_stop"]

            def stops():
                if stepper.step_number == cut and not reached:
                    reached.append(cut)
                    asked.reason = "the test"
                return asked()

            return plain(stepper, steps, *words, **{**options, "should_stop": stops})

        plain = _session.simulate
        with monkeypatch.context() as patch:
            patch.setattr(_session, "simulate", simulate)
            result = run(settings(rewinds=30, output="b")) if k == 0 else resume(ResumeConfig("b"))
        assert result.exit_code == (0 if cut is None else 3)
    same_run("a", "b")
    told = [[(e["step"], e["message"]) for e in read_events(Path(p)) if e["kind"] == "rewind"] for p in ("a", "b")]
    assert told[0] == told[1]


def test_killed_between_restart_state_and_cut_the_run_goes_on_from_the_mark(monkeypatch):
    """The restart state of the mark is on the disk before frames are taken back."""
    from mdapp.trajectory import TrajectoryWriter

    run(settings(rewinds=30))

    class Killed(BaseException):
        pass

    def dies(self, state):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(TrajectoryWriter, "rewind", dies)
        with pytest.raises(Killed):
            run(settings(rewinds=30, output="b"))
    assert resume(ResumeConfig("b")).exit_code == 0
    same_run("a", "b")


class Counting(Screen):
    """Keeps what the live line would show, of every look."""

    def __init__(self):
        super().__init__(quiet=True)
        self.seen = []

    def due(self, fraction=0.0):
        return True

    def progress(self, p):
        self.seen.append(p)


def test_the_speed_counts_steps_that_were_taken_back():
    """A step takes as long as it does, and no run is at its end before it is."""
    screen = Counting()
    result = run(settings(rewinds=30), screen)
    redone = sum(e["step"] - e["to_step"] for e in result.summary["rewinds"])
    assert redone > 200 and result.summary["session_steps"] == 900 + redone
    backs = [(a, b) for a, b in zip(screen.seen, screen.seen[1:]) if b.step < a.step]
    assert backs and all(b.drift_meV is None for _, b in backs)  # of a path that is no more
    assert max(p.ms_per_step for p in screen.seen[5:]) < 1000 * result.summary["session_seconds"] / 200


def test_the_report_counts_what_was_said_of_steps_that_stand_and_shows_all_of_it():
    from mdapp.jobs._sources import open_source

    result = run(settings(rewinds=1, temperature=60.0, steps=5000))
    source = open_source("a")
    events = read_events(Path("a"))
    assert [e["kind"] for e in events].count("guard") >= 2 and len(source.events) == len(events)
    assert source.warnings == result.summary["warnings"] and [e["kind"] for e in source.alarms].count("guard") == 1
