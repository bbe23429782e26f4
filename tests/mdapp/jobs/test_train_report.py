"""What `mdapp train` shows and decides beyond the loop: dynamics between validations, pictures at the end."""
import csv
import json

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from mdapp.cli import main
from mdapp.errors import PotentialError
from mdapp.jobs._stability import stability_runs
from mdapp.jobs._training_report import MOST_FORCES, Parity
from mdapp.jobs.train import train
from mdapp.screen import silent
from potentials.calculator import load_potential
from potentials.training.config import StabilityConfig

CONFIG = """
[train]
output = "trained"
max_steps = 6
batch_size = 4
validate_every = 2
seed = 1
best_by = "stability"
[train.data]
train = "data.xyz"
validation_fraction = 0.3
cleaning = "off"
[train.potential.config]
num_layers = 1
num_features = 8
num_heads = 2
degrees = [1, 2]
[train.stability]
structures = ["water.xyz", "methanol.xyz"]
every_validations = 2
time_ps = 0.005
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = []
    for k in range(12):
        atoms = molecule(("H2O", "CH3OH")[k % 2])
        atoms.rattle(0.05, seed=k)
        atoms.calc = EMT()
        atoms.info.update(REF_energy=atoms.get_potential_energy(), molecule=str(atoms.symbols))
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write("data.xyz", frames, format="extxyz")
    write("water.xyz", molecule("H2O"))
    write("methanol.xyz", molecule("CH3OH"))
    (tmp_path / "train.toml").write_text(CONFIG)
    return tmp_path


def rows(folder):
    with open(folder / "trained/log.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_dynamics_stand_beside_the_errors_and_choose_the_best(folder):
    assert train("train.toml").exit_code == 0
    measured = [row["stability_ps"] for row in rows(folder)]
    assert [bool(m) for m in measured] == [True, False, True]  # the first, every second from there, and the end
    assert all(0 <= float(m) <= 0.005 for m in measured if m) and all(row["stable_structures"] in ("", "0", "1", "2") for row in rows(folder))
    card = load_potential("trained/best.pt").card.training
    assert card["best_by"] == "stability" and len(card["stability_ps"]) == 2


def test_dynamics_do_not_change_what_is_learnt(folder):
    import torch

    train("train.toml")
    (folder / "plain.toml").write_text(CONFIG.partition("[train.stability]")[0].replace('best_by = "stability"', "").replace("trained", "plain"))
    train("plain.toml")
    a, b = (torch.load(f"{name}/last.pt", weights_only=True)["weights"] for name in ("trained", "plain"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_sound_potential_holds_and_a_wild_one_fails(folder):
    config = StabilityConfig(("water.xyz",), time_ps=0.03)
    held = stability_runs(config, "cpu", silent())
    sound = load_potential("so3krates")
    assert held(sound) == [0.03] and held(sound) == held(sound)
    with_noise = load_potential("so3krates")
    for p in with_noise.parameters():
        p.data *= 1.7
    assert held(with_noise)[0] < 0.03


def test_elements_that_the_potential_does_not_know_are_named(folder):
    write("salt.xyz", molecule("NaCl"))
    with pytest.raises(PotentialError, match=r"\[train.stability\] salt.xyz: .*Na"):
        stability_runs(StabilityConfig(("salt.xyz",)), "cpu", silent())(load_potential("so3krates"))


@pytest.mark.parametrize(
    "before, after, code, claim",
    [
        ('"water.xyz"', '"none.xyz"', 5, "none.xyz does not exist"),
        ('structures = ["water.xyz", "methanol.xyz"]', "structures = []", 2, "structures must name at least one file"),
        ("time_ps = 0.005", "time_ps = 0", 2, "time_ps must be > 0, got 0"),
        ("every_validations", "every_epoch", 2, "unknown key 'every_epoch'"),
        ('best_by = "stability"', 'best_by = "stabilty"', 2, "did you mean 'stability'"),
    ],
)
def test_what_dynamics_cannot_be_run_is_refused_before_training(folder, capsys, before, after, code, claim):
    (folder / "train.toml").write_text(CONFIG.replace(before, after, 1))
    assert main(["train", "train.toml", "-q"]) == code
    said = capsys.readouterr()
    assert claim in said.err and len(said.err.strip().splitlines()) == 1
    assert not (folder / "trained").exists()


def test_best_by_stability_needs_structures(folder, capsys):
    (folder / "train.toml").write_text(CONFIG.partition("[train.stability]")[0])
    assert main(["train", "train.toml", "-q"]) == 2
    assert "best_by = 'stability' needs a table [train.stability]" in capsys.readouterr().err


def test_pictures_and_the_numbers_behind_them(folder):
    train("train.toml")
    here = folder / "trained"
    for name in ("learning", "parity-energy", "parity-forces"):
        assert (here / f"{name}.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (here / f"{name}.svg").read_text()[:600]
    errors = json.loads((here / "errors.json").read_text())["errors"]
    with open(here / "parity-energy.csv", newline="") as file:
        energies = [(float(r["energy_eV"]), float(r["predicted_eV"]), int(r["n_atoms"]), r["composition"]) for r in csv.DictReader(file)]
    assert {e[3] for e in energies} <= {"H2O", "CH4O"} and len(energies) == errors["frames"]
    assert np.mean([abs(p - e) / n for e, p, n, _ in energies]) * 1000 == pytest.approx(errors["energy_mae_meV_atom"], rel=1e-3)
    forces = np.loadtxt(here / "parity-forces.csv", delimiter=",", skiprows=1)
    assert np.abs(forces[:, 1] - forces[:, 0]).mean() * 1000 == pytest.approx(errors["forces_mae_meV_A"], rel=1e-4)
    assert not list(here.glob(".*"))


def test_many_forces_are_thinned_evenly():
    import torch

    from potentials.training.loss import Prediction

    class Batch:
        atom_counts = torch.tensor([100])
        energy = torch.zeros(1)

        class graph:
            numbers = torch.ones(100, dtype=torch.int64)

    parity, n = Parity(), 700
    for k in range(n):
        Batch.forces = torch.arange(300.0, dtype=torch.float64).reshape(100, 3) + 300 * k
        parity.add(np.array([k]), Batch, Prediction(torch.zeros(1), Batch.forces))
    kept = np.concatenate(parity.forces)[:, 0]
    assert parity.n_forces == 300 * n and MOST_FORCES / 2 <= len(kept) <= MOST_FORCES
    assert np.all(np.diff(kept) == parity.stride)


def test_a_shipped_potential_is_fine_tuned_from_the_command_line(folder, capsys):
    text = CONFIG.partition("[train.potential.config]")[0].replace('best_by = "stability"', "") + '[train.fine_tune]\nfrom = "so3krates.pt"\nwhat = "head"\n'
    (folder / "tune.toml").write_text(text)
    assert main(["train", "tune.toml"]) == 0
    said = capsys.readouterr().out
    assert "Fine-tuning so3krates.pt (so3krates, GFN2-xTB" in said and "weights may change" in said
    assert load_potential("trained/best.pt").card.training["fine_tuned_from"]["what"] == "head"
    assert train("trained/config.toml", changes={"output": "again"}).exit_code == 0  # the resolved config is the same training
    for wrong, claim in (('from = "so3krate.pt"', "no potential file 'so3krate.pt'"), ('what = "haed"', "what names no weight: haed")):
        (folder / "tune.toml").write_text(text.replace('from = "so3krates.pt"', wrong) if wrong.startswith("from") else text.replace('what = "head"', wrong))
        assert main(["train", "tune.toml", "-q", "--output", "other"]) == 2
        assert claim in capsys.readouterr().err and not (folder / "other").exists()


def test_tensorboard_that_is_missing_is_told_at_once(folder, capsys, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (folder / "train.toml").write_text(CONFIG.replace("seed = 1", "seed = 1\ntensorboard = true"))
    assert main(["train", "train.toml", "-q"]) == 2
    assert "tensorboard is not installed: pip install '.[tensorboard]'" in capsys.readouterr().err
    assert not (folder / "trained").exists()
