"""A reason to stop that comes before the first step, while a potential is read or compiled, is heeded at once and leaves everything as it was."""
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.cluster import Icosahedron

from mdapp.config import CheckConfig, ResumeConfig, RunConfig
from mdapp.errors import Interrupted
from mdapp.jobs._stopping import Stopping
from mdapp.jobs.check import check
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run

ARGON = {"structure": "ar.xyz", "potential": "lj", "temperature": 20.0, "timestep": 4.0, "every": 10, "seed": 3, "device": "cpu", "threads": 1}
PROMPT_S = 10.0  # the requirement is 30; a busy machine is allowed for


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")


def soon(number, after_s=0.3, process=None):
    """A signal to this process, a little later."""
    threading.Timer(after_s, os.kill, (process or os.getpid(), number)).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_breaks_off_what_nobody_asks_from(number):
    begun, before = time.monotonic(), signal.getsignal(number)
    with Stopping(None, None) as stopping, pytest.raises(Interrupted, match=f"Interrupted by signal {signal.Signals(number).name} before the first step; so it stays"):
        with stopping.at_once("so it stays"):
            soon(number)
            time.sleep(60)
    assert time.monotonic() - begun < PROMPT_S and signal.getsignal(number) is before


def test_what_swallows_exceptions_is_broken_off_all_the_same():
    """Libraries try things, and destructors and callbacks keep what is raised in them."""
    begun = time.monotonic()
    with Stopping(None, begun + 0.2) as stopping, pytest.raises(Interrupted, match="the wall-time limit"):
        with stopping.at_once():
            for _ in range(3):
                try:
                    time.sleep(20)
                except BaseException:
                    pass
            time.sleep(60)
    assert time.monotonic() - begun < PROMPT_S


def test_an_error_of_its_own_and_a_stretch_that_is_not_disturbed_are_what_they_are():
    with Stopping(None, None) as stopping:
        with pytest.raises(ZeroDivisionError), stopping.at_once():
            1 / 0
        with stopping.at_once():
            kept = "done"
        assert kept == "done" and not stopping()
        os.kill(os.getpid(), signal.SIGTERM)  # after the stretch it is the loop that asks
        assert stopping() and stopping.reason == "signal SIGTERM"


def test_outside_the_main_thread_the_stop_comes_at_the_end_of_the_stretch():
    found = []

    def work():
        try:
            with Stopping(None, time.monotonic()) as stopping, stopping.at_once():
                found.append("worked")
        except Interrupted as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0] == "worked" and "wall-time" in found[1]


@pytest.mark.parametrize("job, after_s", [(run, 1.0), (check, 4.0)], ids=["run", "check"])
def test_a_signal_while_a_potential_is_compiled_ends_the_job_and_leaves_nothing(job, after_s, monkeypatch):
    """The compiler really runs, for a second."""
    from potentials.runtime import ahead_of_time, code_cache

    Path("cache").mkdir()
    monkeypatch.setattr(code_cache, "folder", lambda: Path("cache").resolve())
    make, process, begun = ahead_of_time._make, os.getpid(), Path("begun").resolve()

    def signalled(*words):
        begun.write_text(f"{time.monotonic()} {os.getpid()}")
        soon(signal.SIGTERM, after_s, process)
        make(*words)

    monkeypatch.setattr(ahead_of_time, "_make", signalled)
    molecule("CH3CH2OH").write("ethanol.xyz")
    before = sorted([*os.listdir(), begun.name])
    config = (RunConfig if job is run else CheckConfig)(structure="ethanol.xyz", potential="so3krates.pt", compile=True, steps=20, seed=1, device="cpu", threads=1)
    with pytest.raises(Interrupted, match="SIGTERM before the first step; nothing was written") as told:
        job(config)
    at, child = begun.read_text().split()
    assert told.value.exit_code == 3 and time.monotonic() - float(at) < PROMPT_S
    assert sorted(os.listdir()) == before and not os.listdir("cache")
    assert int(child) != process and not Path("/proc", child).exists()  # what was tracing is gone with its compiler; nothing is raised inside of it


@pytest.mark.parametrize("reason", ["signal", "wall time", "file"])
def test_a_resume_that_is_stopped_while_it_is_prepared_leaves_the_run_as_it_was(reason, monkeypatch):
    import mdapp.jobs.resume as job

    run(RunConfig(**ARGON, steps=20, output="a"))
    before = {p.name: p.read_bytes() for p in Path("a").iterdir()}

    def slowly(*words, **options):
        if reason == "signal":
            soon(signal.SIGUSR1)
        elif reason == "file":
            Path("a/STOP").touch()
        time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(job, "prepare", slowly)
        begun = time.monotonic()
        with pytest.raises(Interrupted, match="before the first step; a stays as it was") as told:
            resume(ResumeConfig("a", steps=40, wall_time=1.0 if reason == "wall time" else None))
    assert told.value.exit_code == 3 and time.monotonic() - begun < PROMPT_S
    Path("a/STOP").unlink(missing_ok=True)
    assert {p.name: p.read_bytes() for p in Path("a").iterdir() if p.name != "run.lock"} == {k: v for k, v in before.items() if k != "run.lock"}
    assert resume(ResumeConfig("a", steps=40)).exit_code == 0


def test_what_a_box_needs_is_evaluated_before_there_is_a_folder():
    """Of compiled code with a stress and without one, none is made after the first moment."""
    from mdapp.jobs._start import first_moment, prepare
    from mdapp.screen import silent

    bulk("Ar", "fcc", a=5.5, cubic=True).repeat(2).write("box.extxyz")
    start = prepare(RunConfig(**{**ARGON, "structure": "box.extxyz"}, steps=5, output="a"), silent())
    asked = []
    calculate = start.atoms.calc.calculate
    start.atoms.calc.calculate = lambda atoms, properties, changes: (asked.append(tuple(properties)), calculate(atoms, properties, changes))
    stepper, _ = first_moment(start)
    assert stepper.frame(full=True).stress is not None and not asked
