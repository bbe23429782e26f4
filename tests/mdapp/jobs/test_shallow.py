"""A shallow ensemble goes where a committee goes: the table, the trajectory, the guard, the calibration, the learning loop."""
import json

import h5py
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from scipy.stats import spearmanr

from mdapp.cli import main
from mdapp.config import EvaluateConfig
from mdapp.jobs.evaluate import evaluate
from potentials.architectures import architectures
from potentials.checkpoint import load_potential, save_potential
from potentials.neighbours import graph_for
from potentials.shallow import of_all_heads

SETTINGS = dict(num_layers=1, num_features=8, num_heads=2, degrees=(1, 2), num_radial_basis_fn=6, energy_regression_dim=8, cutoff=4.0, energy_heads=4)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    kind = architectures.get("so3krates")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_potential("heads.pt", kind(kind.Config(**SETTINGS)))
    write("water.xyz", molecule("H2O"))
    frames = []
    for k in range(8):
        frames.append(molecule("H2O"))
        frames[-1].rattle(0.05, seed=k)
        frames[-1].calc = EMT()
        frames[-1].get_forces()
    write("data.xyz", frames, format="extxyz")
    return tmp_path


def test_table_trajectory_and_guard_have_the_spread(here):
    words = ["--temperature", "5K", "--timestep", "0.1fs", "--steps", "20", "--every", "10", "--output", "run", "--on-event", "warn", "-q"]
    guard = ["--guard", "uncertainty:warn_spread_eV_per_A=1e-9,stop_spread_eV_per_A=1e3"]
    assert main(["run", "water.xyz", "-p", "heads.pt", *words, *guard]) == 0
    table = np.genfromtxt("run/thermo.csv", delimiter=",", names=True)
    assert len(table) == 3 and (table["spread_eV_A"] > 0).all()
    events = [json.loads(line) for line in (here / "run/events.jsonl").read_text().splitlines()]
    assert any("disagrees" in str(event) for event in events)
    with h5py.File("run/trajectory.h5") as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if name.endswith("forces_spread") else None)
        assert file[names[0]].shape == (3, 3)
        np.testing.assert_allclose(file[names[0]][:].max(1), table["spread_eV_A"], atol=1e-6)


def test_calibration_takes_the_heads_for_members(here):
    found = evaluate(EvaluateConfig(("data.xyz",), ("heads.pt",), calibration=True, device="cpu")).summary["data"]["data.xyz"]["calibration"]
    assert found["forces"]["values"] == 8 * 9
    potential, errors, spreads = load_potential("heads.pt", "float64"), [], []
    for atoms in read("data.xyz", ":"):
        said = of_all_heads(potential, graph_for(atoms, potential))
        errors.append((said.forces - torch.from_numpy(atoms.get_forces())).ravel())
        spreads.append((said.forces_spread / 3**0.5).repeat_interleave(3))
    assert found["forces"]["spearman"] == pytest.approx(spearmanr(torch.cat(spreads), torch.cat(errors).abs())[0], abs=2e-3)  # float32 and ties


def test_a_loop_may_have_one_member_with_heads(here):
    (here / "learn.toml").write_text("""
[learn]
structures = ["water.xyz"]
calculator = "emt"
output = "loop"
members = 1
rounds = 2
first = 8
first_held_out = 2
labels = 2
least_spread = 0.0
most_spread = 1e6
workers = 1
guard = ["off"]
begin_from = "heads.pt"

[learn.explore]
steps = 20
every = 5

[learn.train]
max_steps = 3
batch_size = 4
validate_every = 3
""")
    assert main(["learn", "learn.toml", "-q"]) == 6
    rows = json.loads((here / "loop/summary.json").read_text())["history"]
    assert [row["labels"] for row in rows] == [8, 8 + rows[0]["chosen"]] and all(row["held_out_spread_eV_A"] > 0 for row in rows)
    assert load_potential("loop/round-000/member-0/best.pt").energy_heads == 4


def test_one_member_without_heads_disagrees_with_nobody(here, capsys):
    (here / "learn.toml").write_text("""
[learn]
structures = ["water.xyz"]
calculator = "emt"
members = 1
[learn.train]
max_steps = 3
""")
    assert main(["learn", "learn.toml"]) == 2
    assert "energy_heads" in capsys.readouterr().err and not (here / "learning").exists()
