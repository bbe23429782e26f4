"""Binary trajectories that were cut off are told from whole ones, for small molecules and for those whose coordinates are compressed."""
from __future__ import annotations

import os

import mdtraj
import numpy as np
import pytest

from mdapp.errors import StructureError
from mdapp.trajectory import read_frames
from mdapp.trajectory.cut import cut_off
from mdapp.trajectory.hushed import hushed


def save(path, n_atoms: int, n_frames: int = 40) -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("UNL", topology.add_chain())
    for k in range(n_atoms):
        topology.add_atom(f"C{k}", mdtraj.element.carbon, residue)
    mdtraj.Trajectory(np.random.default_rng(1).normal(size=(n_frames, n_atoms, 3)), topology, time=np.arange(n_frames) * 1.0).save(str(path))


@pytest.mark.parametrize("n_atoms", [3, 9, 10, 57])
@pytest.mark.parametrize("kind", ["dcd", "xtc", "trr"])
def test_a_cut_is_seen_and_a_whole_file_is_whole(tmp_path, kind, n_atoms):
    path = tmp_path / f"a.{kind}"
    save(path, n_atoms)
    whole = path.read_bytes()
    assert cut_off(path) == ""
    for left in (len(whole) - 2, len(whole) - 30, int(0.6 * len(whole)) + 5):
        path.write_bytes(whole[:left])
        assert cut_off(path), left


def test_other_formats_are_not_asked(tmp_path):
    (tmp_path / "a.xyz").write_text("nothing")
    assert cut_off(tmp_path / "a.xyz") == ""


@pytest.mark.parametrize("n_atoms", [3, 57])
@pytest.mark.parametrize("kind", ["dcd", "xtc", "trr"])
def test_frames_before_a_cut_are_read_and_nothing_is_printed(tmp_path, capfd, kind, n_atoms):
    path, top = tmp_path / f"a.{kind}", tmp_path / "top.pdb"
    save(path, n_atoms)
    save(top, n_atoms, 1)
    whole = [frame.positions for frame in read_frames(path, topology=top)]
    path.write_bytes(path.read_bytes()[: -(path.stat().st_size // 80)])  # half of the last frame
    found = []
    with pytest.raises(StructureError, match="cut off|cannot be read beyond frame 38"):
        for frame in read_frames(path, topology=top):
            found.append(frame.positions)
    assert len(whole) == 40 and len(found) == 39
    assert all(np.array_equal(a, b) for a, b in zip(found, whole))
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_what_python_says_goes_on_after_the_hush(capfd):
    print("before")
    with hushed():
        os.write(1, b"lost")
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"
