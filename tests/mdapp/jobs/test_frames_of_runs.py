"""Frames of a run are structures like any others for the verbs that take many."""
from pathlib import Path

import pytest
from ase.cluster import Icosahedron
from ase.io import read

from mdapp.cli import main
from mdapp.config import RunConfig
from mdapp.jobs._structures import read_all
from mdapp.jobs.run import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """13 argon atoms, 5 frames of which the first is the start."""
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")
    run(RunConfig("ar.xyz", potential="lj", temperature=20.0, timestep=4.0, steps=40, every=10, seed=3, device="cpu", threads=1, output="a"))
    return Path("a")


def test_a_folder_and_its_trajectory_give_the_same_frames_thinned_alike(folder):
    whole, thinned = read_all(("a",)), read_all(("a/trajectory.h5",), stride=2)
    assert [source.frame for source in whole] == [0, 1, 2, 3, 4] and [source.frame for source in thinned] == [0, 2, 4]
    assert all((a.atoms.positions == b.atoms.positions).all() for a, b in zip(whole[::2], thinned))
    assert abs(whole[-1].atoms.positions - read("a/final.extxyz").positions).max() < 1e-5
    assert [source.frame for source in read_all(("ar.xyz",), stride=3)] == [0]


def test_the_charge_that_a_run_was_told_goes_with_its_frames(folder):
    start = read("a/input.extxyz")
    start.info["charge"] = 1
    start.write("a/input.extxyz")
    assert {source.atoms.info["charge"] for source in read_all(("a",))} == {1}


def test_a_run_is_labelled_and_relaxed_from_the_command_line(folder, capsys):
    assert main(["label", "a", "--stride", "2", "--calculator", "lj", "--workers", "1", "-q"]) == 0
    labelled = read("a-labelled.xyz", index=":")
    assert [atoms.info["step"] for atoms in labelled] == [0, 20, 40] and all(atoms.get_forces().shape == (13, 3) for atoms in labelled)
    assert main(["relax", "a/trajectory.h5", "--stride", "4", "--fmax", "0.0005", "-p", "lj", "-q"]) == 0
    relaxed = read("trajectory-relaxed/relaxed.extxyz", index=":")
    assert len(relaxed) == 2 and relaxed[0].get_potential_energy() == pytest.approx(relaxed[1].get_potential_energy(), abs=1e-5)
    capsys.readouterr()


def test_what_holds_no_frames_is_refused_with_a_sentence(folder, capsys):
    Path("empty").mkdir()
    assert main(["label", "empty", "-c", "lj"]) == 5
    assert capsys.readouterr().err == "empty holds no trajectory.h5; give the folder of a run.\n"
    assert main(["run", "a/trajectory.h5", "-p", "lj"]) == 5
    assert "its last frame is in a/final.extxyz" in capsys.readouterr().err
    assert main(["relax", "a", "--stride", "0", "-p", "lj"]) == 2
