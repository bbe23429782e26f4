"""Where a relaxation ends when nobody says it: fine enough for the forces that the potential is made of."""
import json

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from mdapp.cli import main
from mdapp.jobs._potential import load, sharp_enough
from potentials.architectures.lennard_jones import Config, LennardJones
from potentials.checkpoint import Card, save_potential


def written(path, epsilon=0.010341, rms=None):
    """A Lennard-Jones file whose card may tell of training forces; then the potential itself says nothing."""
    save_potential(path, LennardJones(Config(epsilon=epsilon)), Card(training={} if rms is None else {"forces_rms_eV_A": rms}))
    return str(path)


def test_the_end_follows_the_forces_that_the_potential_knows(tmp_path):
    assert sharp_enough(load(("lj",), "cpu")) == pytest.approx(1e-4)
    weak, strong = written(tmp_path / "weak.pt"), written(tmp_path / "strong.pt", epsilon=5.0)
    assert sharp_enough(load((strong,), "cpu")) == 0.01  # never coarser than it was
    assert sharp_enough(load((strong, weak), "cpu")) == pytest.approx(1e-4)  # a committee is as fine as its finest member
    assert sharp_enough(load(("ase:ase.calculators.emt:EMT",), "cpu")) == 0.01  # says nothing


def test_the_card_of_a_trained_potential_tells_its_forces():
    assert sharp_enough(load(("so3krates.pt",), "cpu")) == 0.01  # peptides: 1.3 eV/Å
    potential = load(("so3krates.pt",), "cpu")
    potential.calculator.potential.card.training["forces_rms_eV_A"] = 0.09
    from mdapp.jobs._potential import _typical_force

    assert _typical_force(potential.calculator) == 0.09


def test_a_pair_of_argon_has_one_minimum_by_default(tmp_path, monkeypatch):
    """At 0.01 eV/Å, more than argon's strongest pull, every distance passed for one."""
    monkeypatch.chdir(tmp_path)
    write("pair.xyz", Atoms("Ar2", [[0, 0, 0], [4.2, 0, 0]]))
    assert main(["minima", "pair.xyz", "-p", "lj", "--move", "basin-hopping:step_A=0.4", "--hops", "12", "--walkers", "2", "--seed", "1", "-o", "m", "-q"]) == 0
    assert json.loads((tmp_path / "m" / "summary.json").read_text())["minima"] == 1
    found = read("m/lowest.extxyz")
    assert found.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.405, abs=2e-3)


def test_relax_says_and_keeps_what_it_took(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("pair.xyz", Atoms("Ar2", [[0, 0, 0], [4.2, 0, 0]]))
    assert main(["relax", "pair.xyz", "-p", "lj", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fmax_asked_eV_A"] == pytest.approx(1e-4)
    assert np.linalg.norm(read("pair-relaxed.extxyz").get_forces(), axis=1).max() < 1e-4
    assert main(["relax", "pair.xyz", "-p", "lj", "--fmax", "0.01", "-o", "coarse", "--json"]) == 0  # what is asked counts
    assert json.loads(capsys.readouterr().out)["fmax_asked_eV_A"] == 0.01
