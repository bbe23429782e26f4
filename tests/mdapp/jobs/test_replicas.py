import os
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from mdapp.cli import main
from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import UserError
from mdapp.jobs import resume, run
from mdapp.jobs._children import Child, command_of, finished
from mdapp.jobs._sources import replicas_of
from mdapp.jobs.replicas import _worst_code

ARGON = {"structure": "ar.xyz", "potential": "lj", "temperature": 20, "timestep": 4, "every": 50, "threads": 1}


@pytest.fixture(autouse=True)
def crystal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("ar.xyz", bulk("Ar", "fcc", a=5.3, cubic=True))


def test_replicas_stopped_and_resumed_are_the_single_runs_with_their_seeds():
    def stop():
        while finished(Path("all/r000")) < 100:
            time.sleep(0.05)
        Path("all/STOP").touch()

    stopper = threading.Thread(target=stop)
    stopper.start()
    first = run.run(RunConfig(**ARGON, steps=900, seed=7, replicas=2, parallel=1, output="all"))
    stopper.join()
    assert first.exit_code == 3 and not Path("all/STOP").exists()
    assert 100 <= first.summary["replicas"][0]["steps"] < 900 and first.summary["replicas"][1]["why"] == "not begun"
    again = resume.resume(ResumeConfig(run="all"))
    assert again.exit_code == 0 and [r["steps"] for r in again.summary["replicas"]] == [900, 900]
    for k in range(2):
        alone = run.run(RunConfig(**ARGON, steps=900, seed=7 + k, output=f"alone{k}"))
        for name in ("thermo.csv", "final.extxyz"):
            assert (alone.folder / name).read_bytes() == Path(f"all/r{k:03d}", name).read_bytes()
    assert replicas_of("all") == ["all/r000", "all/r001"]
    assert resume.resume(ResumeConfig(run="all")).summary["replicas"] == again.summary["replicas"]  # nothing is left to do


def test_replicas_made_longer_and_stopped_go_on_to_the_new_total():
    def stop():
        while finished(Path("all/r000")) < 300:
            time.sleep(0.05)
        Path("all/STOP").touch()

    run.run(RunConfig(**ARGON, steps=100, seed=7, replicas=2, parallel=1, output="all"))
    stopper = threading.Thread(target=stop)
    stopper.start()
    first = resume.resume(ResumeConfig(run="all", steps=1500))
    stopper.join()
    assert first.exit_code == 3 and first.summary["replicas"][0]["steps"] < 1500
    assert first.summary["replicas"][1] | {"exit_code": 3, "verdict": "interrupted", "why": "100 of 1500 steps are done", "steps": 100} == first.summary["replicas"][1]
    with pytest.raises(UserError, match="steps are done already, more than the 90 asked for"):
        resume.resume(ResumeConfig(run="all", steps=90))
    again = resume.resume(ResumeConfig(run="all"))
    assert again.exit_code == 0 and [r["steps"] for r in again.summary["replicas"]] == [1500, 1500]


def test_a_replica_that_cannot_go_on_is_not_taken_for_the_finished_one_that_it_was():
    run.run(RunConfig(**ARGON, steps=100, seed=7, replicas=2, parallel=2, output="all"))
    for name in ("checkpoint.h5", "checkpoint.prev.h5"):
        Path("all/r001", name).write_bytes(b"")
    Path("all/r000/summary.json").write_text('{"exit_code": 0, "steps": "x", "verdict": 5}')
    result = resume.resume(ResumeConfig(run="all", steps=200))
    whole, broken = result.summary["replicas"]
    assert result.exit_code == 5 and (whole["exit_code"], whole["steps"]) == (0, 200)
    assert (broken["exit_code"], broken["verdict"]) == (5, "stopped") and "checkpoint" in broken["why"]


def test_every_replica_has_a_seed():
    assert RunConfig(**ARGON, seed=2**63 - 3, replicas=3).replicas == 3
    with pytest.raises(ValueError, match="seed = .* replicas = 3"):
        RunConfig(**ARGON, seed=2**63 - 2, replicas=3)


def test_children_that_are_stopped_before_they_can_answer_are_interrupted_and_go_on_later():
    """A process that still reads its libraries dies of the signal that it cannot yet heed."""
    def stop():
        while not Path("all/r000").exists() and not any(child._process for child in born):
            time.sleep(0.01)
        Path("all/STOP").touch()

    born = []
    with pytest.MonkeyPatch.context() as patch:
        start = Child.start
        patch.setattr(Child, "start", lambda self: (start(self), born.append(self)))
        stopper = threading.Thread(target=stop)
        stopper.start()
        first = run.run(RunConfig(**ARGON, steps=100, seed=7, replicas=2, parallel=2, output="all"))
        stopper.join()
    assert first.exit_code == 3 and {r["exit_code"] for r in first.summary["replicas"]} == {3}
    assert {r["why"] for r in first.summary["replicas"]} == {"interrupted before the first step"}
    again = resume.resume(ResumeConfig(run="all"))
    assert again.exit_code == 0 and [r["steps"] for r in again.summary["replicas"]] == [100, 100]


def test_a_child_that_was_killed_is_told_of():
    for number, code, why in ((signal.SIGKILL, 1, "it was killed by SIGKILL"), (signal.SIGTERM, 1, "it was killed by SIGTERM")):
        child = Child("r000", [sys.executable, "-c", "import time; time.sleep(60)"])
        child.start()
        os.kill(child._process.pid, number)  # by somebody else
        child._process.wait()
        assert child.ended() and (child.exit_code, child.why, child.last_words()) == (code, why, "")


def test_what_one_run_refuses_is_refused_once_and_leaves_nothing(capsys):
    assert main(["run", "ar.xyz", "-p", "so3krates", "--replicas", "3"]) == 5
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert [p.name for p in Path().iterdir()] == ["ar.xyz"]


def test_the_worst_end_gives_the_exit_code():
    assert _worst_code([0, 0]) == 0 and _worst_code([0, 3]) == 3 and _worst_code([3, 4, 0]) == 4 and _worst_code([4, 5]) == 5 and _worst_code([5, 1]) == 1


@pytest.mark.parametrize("changes", [
    {}, {"ensemble": "npt", "barostat": "c-rescale", "pressure": "2kbar", "flexible": False}, {"guard": ("on", "no-ring", "temperature:factor=3")},
    {"potential": ("a.pt", "b.pt"), "relax_start": False, "freeze": ("0-3", "C"), "anneal": ("500K 1ps",), "friction": 1 / 3, "charge": -1},
])  # fmt: skip
def test_a_command_says_all_of_its_configuration(capsys, changes):
    config = RunConfig(**{**ARGON, "seed": 3, **changes})
    words = command_of("run", config)[3:-1]
    assert main([*words, "--dry-run"]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert RunConfig(**found["run"]) == config
