"""The studies of how long potentials hold, in a short mode: survival, what is left to do, and the chemist who sees every step."""
import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.cluster import Icosahedron

from mdapp.frame import Frame

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)


def test_survival_is_the_published_one():
    """6-mercaptopurine group of Freireich et al. (1963), 21 patients, as in Cox and Oakes, Analysis of Survival Data (1984), table 1.1 and sec. 4.2."""
    from stability_study import kaplan_meier

    times = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], float)
    failed = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], bool)
    t, share, low, high = kaplan_meier(times, failed)
    found = {float(time): float(s) for time, s in zip(t, share)}
    for time, s in {0: 1.0, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}.items():
        assert found[time] == pytest.approx(s, abs=5e-4)
    assert np.all((low <= share) & (share <= high)) and low[-1] == pytest.approx(0.188, abs=2e-3) and high[-1] == pytest.approx(0.680, abs=2e-3)


@pytest.mark.parametrize("failed", [[False] * 4, [True] * 4], ids=["none fails", "all fail"])
def test_survival_at_its_ends(failed):
    from stability_study import kaplan_meier

    t, share, low, high = kaplan_meier(np.array([1.0, 2.0, 3.0, 3.0]), np.array(failed))
    assert share[-1] == (0.0 if failed[0] else 1.0) and np.isfinite([low, high]).all() and np.all((low <= share) & (share <= high))


def study(monkeypatch, *words):
    import stability_study

    monkeypatch.setattr(sys, "argv", ["stability_study.py", *words])
    stability_study.main()
    with open("study/survival.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_goes_on_where_it_was_and_leaves_out_what_the_potential_does_not_know(monkeypatch, capsys):
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    molecule("H2O").write("water.xyz")
    words = ("lj", "--structures", "ar.xyz", "water.xyz", "--temperatures", "20", "400", "--timestep", "4", "--output", "study")
    rows = study(monkeypatch, *words, "--time", "400fs")
    assert "water.xyz-20K-1: left out." in capsys.readouterr().out and [r["structure"] for r in rows] == ["ar.xyz", "ar.xyz"]
    assert (rows[0]["failed"], float(rows[0]["time_ps"])) == ("0", 0.4) and Path("study/survival.png").stat().st_size > 10_000
    stamp = Path("study/lj/ar.xyz-20K-1/trajectory.h5").stat().st_mtime_ns
    assert study(monkeypatch, *words, "--time", "400fs") == rows and Path("study/lj/ar.xyz-20K-1/trajectory.h5").stat().st_mtime_ns == stamp
    longer = study(monkeypatch, *words, "--time", "1ps", "--most", "9.1")  # 13 atoms: 0.7 ps
    assert float(longer[0]["time_ps"]) == pytest.approx(0.7) and Path("study/lj/ar.xyz-20K-1/trajectory.h5").stat().st_mtime_ns > stamp


def test_runs_take_turns_and_a_study_that_is_cut_knows_of_every_structure(monkeypatch, capsys):
    """By a clock of the test: the second run fails in its second turn; the time is up before the third, and the next call goes on."""
    import stability_study
    from stability_study import Study, Trial

    clock, done = [0.0], {}
    monkeypatch.setattr(stability_study, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def turn(trial, folder, length_fs, wall_time, **options):
        clock[0] += wall_time
        done[trial] = done.get(trial, 0.0) + 0.1 * wall_time
        failure = {"time_ps": done[trial], "monitor": "bond-graph", "reason": "broken", "atoms": []} if trial.structure.name == "b.xyz" and done[trial] > 15 else None
        ended = failure is not None or done[trial] >= length_fs / 1000
        summary = {"n_atoms": 3, "charge": 0, "time_ps": done[trial], "failure": failure, "warnings": {}, "verdict": "sound", "potential_sha256": "0" * 64, "session_steps": 5,
                   "exit_code": 4 if failure else 0 if ended else 3, "why": "interrupted by the wall-time limit"}  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "run.toml").write_text("[run]\ntimestep = 0.5\n")
        return summary

    monkeypatch.setattr(stability_study, "one", turn)
    trials = {Trial("lj", Path(name), 300.0, 1): 50_000.0 for name in ("a.xyz", "b.xyz", "c.xyz")}

    def call(until):
        study = Study(Path("study"), {}, 100.0, clock[0] + until)
        study.all_turns(trials)
        with open("study/survival.csv", newline="") as file:
            assert len(list(csv.DictReader(file))) == len(study.rows)
        return {trial.structure.name: (round(row["time_ps"]), row["failed"]) for trial, row in study.rows.items()}

    Path("study").mkdir()
    assert call(650.0) == {"a.xyz": (25, 0), "b.xyz": (20, 1), "c.xyz": (20, 0)} and "2 of 3 runs are not at their end" in capsys.readouterr().out
    assert call(100.0) == {"a.xyz": (35, 0), "b.xyz": (20, 1), "c.xyz": (20, 0)}, "what earlier calls found stays in the table"
    capsys.readouterr()
    assert call(1e9) == {"a.xyz": (55, 0), "b.xyz": (30, 1), "c.xyz": (50, 0)} and "not at their end" not in capsys.readouterr().out


def test_a_turn_ends_by_the_clock_and_the_next_goes_on():
    """However slow the machine: a turn that was too short to begin in is longer the next time."""
    from stability_study import Study, Trial

    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    Path("study").mkdir()
    study, trial = Study(Path("study"), {"timestep": 4.0, "every": 10, "device": "cpu", "threads": 1}, 0.3), Trial("lj", Path("ar.xyz"), 20.0, 1)
    times = []
    while len(times) < 2:
        assert not study.turn(trial, 1e9)
        if trial in study.rows and study.rows[trial]["time_ps"] > (times[-1] if times else 0.0):  # the first may end before its first step
            times.append(study.rows[trial]["time_ps"])
    assert 0 < times[0] < times[1]


def test_results_keep_other_runs_and_replace_the_same_one_and_older_weights(monkeypatch):
    import _bench
    import stability_study

    monkeypatch.setattr(_bench, "RESULTS", Path("results").resolve())
    row = {"potential": "one", "structure": "a.xyz", "atoms": 3, "charge": 0, "temperature_K": 300.0, "seed": 1, "timestep_fs": 0.5, "hydrogens_amu": "", "time_ps": 2.0,
           "failed": 0, "verdict": "sound", "weights_sha256": "aa"}  # fmt: skip

    def kept(*rows):
        stability_study.keep(list(rows), 1, "cpu")
        with open("results/survival.csv", newline="") as file:
            return [(r["potential"], r["structure"], float(r["timestep_fs"]), float(r["time_ps"])) for r in csv.DictReader(file)]

    kept(row, {**row, "structure": "b.xyz"})
    kept({**row, "potential": "two", "failed": 1, "weights_sha256": "bb"})
    found = kept({**row, "time_ps": 7.0}, {**row, "timestep_fs": 2.0, "hydrogens_amu": 3.0, "time_ps": 9.0})
    assert found == [("one", "b.xyz", 0.5, 2.0), ("two", "a.xyz", 0.5, 2.0), ("one", "a.xyz", 0.5, 7.0), ("one", "a.xyz", 2.0, 9.0)]
    assert kept({**row, "weights_sha256": "cc"}) == [("two", "a.xyz", 0.5, 2.0), ("one", "a.xyz", 0.5, 2.0)], "of older weights nothing stays"
    assert Path("results/survival.png").exists()


def test_a_charge_for_a_structure_that_is_not_there_is_refused(monkeypatch):
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    with pytest.raises(SystemExit, match="--charge argon: no such structure"):
        study(monkeypatch, "lj", "--structures", "ar.xyz", "--charge", "argon=1", "--output", "study")


def ethanol(k: int, positions: np.ndarray | None = None) -> Frame:
    atoms = molecule("CH3CH2OH")
    zero = np.zeros((len(atoms), 3))
    return Frame(k, 0.5 * k, atoms.numbers, atoms.get_masses(), atoms.positions if positions is None else positions, zero, zero, np.zeros((3, 3)), np.zeros(3, bool),
                 0.0, 0.0, 0.0, 0.0)


def film(change, steps=120):
    """Frames of ethanol; `change` moves positions (9, 3) at step k."""
    for k in range(steps):
        frame = ethanol(k)
        r = frame.positions.copy()
        change(r, k)
        yield replace(frame, positions=r)


def test_a_chemist_lets_a_hot_molecule_pass():
    from bad_potentials import chemist_step

    rng = np.random.default_rng(1)
    sigma = np.sqrt(units.kB * 1000.0 / 20.0)  # of atoms on springs of 20 eV/Å² at 1000 K: 0.066 Å
    assert chemist_step(film(lambda r, k: r.__iadd__(sigma * rng.standard_normal(r.shape)))) == (None, "")


def test_a_chemist_stops_at_the_first_step_of_the_trouble():
    from bad_potentials import chemist_step

    def stretch(r, k):  # O-H, 0.02 Å a step from step 20 on: no bond any more at 0.40 Å in step 40, off by 0.5 Å in step 46
        r[3] += max(k - 20, 0) * 0.02 * (r[3] - r[2]) / np.linalg.norm(r[3] - r[2])

    symbols = molecule("CH3CH2OH").get_chemical_symbols()
    assert (symbols[2], symbols[3]) == ("O", "H")
    assert chemist_step(film(stretch)) == (40, "other bonds")

    def fuse(r, k):
        if k == 60:
            r[4] = r[5] + (0.0, 0.0, 0.3)

    assert chemist_step(film(fuse))[0] == 60

    def flicker(r, k):  # for 5 fs a carbon seems bonded to a hydrogen that is not its own: that is nothing
        if 30 <= k < 40:
            r[0] += 0.3 * (r[1] - r[0]) / np.linalg.norm(r[1] - r[0])

    assert chemist_step(film(flicker)) == (None, "")


def test_what_is_made_bad_is_caught_and_shown(monkeypatch):
    """A potential with weights that are off by 45 % tears ethanol apart; the chemist sees it, and a guard sooner or within 20 fs."""
    import bad_potentials

    from potentials import load_potential

    Path("bad").mkdir()
    molecule("CH3CH2OH").write("ethanol.xyz")
    monkeypatch.setattr(sys, "argv", ["bad_potentials.py", "so3krates.pt", "--structures", "ethanol.xyz", "--perturb", "0.45", "--time", "30fs", "--output", "bad"])
    bad_potentials.main()
    with open("bad/guard_timing.csv", newline="") as file:
        sound, bad = csv.DictReader(file)
    assert (sound["chemist_step"], sound["warned_step"], sound["stopped_step"]) == ("", "", "")
    assert int(bad["chemist_step"]) > 0 and int(bad["warned_step"]) > 0 and bad["stopped_by"]
    assert float(bad["warned_after_chemist_fs"]) < 20, "10 fs that it must last, and 10 steps between two looks"
    first, second = (dict(load_potential(p).named_parameters()) for p in ("so3krates.pt", next(Path("bad").glob("*off by*.pt"))))
    assert first.keys() == second.keys() and sum(not np.array_equal(a.detach(), second[k].detach()) for k, a in first.items()) > 10
