"""Any file of a run folder cut, emptied, altered or exchanged: the run is refused in a sentence, or goes on to the right trajectory. Never on wrongly."""
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.cluster import Icosahedron

from mdapp.config import AnalyseConfig, ResumeConfig, RunConfig
from mdapp.errors import RunFolderError, UserError
from mdapp.jobs.analyse import analyse
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.trajectory import read_frames
from mdapp.trajectory.thermo import read_thermo

FILES = ("checkpoint.h5", "checkpoint.prev.h5", "trajectory.h5", "trajectory.journal", "thermo.csv", "run.toml", "input.extxyz", "events.jsonl", "summary.json", "final.extxyz",
         "topology.pdb", "run.log")
SHOWN = ("step", "time_fs", "positions", "momenta", "cell", "potential_energy", "conserved_energy")


def settings(output, **changes):
    return RunConfig(**{"structure": "ar.xyz", "potential": "lj", "temperature": 20.0, "timestep": 4.0, "every": 10, "seed": 3, "device": "cpu", "threads": 1, "steps": 60,
                        "output": output, "guard": ("on", "largest-force:warn_eV_per_A=0.012"), **changes})  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`whole`, to 60 steps; `part`, which a full disk cut after 40, its journal not folded yet; `other`, another seed's."""
    from mdapp.trajectory import TrajectoryWriter

    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
        run(settings("whole"))
        run(settings("other", seed=4, steps=40))
        patch.setattr(TrajectoryWriter, "close", lambda self: self.sync())  # as a kill would leave it
        run(settings("part", steps=40))
    assert (place / "part" / "trajectory.journal").stat().st_size > 1000 and (place / "part" / "events.jsonl").exists()
    return place


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    shutil.copy(runs / "ar.xyz", "ar.xyz")
    for name in ("whole", "part", "other"):
        shutil.copytree(runs / name, name)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """One bit of one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def exchange(path):
    other = Path("other") / path.name
    shutil.copy(other, path) if other.exists() else path.unlink()


def remove(path):
    path.unlink()


@pytest.mark.parametrize("harm", [cut, empty, flip, exchange, remove], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_folder_is_refused_or_goes_on_rightly(name, harm):
    harm(Path("part", name))
    try:
        result = resume(ResumeConfig("part", steps=60))
    except UserError as refusal:
        assert refusal.exit_code in (2, 5) and "\n" not in str(refusal).strip()
        assert name in ("checkpoint.h5", "trajectory.h5", "trajectory.journal", "run.toml", "input.extxyz"), f"{name} need not be whole: {refusal}"
        return
    assert result.exit_code == 0
    right, found = ([f for f in read_frames(folder)] for folder in ("whole", "part"))
    assert [f.step for f in found] == [f.step for f in right]
    for f, g in zip(found, right):
        for what in SHOWN:
            assert np.array_equal(getattr(f, what), getattr(g, what)), f"{what} at step {g.step} after harm to {name}"
    first, second = read_thermo(Path("part/thermo.csv")), read_thermo(Path("whole/thermo.csv"))
    assert all(np.array_equal(first[k], second[k], equal_nan=True) for k in second), f"thermo.csv after harm to {name}"


@pytest.mark.parametrize("line", ['{"kind": "guard", "step": "abc", "monitor": "x"}', '{"kind": "rewind", "step": null, "to_step": 3}',
                                  '{"kind": "rewind", "step": 1, "to_step": "q"}', '{"kind": "restart", "step": 0, "versions": [1]}'])  # fmt: skip
def test_an_event_that_no_run_writes_is_damage(line):
    events = Path("part/events.jsonl")
    n = len(events.read_bytes().splitlines())
    events.write_bytes(events.read_bytes() + line.encode() + b"\n")
    with pytest.raises(RunFolderError, match=f"line {n + 1} is damaged"):
        resume(ResumeConfig("part", steps=60))
    with pytest.raises(RunFolderError, match=f"line {n + 1} is damaged"):
        analyse(AnalyseConfig(("part",)))


@pytest.mark.parametrize("content", ['{"exit_code": 0, "steps": "x", "verdict": 5}', '{"exit_code": 0, "verdict": "sound"}', '{"exit_code": [], "steps": 60, "verdict": "sound"}'])
def test_a_summary_that_no_run_writes_is_none(content):
    Path("whole/summary.json").write_text(content)
    assert resume(ResumeConfig("whole")).exit_code == 0
    assert json.loads(Path("whole/summary.json").read_text())["steps"] == 60


def test_nothing_is_asked_of_a_network(monkeypatch):
    """Not while a potential is loaded and not while a run goes on."""
    def refused(*words, **options):
        raise AssertionError(f"something asked for the network: {words}")

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refused)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refused)
    molecule("CH3CH2OH").write("ethanol.xyz")
    result = run(RunConfig(structure="ethanol.xyz", potential="so3krates.pt", steps=3, seed=1, device="cpu", threads=1, output="o"))
    assert result.exit_code == 0
