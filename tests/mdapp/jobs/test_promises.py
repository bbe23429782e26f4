"""Potentials that are no gradient, or have no energy: the same verbs serve them, refuse what they cannot do, and say what they do not promise."""
import csv
import json

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.io import read, write

from mdapp.cli import main
from potentials.architectures.message_passing import Config, MessagePassing
from potentials.checkpoint import save_potential

TRAIN = """
[train]
output = "trained"
level_of_theory = "Lennard-Jones"
epochs = 4
batch_size = 2
validate_every = 6
keep_every = 2
best_by = "kept"
rotations = true
seed = 1
[train.data]
train = "data.xyz"
split_by = "block"
validation_fraction = 0.25
reference_energies = { Ar = 0.0 }
[train.potential]
name = "message-passing"
[train.potential.config]
head = "free"
cutoff = 5.0
num_layers = 1
num_features = 8
num_radial_basis_fn = 8
activation = "prelu"
[train.loss]
kind = "mae"
energy = 0.0
wake = 0.1
"""


def crystal(seed=0, spread=0.1):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True) * (2, 2, 1)
    atoms.rattle(spread, seed=seed)
    return atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with argon and a potential file for each of some heads."""
    monkeypatch.chdir(tmp_path)
    write("argon.xyz", crystal(), format="extxyz")
    for head in ("pair", "free", "both"):
        torch.manual_seed(0)
        p = MessagePassing(Config(elements=(18,), head=head, cutoff=5.0, num_features=8, num_layers=1, num_radial_basis_fn=8, avg_num_neighbors=12.0))
        p.force_unit.fill_(0.02)
        save_potential(f"{head}.pt", p)
    return tmp_path


def run(*words):
    return main(["run", "argon.xyz", *words, "--timestep", "1fs", "--steps", "30", "--temperature", "40K", "--device", "cpu", "--every", "10", "-q"])


@pytest.mark.parametrize("words, named", [
    (("-p", "pair.pt", "--ensemble", "npt"), "npt"), (("-p", "free.pt", "--ensemble", "npt", "--barostat", "langevin"), "npt-langevin")])  # fmt: skip
def test_npt_is_refused_by_name_without_a_stress(folder, capsys, words, named):
    before = sorted(p.name for p in folder.iterdir())
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert words[1] in said and named in said and "provides forces, and no stress" in said and "--ensemble nvt" in said and "Traceback" not in said
    assert sorted(p.name for p in folder.iterdir()) == before


@pytest.mark.parametrize("verb", ["relax", "minima"])
def test_minima_are_not_looked_for_without_an_energy(folder, capsys, verb):
    before = sorted(p.name for p in folder.iterdir())
    limits = ["--hops", "2"] if verb == "minima" else []
    assert main([verb, "argon.xyz", "-p", "pair.pt", *limits, "--device", "cpu"]) == 5
    said = capsys.readouterr().err
    assert "provides no energy" in said and "Take a potential that does" in said
    assert sorted(p.name for p in folder.iterdir()) == before


def test_a_cell_is_not_relaxed_without_a_stress(folder, capsys):
    assert main(["relax", "argon.xyz", "-p", "pair.pt", "--cell", "--device", "cpu"]) == 2
    assert "no stress, which the relaxation of a cell" in capsys.readouterr().err


def test_nve_with_direct_forces_runs_warned_and_without_the_guard_of_the_energy(folder):
    assert run("-p", "free.pt", "--ensemble", "nve", "--output", "out") == 0
    told = " ".join(json.loads((folder / "out/summary.json").read_text())["start_warnings"])
    for words in ("not the gradient of an energy", "provides no energy", "turn with the structure only as well as it has learnt", "need not sum to zero"):
        assert told.count(words) == 1
    log = (folder / "out/run.log").read_text()
    guards = next(line for line in log.splitlines() if "guards" in line)
    assert "temperature" in guards and "energy-drift" not in guards
    rows = list(csv.DictReader((folder / "out/thermo.csv").read_text().splitlines()))
    assert {float(row["E_pot_eV"]) for row in rows} == {0.0} and len({row["T_K"] for row in rows}) > 1


def test_npt_and_nve_go_on_with_a_head_of_both_kinds_and_the_drift_is_watched(folder):
    assert run("-p", "both.pt", "--ensemble", "npt", "--output", "npt") == 0
    assert run("-p", "both.pt", "--ensemble", "nve", "--output", "nve") in (0, 4)
    summary = json.loads((folder / "nve/summary.json").read_text())
    assert "not the gradient" in " ".join(summary["start_warnings"]) and "provides no energy" not in " ".join(summary["start_warnings"])
    assert "energy-drift" in (folder / "nve/run.log").read_text()


def test_direct_forces_resume_and_relax(folder):
    assert run("-p", "pair.pt", "--ensemble", "nvt", "--output", "cut") == 0
    assert main(["resume", "cut", "--steps", "40", "-q"]) == 0
    assert main(["relax", "argon.xyz", "-p", "both.pt", "--fmax", "0.002", "--steps", "400", "--output", "relaxed.extxyz", "--device", "cpu"]) in (0, 6)
    assert np.abs(read("relaxed.extxyz").get_forces()).max() < np.abs(_forces("both.pt", crystal())).max()


def test_the_card_says_what_a_potential_provides_and_promises(folder, capsys):
    assert main(["potentials", "free.pt", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["provides"] == ["forces"] and (card["conservative"], card["equivariant"], card["net_force_zero"]) == (False, False, False)


def test_train_and_evaluate_serve_direct_forces(folder, capsys):
    frames = []
    for k in range(8):
        atoms = crystal(k, 0.2)
        atoms.calc = LennardJones(sigma=3.405, epsilon=0.0103, rc=5.0)
        atoms.info.update(REF_energy=atoms.get_potential_energy(), REF_stress=atoms.get_stress(voigt=False))
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write("data.xyz", frames, format="extxyz")
    (folder / "train.toml").write_text(TRAIN)
    assert main(["train", "train.toml"]) == 0
    kept = list(csv.DictReader((folder / "trained/kept.csv").read_text().splitlines()))
    assert [row["file"] for row in kept] == ["epoch-0002.pt", "epoch-0004.pt"] and (folder / "trained/epoch-0004.pt").exists()
    log = list(csv.DictReader((folder / "trained/log.csv").read_text().splitlines()))
    assert all(float(log[-1][f"validation_forces_mae_{x}_meV_A"]) > 0 for x in "xyz")
    assert main(["evaluate", "data.xyz", "-p", "trained/best.pt", "--output", "errors", "--device", "cpu"]) == 0
    errors = json.loads((folder / "errors/errors.json").read_text())["data"]["data.xyz"]["errors"]
    assert errors["forces_mae_meV_A"] > 0 and "energy_mae_meV" not in errors


def test_a_loss_on_what_a_head_does_not_give_is_refused(folder, capsys):
    write("data.xyz", crystal(), format="extxyz")
    (folder / "train.toml").write_text(TRAIN.replace("energy = 0.0", "energy = 1.0"))
    assert main(["train", "train.toml"]) == 2
    assert "energy has a weight, but message-passing as configured provides forces" in capsys.readouterr().err
    assert not (folder / "trained").exists()


def _forces(file, atoms):
    from potentials import load_calculator

    atoms.calc = load_calculator(file)
    return atoms.get_forces()
