"""A run that is cut, killed or asked to stop, and resumed, equals one that was left alone: to the bit."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.cluster import Icosahedron

from mdapp.config import ResumeConfig, RunConfig, ensemble_names
from mdapp.errors import Interrupted, OutputError, RunFolderError, UserError
from mdapp.jobs._report import versions
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.screen import Screen
from mdapp.trajectory import RunLock, load_checkpoint, read_events, read_frames
from mdapp.trajectory.thermo import read_thermo

QUICK = {"potential": "lj", "temperature": 20.0, "timestep": 4.0, "every": 10, "seed": 3, "device": "cpu", "threads": 1}
METHODS = [name for name in ensemble_names() if name != "nve"] + ["nve"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    (bulk("Ar", "fcc", a=5.5, cubic=True) * (2, 2, 2)).write("box.extxyz")


def settings(method="nvt-langevin", **changes):
    family, _, part = method.partition("-")
    chosen = {"nvt": {"thermostat": part}, "npt": {"barostat": part}}.get(family, {})
    return RunConfig(**{"structure": "box.extxyz" if family == "npt" else "ar.xyz", "ensemble": family, **chosen, **QUICK, **changes})


def assert_same_run(a, b):
    """The same frames, the same table, the same restart state, bit for bit."""
    first, second = list(read_frames(a)), list(read_frames(b))
    assert [f.step for f in first] == [f.step for f in second]
    for f, g in zip(first, second):
        for name in ("time_fs", "positions", "momenta", "forces", "cell", "potential_energy", "kinetic_energy", "conserved_energy", "temperature_K"):
            assert np.array_equal(getattr(f, name), getattr(g, name)), f"{name} at step {f.step}"
    assert Path(a, "thermo.csv").read_bytes() == Path(b, "thermo.csv").read_bytes()
    x, y = (load_checkpoint(Path(p)).state["stepper"] for p in (a, b))
    assert x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)
    assert_same_memory(*(load_checkpoint(Path(p)).state["watches"] for p in (a, b)))
    said = [[(e["kind"], e["step"], e["message"]) for e in read_events(Path(p)) if e["kind"] in ("guard", "warning", "rewind")] for p in (a, b)]
    assert said[0] == said[1]


def assert_same_memory(a, b, where="watches"):
    """What guards remember, to the bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same_memory(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for k, pair in enumerate(zip(a, b)):
            assert_same_memory(*pair, f"{where}/{k}")
    elif isinstance(a, (float, np.ndarray)):
        np.testing.assert_array_equal(a, b, err_msg=where)
    else:
        assert a == b, where


class StopAt:
    """Asks for a stop after so many steps, as a signal would."""

    def __init__(self, monkeypatch, step):
        from mdapp.jobs._stopping import Stopping

        calls = iter(range(10**9))

        def asked(stopping):
            if next(calls) > step and stopping.reason is None:
                stopping.reason = "a test"
            return stopping.reason is not None

        monkeypatch.setattr(Stopping, "__call__", asked)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [33])  # between two frames
def test_a_resumed_run_is_the_uninterrupted_one(method, cut, monkeypatch):
    run(settings(method, steps=60, output="a"))
    with monkeypatch.context() as patch:
        StopAt(patch, cut)
        stopped = run(settings(method, steps=60, output="b"))
    assert (stopped.exit_code, stopped.summary["status"], stopped.summary["steps"]) == (3, "interrupted", cut)
    finished = resume(ResumeConfig("b"))
    assert (finished.exit_code, finished.summary["status"]) == (0, "finished")
    assert_same_run("a", "b")
    assert [e["kind"] for e in read_events(Path("b"))] == ["stop", "restart"]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_cut_again_and_again_is_the_uninterrupted_one(method, monkeypatch):
    """After the first step, at a frame, right after it, at a look of the guards, before the last step; with guards that speak."""
    loud = ("on", "largest-force:warn_eV_per_A=0.012")
    run(settings(method, steps=60, output="a", guard=loud, every=20))
    assert any(e["kind"] == "warning" for e in read_events(Path("a")))
    begun, done = settings(method, steps=60, output="b", guard=loud, every=20), 0
    for cut in (1, 20, 21, 30, 59, None):
        with monkeypatch.context() as patch:
            StopAt(patch, 10**9 if cut is None else cut - done)
            result = run(begun) if done == 0 else resume(ResumeConfig("b"))
        assert result.exit_code == (0 if cut is None else 3) and result.summary["steps"] == (cut or 60)
        done = cut
    assert_same_run("a", "b")
    assert result.summary["warnings"].keys() == json.loads(Path("a/summary.json").read_text())["warnings"].keys()


def test_what_a_resume_changes_is_recorded(monkeypatch):
    from mdapp.jobs import resume as job

    run(settings(steps=20, output="a"))
    resume(ResumeConfig("a", steps=30, threads=2))
    monkeypatch.setattr(job, "versions", lambda: {**versions(), "numpy": "9.9"})
    resume(ResumeConfig("a", steps=40, threads=2))
    first, second = (e for e in read_events(Path("a")) if e["kind"] == "restart")
    assert first["changed"] == ["steps 20 -> 30", "threads 1 -> 2"] and "threads 1 -> 2" in first["message"] and first["device"] == "cpu"
    assert second["changed"] == ["steps 30 -> 40", f"numpy {versions()['numpy']} -> 9.9"]  # against the session before
    assert "numpy" in Path("a/run.log").read_text()


def test_an_extended_run_goes_on_where_the_shorter_one_ended():
    run(settings(steps=60, output="a"))
    run(settings(steps=40, output="b"))
    assert resume(ResumeConfig("b", time="240fs")).exit_code == 0
    assert_same_run("a", "b")
    assert "steps = 60" in Path("b/run.toml").read_text()


def test_resuming_a_finished_run_changes_nothing():
    run(settings(steps=20, output="a"))
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in Path("a").iterdir()}
    result = resume(ResumeConfig("a"))
    assert result.exit_code == 0
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in Path("a").iterdir()} == before


def test_fewer_steps_than_done_are_refused():
    run(settings(steps=20, output="a"))
    with pytest.raises(UserError, match="--steps is the total"):
        resume(ResumeConfig("a", steps=10))


@pytest.mark.parametrize(
    "harm, claim",
    [
        (lambda: Path("a/run.toml").write_text(Path("a/run.toml").read_text().replace("temperature = 20.0", "temperature = 30.0")), "temperature was 20.0"),
        (lambda: Path("a/run.toml").write_text(Path("a/run.toml").read_text().replace("seed = 3", "seed = 4")), "seed was 3"),
        (
            lambda: Path("a/run.toml").write_text(Path("a/run.toml").read_text().replace('["lj"]', '["emt"]').replace('"lj"', '"emt"')),
            "does not know Ar|not the one that the run began with|cannot",
        ),
        (lambda: Path("a/run.toml").write_text("steps = ["), "not a TOML file"),
        (lambda: Path("a/run.toml").unlink(), "No configuration file"),
        (lambda: Path("a/input.extxyz").write_text(Path("a/input.extxyz").read_text().replace("0.", "1.", 1)), "not the structure"),
        (lambda: Path("a/input.extxyz").unlink(), "is missing"),
        (lambda: [Path("a", n).write_bytes(b"") for n in ("checkpoint.h5", "checkpoint.prev.h5")], "damaged"),
        (lambda: Path("a/trajectory.h5").unlink(), "trajectory.h5"),
        (lambda: [Path("a", n).unlink() for n in ("checkpoint.h5", "checkpoint.prev.h5")], "cannot be resumed"),
    ],
)
def test_a_folder_that_is_not_what_it_was_is_refused(harm, claim):
    run(settings(steps=20, output="a"))
    harm()
    with pytest.raises(UserError, match=claim) as refusal:
        resume(ResumeConfig("a", steps=40))
    assert refusal.value.exit_code == 5


def test_the_previous_checkpoint_steps_in_for_a_damaged_one():
    run(settings(steps=60, output="a"))
    run(settings(steps=40, output="b"))
    Path("b/checkpoint.h5").write_bytes(Path("b/checkpoint.h5").read_bytes()[:1000])
    assert resume(ResumeConfig("b", steps=60)).exit_code == 0
    assert_same_run("a", "b")


def test_two_processes_do_not_write_one_folder():
    run(settings(steps=20, output="a"))
    with RunLock(Path("a")), pytest.raises(OutputError, match=f"process {os.getpid()}"):
        resume(ResumeConfig("a", steps=40))
    with pytest.raises(RunFolderError, match="holds no run"):
        os.mkdir("nothing")
        resume(ResumeConfig("nothing"))


def mdapp(*words, **options):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen([sys.executable, "-m", "mdapp", *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


LONG = ["run", "ar.xyz", "-p", "lj", "--temperature", 20, "--timestep", 4, "--every", 10, "--seed", 3, "--device", "cpu", "--threads", 1, "-o", "b"]


def wait_for_steps(folder, process, steps, timeout=90):
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        try:
            if read_thermo(Path(folder, "thermo.csv"))["step"][-1] >= steps:
                return
        except (RunFolderError, IndexError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"{steps} steps were not reached: {process.communicate()[0] if process.poll() is not None else 'too slow'}")


class At(Screen):
    """Does something once when the run has come so far."""

    def __init__(self, step, action):
        super().__init__(quiet=True)
        self.step, self.action = step, action

    def due(self, fraction=0.0):
        return True

    def progress(self, p):
        if p.step >= self.step and self.action is not None:
            action, self.action = self.action, None
            action()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_run_at_a_whole_step(number):
    before = signal.getsignal(number)
    result = run(settings(steps=100, output="b"), At(30, lambda: os.kill(os.getpid(), number)))
    assert (result.exit_code, result.summary["steps"]) == (3, 30) and signal.Signals(number).name in result.summary["why"]
    assert signal.getsignal(number) is before
    assert load_checkpoint(Path("b")).state["stepper"]["step"] == 30
    assert resume(ResumeConfig("b", steps=50)).exit_code == 0
    run(settings(steps=50, output="a"))
    assert_same_run("a", "b")


def test_a_process_that_is_terminated_says_how_to_go_on():
    process = mdapp(*LONG, "--steps", 10**7)
    wait_for_steps("b", process, 20)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == 3 and "Traceback" not in said and "mdapp resume b" in said


def test_a_second_signal_ends_the_process_at_once():
    code = (
        "import os, signal, time\nfrom mdapp.jobs._stopping import Stopping\n"
        "with Stopping(None, None) as stop:\n    os.kill(os.getpid(), signal.SIGTERM)\n    print(stop(), stop.reason, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=50)
    assert done.stdout == "True signal SIGTERM\n" and done.returncode == -signal.SIGTERM


def test_a_file_stop_ends_the_run_and_does_not_stop_the_next(monkeypatch):
    monkeypatch.setattr("mdapp.jobs._stopping._LOOK_S", 0.0)
    result = run(settings(steps=100, output="b"), At(30, Path("b/STOP").touch))
    assert (result.exit_code, result.summary["steps"]) == (3, 30) and "a file STOP" in result.summary["why"] and not Path("b/STOP").exists()
    assert resume(ResumeConfig("b", steps=40)).exit_code == 0


def test_a_signal_before_the_first_step_leaves_nothing(monkeypatch):
    import mdapp.jobs.run as job

    prepare = job.prepare
    monkeypatch.setattr(job, "prepare", lambda *words: (os.kill(os.getpid(), signal.SIGTERM), prepare(*words))[1])
    before = sorted(os.listdir())
    with pytest.raises(Interrupted, match="nothing was written") as told:
        run(settings(steps=20))
    assert told.value.exit_code == 3 and sorted(os.listdir()) == before


def test_the_wall_time_ends_the_run():
    begun = time.monotonic()
    result = run(settings(steps=10**7, wall_time=2.0, output="a"))
    assert result.exit_code == 3 and "wall-time" in result.summary["why"] and time.monotonic() - begun < 10


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kill_9_the_run_is_whole_and_resumes_to_the_same_bits(kills):
    process = mdapp(*LONG, "--steps", 10**7)
    for k in range(kills):
        wait_for_steps("b", process, 30 * (k + 1))
        time.sleep(random.Random(k).uniform(0, 0.2))
        process.kill()
        process.communicate()
        assert [f.step for f in read_frames("b")][:3] == [0, 10, 20]
        if k < kills - 1:
            process = mdapp("resume", "b")
    last = int(load_checkpoint(Path("b")).state["stepper"]["step"])
    total = 10 * (last // 10 + 3)
    assert resume(ResumeConfig("b", steps=total)).exit_code == 0
    run(settings(steps=total, output="a"))
    assert_same_run("a", "b")


def test_a_run_killed_before_its_first_step_begins_anew():
    run(settings(steps=20, output="a"))
    shutil.copytree("a", "b")
    for name in ("checkpoint.h5", "checkpoint.prev.h5", "trajectory.h5", "thermo.csv", "final.extxyz", "summary.json", "run.log"):
        Path("b", name).unlink()
    assert resume(ResumeConfig("b")).exit_code == 0
    assert_same_run("a", "b")


def test_a_run_killed_before_its_settings_were_written_can_be_started_in_the_same_folder():
    """What is left is the lock of a dead process and perhaps the structure: no run lives there."""
    os.mkdir("b")
    Path("b/run.lock").write_text("process 1 on nowhere\n")
    Path("b/input.extxyz").write_text("half")
    assert run(settings(steps=20, output="b")).exit_code == 0
    run(settings(steps=20, output="a"))
    assert_same_run("a", "b")


def test_whoever_finds_a_folder_locked_takes_nothing_away():
    os.mkdir("b")
    with RunLock(Path("b")), pytest.raises(OutputError, match="in use by"):
        run(settings(steps=20, output="b"))
    assert Path("b").is_dir()


def test_a_full_disk_is_one_line_and_the_run_resumes_when_there_is_room():
    """A limit on the size of files stands for the disk: the system's call fails in the same way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(Interrupted, match="Stopped at step [0-9]+: .* cannot be written: file too large.* resume") as told:
            run(settings(steps=120, every=1, output="b"), At(60, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.exit_code == 3
    assert len(list(read_frames("b"))) >= 60
    assert resume(ResumeConfig("b")).exit_code == 0
    run(settings(steps=120, every=1, output="a"))
    assert_same_run("a", "b")


def test_a_device_without_room_is_one_sentence_with_the_size_that_would_fit_and_the_state_is_kept(capsys):
    from mdapp.cli import main

    words = ["run", "ar.xyz", "-p", "ase:jobs.strangers:FullDevice", "--temperature", "20", "--timestep", "4", "--every", "10", "--seed", "3",
             "--steps", "200", "--threads", "1", "-o", "b"]  # fmt: skip
    assert main(words) == 3
    said = capsys.readouterr().err
    assert "not enough memory on cpu for 13 atoms: 90 GiB are needed and 79.1 are there; about 10 atoms would fit" in said and "mdapp resume b" in said
    assert "Traceback" not in said and len(said.strip().splitlines()) <= 3
    assert load_checkpoint(Path("b")).state["stepper"]["step"] >= 20 and [f.step for f in read_frames("b")][-1] >= 20


def test_a_device_without_room_for_the_first_evaluation_says_what_would_fit_and_leaves_nothing(capsys):
    from mdapp.cli import main

    before = set(Path().iterdir())
    assert main(["run", "ar.xyz", "-p", "ase:jobs.strangers:FullAtOnce", "--device", "cpu", "--steps", "5", "-o", "b"]) == 5
    said = capsys.readouterr().err
    assert "not enough memory on cpu for 13 atoms: 24 GiB are needed and 23.6 are there; about 11 atoms would fit." in said and "smaller system" in said
    assert "Traceback" not in said and set(Path().iterdir()) == before


@pytest.mark.parametrize("name", ["thermo.csv", "trajectory.journal"])
def test_a_run_does_not_go_on_writing_into_a_file_that_was_removed(name):
    """An `rm -r` that meets a folder in use can leave the folder there, with a few new files in it."""
    with pytest.raises(Interrupted, match=f"Stopped at step [0-9]+: .*{name} has been removed while it was being written") as told:
        run(settings(steps=400, every=1, output="b"), At(40, lambda: Path("b", name).unlink()))
    assert told.value.exit_code == 3
