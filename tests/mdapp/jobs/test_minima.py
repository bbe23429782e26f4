"""`mdapp minima`: the folder, its end, going on, what is refused, a kill in mid-search."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from mdapp.cli import main
from mdapp.config import MinimaConfig
from mdapp.jobs import minima
from mdapp.minima.journal import read_hops
from mdapp.minima.library import Library

ROOT = Path(__file__).resolve().parents[3]
EPSILON = 0.010341  # eV, of `lj`
AR7 = -16.505384  # epsilon: the pentagonal bipyramid, M. R. Hoare and P. Pal (1971)


@pytest.fixture
def argon(tmp_path, monkeypatch):
    """Seven argon atoms in a row, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "ar7.xyz", Atoms("Ar7", positions=np.arange(7)[:, None] * [3.8, 0.4, 0.1]), format="extxyz")
    return tmp_path


def asked(*words):
    return ["minima", "ar7.xyz", "-p", "lj", "--move", "basin-hopping:step_A=1.2,temperature_K=100", "--random-start", "--walkers", "4", "--fmax", "0.001", "--seed", "3",
            "-q", *words]


def test_a_search_leaves_a_library_and_says_what_it_found(argon, capsys):
    assert main([*asked("--hops", "40", "-o", "found"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == json.loads((argon / "found" / "summary.json").read_text())
    assert {"run.toml", "input.extxyz", "minima.h5", "lowest.extxyz", "hops.jsonl", "summary.json", "run.log"} <= {p.name for p in (argon / "found").iterdir()}
    assert summary["hops"] == 40 and summary["lowest_eV"] == pytest.approx(AR7 * EPSILON, abs=1e-4)
    with Library(argon / "found", "r") as library:
        assert len(library) == summary["minima"] == summary["completeness"]["found"]
        assert summary["moves"]["basin-hopping"]["hops"] == 36  # four were random starts
    frames = read(argon / "found" / "lowest.extxyz", ":")
    energies = [frame.get_potential_energy() for frame in frames]
    assert energies == sorted(energies) and energies[0] == pytest.approx(summary["lowest_eV"], abs=5e-5)  # the library keeps the first structure of a minimum
    assert not list(argon.glob("found/*.tmp")) and not (argon / "found" / "run.lock").exists()


@pytest.mark.slow
def test_the_stored_settings_start_the_same_search_again(argon):
    main(asked("--hops", "12", "-o", "a"))
    assert main(["minima", "--config", "a/run.toml", "-o", "b", "-q"]) == 0
    a, b = (read_hops(argon / name / "hops.jsonl") for name in "ab")
    assert [h.plain() for h in a] == [h.plain() for h in b]


def test_a_finished_search_is_made_longer_and_not_begun_twice(argon, capsys):
    main(asked("--hops", "10", "-o", "found"))
    first = read_hops(argon / "found" / "hops.jsonl")
    assert main(asked("--hops", "10", "-o", "found")) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["resume", "found", "--hops", "16", "-q"]) == 0
    hops = read_hops(argon / "found" / "hops.jsonl")
    assert len(hops) == 16 and [h.plain() for h in hops[:10]] == [h.plain() for h in first]
    assert "hops = 16" in (argon / "found" / "run.toml").read_text()
    assert main(["resume", "found", "-q"]) == 0 and len(read_hops(argon / "found" / "hops.jsonl")) == 16


@pytest.mark.parametrize("limit", [("--minima", "2"), ("--time", "0.3s"), ("--complete", "0.01")])
def test_a_search_that_another_limit_ended_is_made_longer_as_its_last_line_says(argon, capsys, limit):
    words = asked("--hops", "40", "-o", "found")
    assert main([*words[:words.index("--hops")], *words[words.index("--hops") + 2:], *limit]) == 0
    first = len(read_hops(argon / "found" / "hops.jsonl"))
    assert main(["resume", "found", "-q"]) == 0 and len(read_hops(argon / "found" / "hops.jsonl")) == first
    assert main(["resume", "found", "--hops", str(first + 7), "-q"]) == 0
    assert len(read_hops(argon / "found" / "hops.jsonl")) == first + 7
    settings = (argon / "found" / "run.toml").read_text()
    assert f"hops = {first + 7}" in settings and f"# {limit[0][2:]}: not given" in settings
    assert main(["resume", "found", "-q"]) == 0 and len(read_hops(argon / "found" / "hops.jsonl")) == first + 7


def test_a_file_stop_and_the_wall_time_end_a_search_that_can_be_resumed(argon):
    assert main(asked("--hops", "100000", "--wall-time", "3s", "-o", "found")) == 3
    hops = read_hops(argon / "found" / "hops.jsonl")
    with Library(argon / "found", "r") as library:
        before = library.energies()
    n = len(hops) + 5
    (argon / "found" / "STOP").touch()  # of before: going on takes it away
    assert main(["resume", "found", "--hops", str(n), "-q"]) == 0
    assert len(read_hops(argon / "found" / "hops.jsonl")) == n
    with Library(argon / "found", "r") as library:
        assert np.array_equal(library.energies()[: len(before)], before)


def test_a_search_that_is_stopped_before_its_first_minimum_says_so(argon, capsys, monkeypatch):
    answers = iter((False,))  # to the question before the folder is made

    def stop(self):
        self.reason = "signal SIGTERM" if next(answers, True) else None
        return self.reason is not None

    monkeypatch.setattr(minima.Stopping, "__call__", stop)
    assert main([*asked("--hops", "9", "-o", "found"), "--json"]) == 3
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["minima"] == 0 and summary["lowest_eV"] is None and "nothing is found yet" in summary["why"]
    monkeypatch.undo()
    os.chdir(argon)
    assert main(["resume", "found", "--hops", "3", "-q"]) == 0


def test_a_search_that_was_killed_keeps_every_minimum_and_goes_on(argon):
    command = [sys.executable, "-m", "mdapp", *asked("--hops", "100000", "-o", "found")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=argon, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal, deadline = argon / "found" / "hops.jsonl", time.monotonic() + 120
    try:
        while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") >= 12):
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = read_hops(journal)
    assert len(before) >= 12
    known = {hop.found: hop.energy for hop in before if hop.fate == "new"}
    assert main(["resume", "found", "--hops", str(len(before) + 8), "-q"]) == 0
    after = read_hops(journal)
    assert [h.plain() for h in after[: len(before)]] == [h.plain() for h in before] and len(after) == len(before) + 8
    with Library(argon / "found", "r") as library:
        assert all(library.energies()[index] == energy for index, energy in known.items())


@pytest.mark.parametrize("words, code, message", [
    (["--move", "basin-hopping:stp=1"], 2, "unknown key 'stp'"),
    (["--move", "basin-hopping:step_A=-1"], 2, "step_A must be > 0"),
    (["--move", "dihedral"], 5, "No move fits this structure: dihedral, because it has no bond that can be turned"),
    (["-p", "so3krates.pt"], 5, "does not know Ar"),
    (["--charge", "1"], 5, "charge"),
    (["--restart-after", "5"], 2, "do not begin at random"),
])
def test_what_cannot_be_searched_is_refused_and_nothing_is_left(argon, capsys, words, code, message):
    before = sorted(argon.rglob("*"))
    assert main(["minima", "ar7.xyz", *([] if "-p" in words else ["-p", "lj"]), "--hops", "3", "-q", *words]) == code
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert sorted(argon.rglob("*")) == before


def test_a_start_that_does_not_relax_is_refused_and_nothing_is_left(argon, capsys):
    before = sorted(argon.rglob("*"))
    assert main(["minima", "ar7.xyz", "-p", "lj", "--relax-steps", "1", "--fmax", "1e-5", "--hops", "3", "-q"]) == 5
    assert "No start could be relaxed: 1 steps were not enough" in capsys.readouterr().err
    assert [p for p in sorted(argon.rglob("*")) if p.name != "runs"] == before


def test_random_starts_of_a_molecule_are_refused(argon, capsys):
    assert main(["minima", str(ROOT / "examples" / "peptide.xyz"), "-p", "lj", "--random-start", "-q"]) == 5
    assert "cannot be scattered: it is one piece" in capsys.readouterr().err


def test_a_search_is_no_trajectory(argon, capsys):
    main(asked("--hops", "6", "-o", "found"))
    assert main(["resume", "found", "--steps", "100", "-q"]) == 2
    assert "has no --steps" in capsys.readouterr().err


def test_another_structure_or_potential_is_not_resumed(argon, capsys):
    main(asked("--hops", "6", "-o", "found"))
    settings = (argon / "found" / "run.toml").read_text()
    (argon / "found" / "run.toml").write_text(settings.replace('potential_sha256 = "', 'potential_sha256 = "0'))
    assert main(["resume", "found", "--hops", "9", "-q"]) == 5
    assert "not the one that the search began with" in capsys.readouterr().err
    (argon / "found" / "run.toml").write_text(settings)
    start = (argon / "found" / "input.extxyz").read_text()
    (argon / "found" / "input.extxyz").write_text(start.replace("3.8", "3.9"))
    assert main(["resume", "found", "--hops", "9", "-q"]) == 5
    assert "not the structure that the search began with" in capsys.readouterr().err
    assert len(read_hops(argon / "found" / "hops.jsonl")) == 6


@pytest.mark.parametrize("settings, message", [
    ({"complete": 0.0}, "complete must be above 0"), ({"walkers": 0}, "walkers must be >= 1"), ({"workers": 2}, "workers is given"),
    ({"cluster": "slrm"}, "did you mean 'slurm'"), ({"cluster": "local", "cluster_option": ("queue=x",)}, "cluster_option is for --cluster slurm"),
    ({"move": ("hopping",)}, "move 'hopping' is unknown"),
])
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MinimaConfig(structure="a.xyz", potential="lj", **settings)


def test_a_search_without_an_end_makes_a_thousand_hops():
    assert MinimaConfig(structure="a.xyz", potential="lj").hops == 1000
    assert MinimaConfig(structure="a.xyz", potential="lj", minima=5).hops is None
    assert MinimaConfig(structure="a.xyz", potential="lj", time="2h").time == 7200


def test_progress_tells_what_is_left():
    from mdapp.minima.completeness import completeness
    from mdapp.minima.driver import Progress

    p = Progress(412, 137, 23.4, -12.34567, completeness([1] * 20 + [2] * 30 + [5] * 87), 99, {}, 60.0, 372.0, 7)
    assert minima.progress_words(p) == ("412 hops  137 minima  23 new/100 hops  lowest -12.3457 eV  complete 96 % (of about 143, coverage 96 %)  6:12 left")
