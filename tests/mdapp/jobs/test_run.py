"""`mdapp run` from a file to a folder: what lies there, what is refused, what is left behind."""

import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.cluster import Icosahedron

from mdapp.cli import main
from mdapp.config import RunConfig
from mdapp.errors import Interrupted, StructureError
from mdapp.jobs import run as job
from mdapp.screen import Screen
from mdapp.trajectory import read_events, read_frames

QUICK = {"potential": "lj", "temperature": 20.0, "timestep": 4.0, "steps": 60, "every": 10, "seed": 3, "device": "cpu", "threads": 1}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    (bulk("Ar", "fcc", a=5.5, cubic=True) * (2, 2, 2)).write("box.extxyz")


def run(**changes):
    return job.run(RunConfig(**{"structure": "ar.xyz", **QUICK, **changes}))


def test_a_run_leaves_what_is_promised():
    result = run()
    assert (result.exit_code, result.verdict, str(result.folder)) == (0, "too short", "runs/ar-nvt-20K")
    names = {p.name for p in result.folder.iterdir()}
    assert names == {
        "run.toml",
        "input.extxyz",
        "topology.pdb",
        "trajectory.h5",
        "thermo.csv",
        "checkpoint.h5",
        "checkpoint.prev.h5",
        "final.extxyz",
        "summary.json",
        "run.log",
    }
    assert [f.step for f in read_frames(result.folder)] == [0, 10, 20, 30, 40, 50, 60]
    summary = json.loads((result.folder / "summary.json").read_text())
    assert (
        summary == json.loads(json.dumps(result.summary))
        and summary["failure"] is None
        and summary["steps"] == 60
        and summary["time_ps"] == pytest.approx(0.24)
    )
    written = tomllib.loads((result.folder / "run.toml").read_text())
    assert written["run"]["seed"] == 3 and len(written["provenance"]["structure_sha256"]) == 64 and "numpy" in written["provenance"]["versions"]


def test_mdtraj_opens_the_trajectory():
    import mdtraj

    t = mdtraj.load(str(run().trajectory))
    assert (t.n_frames, t.n_atoms) == (7, 13) and t.time[-1] == pytest.approx(0.24)


def test_the_seed_decides_the_trajectory_and_nothing_else_does():
    np.random.seed(1)
    first = run(output="a")
    np.random.seed(2)
    again, other = run(output="b"), run(output="c", seed=4)
    end = [list(read_frames(r.folder))[-1].positions for r in (first, again, other)]
    assert np.array_equal(end[0], end[1]) and not np.array_equal(end[0], end[2])


def test_first_velocities_do_not_depend_on_the_time_step():
    a, b = (next(read_frames(run(output=name, timestep=dt).folder)) for name, dt in (("a", 4.0), ("b", 2.0)))
    assert np.array_equal(a.momenta, b.momenta)


def test_run_toml_starts_the_same_run_again():
    first = run(output="a")
    assert main(["run", "--config", "a/run.toml", "--output", "b", "-q"]) == 0
    assert np.array_equal(list(read_frames(first.folder))[-1].positions, list(read_frames("b"))[-1].positions)


def test_default_names_never_meet_and_a_folder_with_a_run_is_refused():
    assert [str(run(steps=10).folder) for _ in range(2)] == ["runs/ar-nvt-20K", "runs/ar-nvt-20K-2"]
    before = sorted((p.name, p.stat().st_mtime_ns) for p in (run(steps=10, output="o").folder).iterdir())
    assert main(["run", "ar.xyz", "-p", "lj", "-o", "o"]) == 2
    assert sorted((p.name, p.stat().st_mtime_ns) for p in Path("o").iterdir()) == before


def files(text):
    return lambda name: Path(name).write_text(text)


def evil(name):
    import torch

    class Code:
        def __reduce__(self):
            return os.system, ("touch PWNED",)

    torch.save({"weights": Code()}, name)


def truncated(name):
    import torch

    torch.save({"weights": torch.zeros(5000)}, name)
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: len(whole) // 2])


def foreign(name):
    import torch

    torch.save({"weights": torch.zeros(5)}, name)


XYZ = {
    "count": "3\n\nAr 0 0 0\nAr 4 0 0\n", "nan": "2\n\nAr 0 0 nan\nAr 4 0 0\n", "unknown": "2\n\nXq 0 0 0\nAr 4 0 0\n", "zero": "0\n\n",
    "overlap": "2\n\nAr 0 0 0\nAr .2 0 0\n",
    "uranium": "2\n\nU 0 0 0\nU 4 0 0\n", "hydrogen": "2\n\nH 0 0 0\nH 4 0 0\n", "words": "hello\nworld\n", "many": "99999999999\n\nAr 0 0 0\n",
}  # fmt: skip


@pytest.mark.parametrize(
    "make, words, code, claim",
    [
        (None, ["gone.xyz", "-p", "lj"], 5, "gone.xyz does not exist"),
        (files(""), ["x.xyz", "-p", "lj"], 5, "x.xyz is empty"),
        (os.mkdir, ["x.xyz", "-p", "lj"], 5, "is a folder"),
        (files(XYZ["count"]), ["x.xyz", "-p", "lj"], 5, "3 atoms"),
        (files(XYZ["many"]), ["x.xyz", "-p", "lj"], 5, "99999999999"),
        (files(XYZ["nan"]), ["x.xyz", "-p", "lj"], 5, "not finite"),
        (files(XYZ["unknown"]), ["x.xyz", "-p", "lj"], 5, "element"),
        (files(XYZ["zero"]), ["x.xyz", "-p", "lj"], 5, "no atoms"),
        (files(XYZ["words"]), ["x.xyz", "-p", "lj"], 5, "x.xyz"),
        (files(XYZ["overlap"]), ["x.xyz", "-p", "lj"], 5, "overlap"),
        (files(XYZ["uranium"]), ["x.xyz", "-p", "emt"], 5, "does not know U"),
        (None, ["ar.xyz", "-p", "lj", "--ensemble", "npt"], 2, "has no cell"),
        (None, ["ar.xyz", "-p", "lj", "--ensemble", "nvtt"], 2, "did you mean 'nvt'"),
        (None, ["ar.xyz", "-p", "lj", "--timestep", "-1"], 2, "timestep must be > 0"),
        (files(XYZ["hydrogen"]), ["x.xyz", "-p", "lj", "--timestep", "3"], 2, "too long for"),
        (None, ["ar.xyz", "-p", "lj", "--charge", "1"], 5, "knows no charge"),
        (None, ["ar.xyz", "-p", "lj", "--long-range-cutoff", "9"], 2, "no long-range terms"),
        (None, ["ar.xyz", "-p", "lj", "--guard", "temperature:limit=1"], 2, "unknown key 'limit'"),
        (None, ["ar.xyz", "-p", "nobody.pt"], 5, "nobody.pt"),
        (None, ["ar.xyz", "-p", "none-*.pt"], 2, "no file matches"),
        (files("garbage"), ["ar.xyz", "-p", "x.xyz"], 5, "not a potential file"),
        (truncated, ["ar.xyz", "-p", "x.xyz"], 5, "cut short"),
        (foreign, ["ar.xyz", "-p", "x.xyz"], 5, "not a potential of mdapp"),
        (evil, ["ar.xyz", "-p", "x.xyz"], 5, "could run code"),
        (None, ["ar.xyz", "-p", "ase:no.such.module:X"], 5, "cannot import"),
        (None, ["ar.xyz", "-p", "ase:jobs.strangers:Greedy"], 5, "not enough memory on cpu for 13 atoms"),
        (None, ["ar.xyz", "-p", "ase:jobs.strangers:NoNumber"], 5, "not finite"),
        (None, ["ar.xyz", "-p", "ase:ase.calculators.emt:EMT"], 5, "cannot evaluate"),
        (files("Ar"), ["ar.xyz", "-p", "lj", "-o", "x.xyz"], 2, "is a file"),
        (files("Ar"), ["ar.xyz", "-p", "lj", "-o", "x.xyz/run"], 2, "a file stands"),
        (None, ["ar.xyz", "-p", "lj", "-o", "/proc/nowhere/run"], 2, "cannot be written"),
    ],
)
def test_bad_input_is_refused_in_a_line_or_two_and_leaves_nothing(make, words, code, claim, capsys):
    if make is not None:
        make("x.xyz")
    before = sorted(os.listdir())
    assert main(["run", *words, "--steps", "5"]) == code
    said = capsys.readouterr()
    assert claim in said.err and "Traceback" not in said.err and len(said.err.strip().splitlines()) <= 3 and "mdapp run\n" not in said.out
    assert sorted(os.listdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_refused():
    os.mkdir("locked", 0o500)
    assert main(["run", "ar.xyz", "-p", "lj", "-o", "locked/run"]) == 2


def test_a_single_atom_runs_with_langevin_and_is_refused_by_a_rescaling_thermostat(capsys):
    Atoms("Ar").write("one.xyz")
    assert main(["run", "one.xyz", "-p", "lj", "--steps", "5", "-q", "-o", "o"]) == 0
    assert main(["run", "one.xyz", "-p", "lj", "--steps", "5", "-q", "--thermostat", "csvr"]) == 5
    assert "Use nvt-langevin" in capsys.readouterr().err and sorted(os.listdir()) == ["ar.xyz", "box.extxyz", "o", "one.xyz"]


def test_a_guard_stops_the_run_keeps_the_last_sound_frame_and_says_why(capsys):
    assert main(["run", "ar.xyz", "-p", "ase:jobs.strangers:Bomb", "--steps", "100", "--temperature", "20", "-o", "o", "--seed", "1"]) == 4
    said = capsys.readouterr()
    assert "stopped: guard finite" in said.out and "Traceback" not in said.err
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["verdict"] == "stopped" and summary["exit_code"] == 4
    assert (
        summary["failure"]["monitor"] == "finite" and summary["failure"]["atoms"] == [{"index": 3, "element": "Ar", "name": "AR4:AR"}] and 20 < summary["failure"]["step"] <= 40
    )
    assert all(np.isfinite(f.forces).all() and np.isfinite(f.positions).all() for f in read_frames("o"))
    (event,) = read_events("o")
    assert (event["kind"], event["monitor"], event["step"]) == ("guard", "finite", summary["failure"]["step"])
    assert [n for n in os.listdir("o") if n.startswith("event-finite-")] and "nan" not in Path("o/final.extxyz").read_text().lower()


def test_a_potential_that_fails_midway_is_an_internal_error_whose_traceback_is_in_the_log(capsys):
    assert main(["run", "ar.xyz", "-p", "ase:jobs.strangers:Quitter", "--steps", "100", "--temperature", "20", "-o", "o"]) == 1
    said = capsys.readouterr().err
    assert "licence server" in said and "o/run.log" in said and "Traceback" not in said
    assert "Traceback" in Path("o/run.log").read_text()


def test_warn_goes_on_and_the_verdict_is_suspect():
    result = run(guard=["temperature:target_K=5"], on_event="warn")
    assert (result.exit_code, result.verdict, result.summary["steps"]) == (0, "suspect", 60) and result.summary["warnings"]["temperature"] >= 1


def test_a_strained_start_is_relaxed_aloud_and_only_then(capsys):
    Atoms("Ar2", [[0, 0, 0], [2.2, 0, 0]]).write("close.xyz")
    assert main(["run", "close.xyz", "-p", "lj", "--steps", "5", "--temperature", "20", "-o", "o"]) == 0
    assert "strained start: largest force" in capsys.readouterr().out
    assert np.ptp(next(read_frames("o")).positions[:, 0]) > 2.5
    assert run(output="calm").summary["relaxation"] is None


def test_a_charge_that_means_nothing_is_refused_unless_overridden(capsys):
    atoms = Icosahedron("Ar", 2, latticeconstant=5.4)
    atoms.info["charge"] = 1
    atoms.write("ion.extxyz")
    assert main(["run", "ion.extxyz", "-p", "lj", "--steps", "5"]) == 5
    assert "knows no charge" in capsys.readouterr().err
    assert main(["run", "ion.extxyz", "-p", "lj", "--steps", "5", "--charge", "0", "--temperature", "20"]) == 0
    assert "--charge 0 overrides it" in capsys.readouterr().out


def test_json_is_all_that_is_on_stdout(capsys):
    assert main(["run", "ar.xyz", "-p", "lj", "--steps", "5", "--json", "--temperature", "20"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["exit_code"] == 0 and "structure" in said.err


def test_python_callers_see_nothing_on_stdout(capsys):
    run()
    assert capsys.readouterr().out == ""


def test_a_periodic_run_keeps_pressure_and_the_closing_block_names_the_next_command(capsys):
    assert (
        main(["run", "box.extxyz", "-p", "lj", "--ensemble", "npt", "--temperature", "40", "--timestep", "4", "--steps", "20", "--every", "10", "-o", "o"]) == 0
    )
    said = capsys.readouterr().out
    assert "NPT" in said and "mdapp analyse o" in said
    assert "," in Path("o/thermo.csv").read_text() and all(row.split(",")[6] for row in Path("o/thermo.csv").read_text().splitlines()[1:])


def test_a_folder_that_vanishes_is_told_and_not_made_again():
    import shutil

    class Thief(Screen):
        def due(self, fraction=0.0):
            return True

        def progress(self, p):
            shutil.rmtree("o", ignore_errors=True)

    with pytest.raises(Interrupted, match="cannot be written|has been removed") as told:
        job.run(RunConfig(**{"structure": "ar.xyz", **QUICK, "output": "o", "steps": 400}), Thief(quiet=True))
    assert told.value.exit_code == 3 and not os.path.exists("o")


def test_an_ensemble_that_refuses_the_structure_leaves_nothing():
    Atoms("Ar").write("one.xyz")
    with pytest.raises(StructureError, match="no degree of freedom"):
        run(structure="one.xyz", thermostat="csvr")
    assert not os.path.exists("runs")


def test_check_keeps_nothing_and_answers_like_a_run(capsys):
    before = sorted(os.listdir())
    assert main(["check", "ar.xyz", "-p", "lj", "--temperature", "20", "--timestep", "4"]) == 0
    assert "ready" in capsys.readouterr().out
    assert main(["check", "ar.xyz", "-p", "lj", "--ensemble", "npt"]) == 2
    assert main(["check", "ar.xyz", "-p", "ase:jobs.strangers:Bomb", "--probe", "80", "--temperature", "20"]) == 4
    assert sorted(os.listdir()) == before


def test_potentials_are_listed_and_described(capsys):
    assert main(["potentials"]) == 0
    assert {"lj", "emt", "so3krates"} <= set(capsys.readouterr().out.split())
    assert main(["potentials", "lj"]) == 0
    assert "Lennard-Jones" in capsys.readouterr().out
    assert main(["potentials", "emt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["elements"].startswith("H C N O")
    assert main(["potentials", "nobody"]) == 5


def test_which_of_several_structures_is_run_is_said_aloud(capsys):
    Path("two.xyz").write_text("".join(f"2\n\nAr 0 0 0\nAr 0 0 {z}\n" for z in (3.8, 3.9)), encoding="utf-8")
    assert main(["run", "two.xyz", "-p", "lj", "--temperature", "20", "--steps", "1"]) == 0
    told = capsys.readouterr()
    assert "2 structures" in told.out + told.err


def test_the_card_of_a_potential_is_valid_json_and_leaves_out_what_was_not_measured(capsys):
    from mdapp.jobs import potentials

    assert potentials.measured({"steps": 3, "validation": {"forces": 70.0, "stress": float("nan")}}) == {"steps": 3, "validation": {"forces": 70.0}}
    assert main(["potentials", "so3krates.pt", "--json"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
