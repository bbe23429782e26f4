"""Trajectories of other programs from the command line, whole and damaged: the same numbers, or a sentence, and the rest of the report is still made."""
from __future__ import annotations

import json
import warnings

import mdtraj
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from ase.io.trajectory import Trajectory

from mdapp.cli import main
from mdapp.topology import topology_of

N = 300  # more than a chunk
ATOMS = molecule("CH3CH2OH")
POSITIONS = ATOMS.positions + 0.05 * np.random.default_rng(1).standard_normal((N, 9, 3))
NEEDS_TOPOLOGY = ("dcd", "xtc", "trr", "nc")


def images(n: int = N, cell: float | None = None) -> list[Atoms]:
    made = []
    for k in range(n):
        atoms = ATOMS.copy()
        atoms.positions = POSITIONS[k]
        atoms.info["time_fs"] = 2.0 * k
        if cell:
            atoms.set_cell([cell] * 3)
            atoms.pbc = True
        made.append(atoms)
    return made


def save(path, kind: str) -> None:
    if kind in ("xyz", "extxyz"):
        write(path, images(), format="extxyz")
    elif kind == "traj":
        with Trajectory(path, "w") as file:
            for atoms in images():
                file.write(atoms)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mdtraj would rather have netCDF4
            mdtraj.Trajectory(0.1 * POSITIONS, topology_of(ATOMS), time=0.002 * np.arange(N)).save(str(path))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mdtraj.Trajectory(0.1 * ATOMS.positions[None], topology_of(ATOMS)).save_pdb("names.pdb")
    write("names.xyz", ATOMS, format="xyz")
    return tmp_path


def analysed(capsys, *words: str) -> dict:
    """The summary of one report, asked for on the command line."""
    assert main(["analyse", *words, "--no-plots", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["runs"][0]


@pytest.mark.parametrize("kind", ["xyz", "extxyz", "traj", "pdb", "h5", *NEEDS_TOPOLOGY])
def test_every_format_gives_the_same_numbers(here, capsys, kind):
    save(here / f"a.{kind}", kind)
    options = ["--topology", "names.pdb"] if kind in NEEDS_TOPOLOGY else []
    found = analysed(capsys, f"a.{kind}", *options)
    assert found["n_frames"] == N and found["n_atoms"] == 9 and found["bonds"]["n_bonds"] == 8
    length = next(one["value"] for one in found["observables"]["bond_statistics"] if one["label"] == "bond C-O")
    assert length == pytest.approx(np.linalg.norm(POSITIONS[:, 2] - POSITIONS[:, 1], axis=1).mean(), abs=3e-3)  # xtc keeps 0.01 Å
    if kind in NEEDS_TOPOLOGY:
        assert main(["analyse", f"a.{kind}", "--no-plots"]) == 5 and "knows no elements" in capsys.readouterr().err
        assert analysed(capsys, f"a.{kind}", "--topology", "names.xyz")["rmsd_A"]["mean"] == pytest.approx(found["rmsd_A"]["mean"], abs=1e-6)


@pytest.mark.parametrize("kind", ["xyz", "pdb", "traj", "dcd", "xtc", "trr"])
def test_a_file_that_is_cut_is_measured_up_to_there(here, capsys, kind):
    save(here / f"a.{kind}", kind)
    whole = (here / f"a.{kind}").read_bytes()
    (here / f"a.{kind}").write_bytes(whole[: int(0.87 * len(whole)) + 5])
    words = [f"a.{kind}", *(["--topology", "names.pdb"] if kind in NEEDS_TOPOLOGY else [])]
    code = main(["analyse", *words, "--no-plots", "--json"])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if code == 0:
        found = json.loads(said.out)["runs"][0]
        assert 200 <= found["n_frames"] < N and any("ended before the end" in remark for remark in found["remarks"])
    else:  # an index at the end of the file is lost, and with it the frames
        assert code == 5 and kind == "traj" and f"a.{kind}" in said.err and not (here / "a-report").exists()


def test_numbers_that_are_none_end_the_reading(here, capsys):
    frames = images(20)
    write("a.extxyz", frames)
    text = (here / "a.extxyz").read_text().splitlines()
    text[11 * 12 + 2] = "C nan 0.0 0.0"
    (here / "a.extxyz").write_text("\n".join(text) + "\n")
    found = analysed(capsys, "a.extxyz")
    assert found["n_frames"] == 12 and any("ended before the end" in remark for remark in found["remarks"])


def test_without_a_cell_what_needs_one_is_left_out_in_words(here, capsys):
    write("a.extxyz", images(20))
    found = analysed(capsys, "a.extxyz", "--rdf", "O-H")
    assert any(remark.startswith("No g(r) O-H: the trajectory has no cell that is periodic") for remark in found["remarks"])
    assert "bond_statistics" in found["observables"]


def test_times_that_are_not_told_can_be_given(here, capsys):
    write("a.xyz", images(100), format="xyz")
    assert any("counted as 1 ps apart" in remark for remark in analysed(capsys, "a.xyz")["remarks"])
    told = analysed(capsys, "a.xyz", "--frame-time", "2fs")
    assert told["to_ps"] == pytest.approx(0.198) and not any("1 ps apart" in remark for remark in told["remarks"])
    assert "power_spectrum" in told["observables"]
    save(here / "a.dcd", "dcd")
    assert analysed(capsys, "a.dcd", "--topology", "names.pdb", "--frame-time", "2fs")["to_ps"] == pytest.approx(0.598)  # MDTraj would make 299 ps of it


@pytest.mark.parametrize("words, said", [
    (["a.extxyz", "--topology", "missing.pdb"], "missing.pdb"), (["a.extxyz", "--reference", "missing.xyz"], "missing.xyz"),
    (["a.extxyz", "--rdf", "OH"], "pair of elements"), (["a.extxyz", "--frame-time", "0fs"], "frame_time"), (["a.extxyz", "--start", "1ns"], "no frames from"),
])
def test_what_cannot_be_is_refused_in_a_sentence(here, capsys, words, said):
    write("a.extxyz", images(5))
    before = sorted(here.iterdir())
    code = main(["analyse", *words, "--no-plots"])
    err = capsys.readouterr().err
    if said == "missing.pdb" and code == 0:  # a format that knows its elements needs no topology
        return
    assert code in (2, 5) and said in err.replace("-", "_") + err and "Traceback" not in err and len(err.strip().splitlines()) <= 3 and sorted(here.iterdir()) == before
