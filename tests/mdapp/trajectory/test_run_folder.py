"""Run folders: names, never overwritten, one process each, nothing left behind."""
from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdapp.errors import OutputError, RunFolderError
from mdapp.trajectory import RunLock, create_run_folder, holds_run, open_run_folder, planned_run_folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_default_names_count_up():
    paths = [create_run_folder("data/peptide.xyz", "nvt", 300).path for _ in range(3)]
    assert [str(path) for path in paths] == ["runs/peptide-nvt-300K", "runs/peptide-nvt-300K-2", "runs/peptide-nvt-300K-3"]
    assert str(create_run_folder("peptide.xyz", "nve").path) == "runs/peptide-nve"
    assert str(planned_run_folder("peptide.xyz", "nvt", 310.5)) == "runs/peptide-nvt-310.5K"


@pytest.mark.parametrize("name", ["../..", "/etc/passwd", ".hidden.xyz", "a b\n@ü.xyz", "x" * 300 + ".xyz", "-rf.xyz", "..", "a\0b"])
def test_output_stays_inside_whatever_the_input_is_called(here, name):
    folder = create_run_folder(name, "nvt", 300)
    assert folder.path.resolve().parent == here / "runs"
    assert not folder.path.name.startswith((".", "-")) and len(folder.path.name) < 120


def test_planning_makes_nothing(here):
    planned_run_folder("a.xyz", "nvt", 300)
    planned_run_folder("a.xyz", "nvt", 300, output="deep/er")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("mark", ["run.toml", "trajectory.h5", "checkpoint.prev.h5", "thermo.csv", "trajectory.journal"])
def test_an_output_that_holds_a_run_is_refused_unchanged(here, mark):
    folder = create_run_folder("a.xyz", "nvt", 300, output="out")
    (folder.path / mark).write_text("precious")
    with pytest.raises(OutputError, match="holds a run already.*mdapp resume out"):
        create_run_folder("a.xyz", "nvt", 300, output="out")
    assert (here / "out" / mark).read_text() == "precious" and holds_run(here / "out")


def test_an_output_folder_with_other_files_is_taken(here):
    (here / "out").mkdir()
    (here / "out" / "notes.txt").write_text("mine")
    folder = create_run_folder("a.xyz", "nvt", 300, output="out")
    folder.discard()
    assert (here / "out" / "notes.txt").read_text() == "mine"  # what was there before is never taken away


def test_discard_takes_away_all_that_was_made(here):
    folder = create_run_folder("a.xyz", "nvt", 300, output="deep/er/out")
    (folder.path / "run.log").write_text("nothing ran")
    folder.discard()
    assert list(here.iterdir()) == []


def test_discard_leaves_other_runs(here):
    first, second = create_run_folder("a.xyz", "nvt", 300), create_run_folder("a.xyz", "nvt", 300)
    first.discard()
    assert second.path.is_dir() and not first.path.exists()


def test_a_file_in_the_way_is_refused(here):
    (here / "out").write_text("a file")
    for output in ("out", "out/inside"):
        with pytest.raises(OutputError, match="out"):
            create_run_folder("a.xyz", "nvt", 300, output=output)
    (here / "runs").write_text("a file")
    with pytest.raises(OutputError, match="runs"):
        create_run_folder("a.xyz", "nvt", 300)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_refused(here):
    (here / "closed").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="permission denied"):
        create_run_folder("a.xyz", "nvt", 300, output="closed/out")


def test_opening_what_is_no_run_is_refused(here):
    (here / "empty").mkdir()
    (here / "file").write_text("x")
    for name, says in (("nothing", "does not exist"), ("empty", "holds no run"), ("file", "is a file")):
        with pytest.raises(RunFolderError, match=says):
            open_run_folder(name)
    folder = create_run_folder("a.xyz", "nvt", 300)
    folder.config.write_text("")
    assert open_run_folder(folder.path).path == folder.path
    assert open_run_folder(folder.config).path == folder.path


def test_replicas_have_folders_inside():
    folder = create_run_folder("a.xyz", "nvt", 300)
    assert folder.replica(7).path == folder.path / "r007" and folder.replica(7).path.is_dir()


def _make(_):
    return str(create_run_folder("a.xyz", "nvt", 300).path)


def test_processes_that_start_together_get_folders_of_their_own(here):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.map(_make, range(16), chunksize=1)
    assert len(set(paths)) == 16


HOLD = "import sys, time; from pathlib import Path; from mdapp.trajectory.lock import RunLock; lock = RunLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_told_who_holds_the_folder_and_a_dead_one_does_not_block(here):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(here)], stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"in use by process {holder.pid} on "):
            RunLock(here)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with RunLock(here), pytest.raises(OutputError, match=f"process {os.getpid()} "):
        RunLock(here)  # not even twice in one process
    assert list(here.iterdir()) == []
