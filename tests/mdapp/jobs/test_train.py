"""`mdapp train` and `mdapp evaluate` from Python and from the command line."""
import csv
import json

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from mdapp.cli import main
from mdapp.config import EvaluateConfig
from mdapp.jobs.evaluate import evaluate
from mdapp.jobs.train import train
from potentials.training.config import read_config

CONFIG = """
[train]
output = "trained"
level_of_theory = "EMT"
max_steps = 6
batch_size = 4
validate_every = 3
seed = 1
[train.data]
train = "data.xyz"
validation_fraction = 0.3
[train.potential]
name = "so3krates"
[train.potential.config]
num_layers = 1
num_features = 8
num_heads = 2
degrees = [1, 2]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with frames of two molecules, labelled by EMT, and a config."""
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
    (tmp_path / "train.toml").write_text(CONFIG)
    return tmp_path


def test_train_gives_a_potential_that_evaluate_reads(folder):
    result = train("train.toml")
    assert result.exit_code == 0 and result.summary["verdict"] == "finished" and result.summary["steps"] == 6
    found = evaluate(EvaluateConfig(data=("data.xyz",), potential=("trained/best.pt",), device="cpu", output="errors")).summary["data"]["data.xyz"]
    assert found["errors"]["frames"] == 12 and {name: m["frames"] for name, m in found["molecules"].items()} == {"OH2": 6, "COH4": 6}
    with open("errors/frames.csv", newline="") as file:
        errors = [float(row["error_meV_atom"]) for row in csv.DictReader(file)]
    assert np.mean(np.abs(errors)) == pytest.approx(found["errors"]["energy_mae_meV_atom"], rel=1e-3)
    assert np.mean(errors) == pytest.approx(found["energy_offset_meV_atom"], rel=1e-3)
    assert all((folder / "errors" / name).stat().st_size > 5000 for name in ("parity-energy.png", "parity-forces.png"))


def test_the_config_in_the_folder_is_the_same_training(folder):
    train("train.toml")
    assert read_config("trained/config.toml") == read_config("train.toml")


def test_a_labels_own_calculator_has_no_error(folder):
    found = evaluate(EvaluateConfig(data=("data.xyz",), potential=("emt",), device="cpu")).summary["data"]["data.xyz"]["errors"]
    assert found["energy_mae_meV_atom"] < 1e-3 and found["forces_mae_meV_A"] < 1e-3  # eight digits in the file


def test_train_from_the_command_line_stops_resumes_and_says_so_in_json(folder, capsys):
    (folder / "trained").mkdir()
    (folder / "trained/STOP").touch()
    assert main(["train", "train.toml", "--json", "--max-hours", "0.1"]) in (0, 3)  # 3 where the file was seen within six steps
    capsys.readouterr()
    (folder / "trained/STOP").unlink()
    assert main(["train", "train.toml", "--resume", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["steps"] == 6 and "validation" in said.err


@pytest.mark.parametrize(
    "before, after, words, code, claim",
    [
        ("seed = 1", "sed = 1", [], 2, "unknown key 'sed' (did you mean 'seed'?)"),
        ('name = "so3krates"', 'name = "so3krate"', [], 2, "No architecture 'so3krate'. Did you mean 'so3krates'?"),
        ("num_heads = 2", "num_heads = 3", [], 2, "num_features must be divisible by num_heads"),
        ('"data.xyz"', '"none.xyz"', [], 5, "No file none.xyz"),
        ("validation_fraction = 0.3", "validation_fraction = 0.01", [], 5, "leaves 12 for training and 0 for validation"),
        ("", "", ["--resume"], 2, "nothing to resume from"),
        ('output = "trained"', 'output = "data.xyz/x"', [], 2, "Cannot write to"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line_and_leaves_nothing(folder, capsys, before, after, words, code, claim):
    (folder / "train.toml").write_text(CONFIG.replace(before, after, 1))
    assert main(["train", "train.toml", "-q", *words]) == code
    said = capsys.readouterr()
    assert claim in said.err and len(said.err.strip().splitlines()) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["data.xyz", "train.toml"]


def test_a_second_training_does_not_overwrite_the_first(folder, capsys):
    assert main(["train", "train.toml", "-q"]) == 0
    before = (folder / "trained/best.pt").read_bytes()
    assert main(["train", "train.toml", "-q"]) == 2
    assert "holds a training run" in capsys.readouterr().err
    assert (folder / "trained/best.pt").read_bytes() == before


@pytest.mark.parametrize(
    "words, code, claim",
    [
        (["none.xyz", "-p", "emt"], 5, "No file none.xyz"),
        (["train.toml", "-p", "emt"], 5, "no known format has this suffix"),
        (["data.xyz", "-p", "nothing.pt"], 5, "No potential 'nothing.pt'"),
        (["data.xyz", "-p", "emt", "--output", "."], 2, "exists already"),
        (["data.xyz", "-p", "emt", "--limit", "0"], 2, "limit"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(folder, capsys, words, code, claim):
    assert main(["evaluate", *words, "-q"]) == code
    assert claim in capsys.readouterr().err


def test_limit_takes_frames_evenly(folder):
    found = evaluate(EvaluateConfig(data=("data.xyz",), potential=("emt",), device="cpu", limit=4)).summary["data"]["data.xyz"]
    assert found["errors"]["frames"] == 4


def test_elements_that_the_potential_does_not_know_are_named(folder, capsys):
    train("train.toml")
    sulphur = molecule("SH2")
    sulphur.info["REF_energy"] = -1.0
    write("s.xyz", sulphur, format="extxyz")
    assert main(["evaluate", "s.xyz", "-p", "trained/best.pt", "-q"]) == 5
    assert "S, which the potential does not know; it knows H, C, O" in capsys.readouterr().err
