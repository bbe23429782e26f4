"""`mdapp learn`: rounds on the disk, labels where the committee disagrees, nothing from behind a broken guard."""
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read, write

from mdapp.cli import main
from mdapp.config.learn import ExploreConfig, LearnConfig
from mdapp.errors import OutputError, RunFolderError
from mdapp.jobs import _learn_explore
from mdapp.jobs._learn_start import known_frames
from mdapp.jobs.learn import _flat, learn
from potentials.calculator import load_calculator

CONFIG = """
[learn]
structures = ["start.xyz"]
calculator = "emt"
output = "loop"
members = 2
rounds = 2
first = 12
first_held_out = 3
labels = 3
least_spread = 0.0
most_spread = 1e6
workers = 1
guard = ["off"]

[learn.explore]
steps = 20
every = 5

[learn.train]
max_steps = 4
domain = true
batch_size = 4
validate_every = 4

[learn.train.potential]
name = "so3krates"
config = { num_layers = 1, num_features = 8, num_heads = 2, degrees = [1, 2], num_radial_basis_fn = 6, energy_regression_dim = 8, cutoff = 4.0 }
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    write("start.xyz", molecule("H2O"))
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "learn.toml").write_text(CONFIG)
    return tmp_path


def test_rounds_grow_the_labels_and_a_loop_cut_short_goes_on(here):
    result = learn("learn.toml")
    assert result.exit_code == 6 and "2 rounds were not enough" in result.summary["why"]
    rows = list(csv.DictReader((here / "loop" / "rounds.csv").read_text().splitlines()))
    assert [int(r["labels"]) for r in rows] == [12, 12 + int(rows[0]["chosen"])] and 1 <= int(rows[0]["chosen"]) <= 3
    assert all(float(r["forces_rmse_eV_A"]) > 0 and float(r["held_out_spread_eV_A"]) > 0 for r in rows)
    assert (here / "loop" / "learning.png").stat().st_size > 5000 and len(read("loop/held-out.xyz", ":")) == 3
    first, last = (torch.load(f"loop/round-{k:03d}/member-0/best.pt", weights_only=True) for k in (0, 1))
    assert first["card"]["level_of_theory"].startswith("effective medium") and "domain" in last
    assert "fine_tun" in str(last["card"]["training"]) or "round-000" in str(last["card"])  # it went on from its last weights
    assert {tuple(m["weights"]["element_embedding.weight"].flatten().tolist()) for m in (first, last)} != set()
    assert not np.allclose(read("loop/round-001/labelled.xyz", 0).positions, molecule("H2O").positions)

    held_out = (here / "loop" / "held-out.xyz").read_bytes()
    (here / "loop" / "held-out.xyz").write_bytes(held_out[: len(held_out) // 2])  # as a kill among the labels of what is held out leaves it
    (here / "loop" / "round-000" / "round.json").unlink()
    assert learn("learn.toml", resume=True).summary["history"][0]["forces_rmse_eV_A"] == pytest.approx(float(rows[0]["forces_rmse_eV_A"]), rel=1e-4)
    assert (here / "loop" / "held-out.xyz").read_bytes() == held_out

    kept = (here / "loop" / "round-001" / "member-0" / "best.pt").read_bytes()
    labels = (here / "loop" / "round-001" / "labelled.xyz").read_bytes()
    (here / "loop" / "round-001" / "round.json").unlink()
    shutil.rmtree(here / "loop" / "round-001" / "member-1")  # as a kill between two members leaves it
    again = learn("learn.toml", resume=True)
    assert again.exit_code == 6 and len(again.summary["history"]) == 2
    assert (here / "loop" / "round-001" / "member-0" / "best.pt").read_bytes() == kept
    assert (here / "loop" / "round-001" / "labelled.xyz").read_bytes() == labels
    assert again.summary["history"][1]["forces_rmse_eV_A"] == pytest.approx(result.summary["history"][1]["forces_rmse_eV_A"], rel=1e-5)

    with pytest.raises(OutputError, match="--resume"):
        learn("learn.toml")
    with pytest.raises(RunFolderError, match="another labels"):
        learn("learn.toml", resume=True, changes={"labels": 5})


@pytest.mark.parametrize("name, settings", [
    ("behler-parrinello", '{ hidden = [6], cutoff = 4.0, grid = { scheme = "imbalzano", n_radial = 4, n_angular = 2 }, selection = { keep = 6 } }'),
    ("message-passing", '{ num_features = 8, num_layers = 1, num_radial_basis_fn = 8, cutoff = 4.0 }'),
])  # fmt: skip
def test_every_architecture_goes_on_from_its_last_weights(here, name, settings):
    lines = [line for line in CONFIG.splitlines() if not line.startswith(("name = ", "config = "))]
    (here / "learn.toml").write_text("\n".join([*lines, f'name = "{name}"', f"config = {settings}"]))
    result = learn("learn.toml")
    assert result.exit_code == 6 and len(result.members) == 2
    first, last = (torch.load(f"loop/round-{k:03d}/member-0/best.pt", weights_only=True) for k in (0, 1))
    assert first["architecture"] == last["architecture"] == name and first["config"] == last["config"]
    assert ["fine_tuned_from" in file["card"]["training"] for file in (first, last)] == [False, True]  # it went on from its last weights
    atoms = molecule("H2O")
    atoms.calc = load_calculator([str(m) for m in result.members])
    assert np.isfinite(atoms.get_forces()).all() and atoms.calc.results["forces_spread"].max() > 0


class Doubtful(Calculator):
    """A spring whose committee loses its way after some calls."""

    implemented_properties = ["energy", "forces"]
    elements = None

    def __init__(self, lost_after):
        super().__init__()
        self.lost_after, self.calls = lost_after, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        away = self.atoms.positions - molecule("H2O").positions
        doubt = 0.1 if self.calls < self.lost_after else 9.0
        self.results = {"energy": float(0.5 * (away**2).sum()), "forces": -away, "forces_spread": np.full(len(away), doubt)}


@pytest.mark.parametrize("lost_after, most", [(10_000, 200), (95, 85)])
def test_no_configuration_comes_from_behind_a_broken_guard(lost_after, most, monkeypatch, tmp_path):
    calculator = Doubtful(lost_after)
    monkeypatch.setattr("potentials.calculator.load_calculator", lambda *_, **__: calculator)
    config = LearnConfig("start.xyz", "emt", {}, explore=ExploreConfig(steps=200, every=5), guard=("uncertainty",))
    explored = _learn_explore.explore(config, [molecule("H2O")], [tmp_path / "m.pt"], tmp_path, 0, lambda: False)
    assert len(explored.found) == pytest.approx(most / 5, abs=1.1)
    assert bool(explored.reasons) == (lost_after < 200)
    assert explored.mean_held_ps == pytest.approx(0.1 if lost_after > 200 else 0.05, abs=0.006)
    for atoms in explored.found:
        assert np.abs(atoms.positions - molecule("H2O").positions).max() < 2


def test_ways_down_are_configurations_too(monkeypatch, tmp_path):
    monkeypatch.setattr("potentials.calculator.load_calculator", lambda *_, **__: Doubtful(10**9))
    config = LearnConfig("start.xyz", "emt", {}, explore=ExploreConfig(method="optimiser", steps=60, every=5, rattle=0.05, walks=2))
    explored = _learn_explore.unbroken(_learn_explore.explore(config, [molecule("H2O")], [tmp_path / "m.pt"], tmp_path, 0, lambda: False))
    away = [np.abs(a.positions - molecule("H2O").positions).max() for a in explored.found]
    assert len(away) > 4 and min(away) < 0.02 < max(away)
    same = _learn_explore.Explored([*explored.found, *explored.found])
    assert len(_learn_explore.unbroken(same).found) == len(explored.found)


def test_flat_is_told_by_error_and_spread_together():
    row = lambda error, spread: {"forces_rmse_eV_A": error, "held_out_spread_eV_A": spread}
    assert _flat(row(1.0, 1.0), row(0.97, 0.98), 0.05) and _flat(row(1.0, 1.0), row(1.2, 1.0), 0.05)
    assert not _flat(row(1.0, 1.0), row(0.9, 1.0), 0.05) and not _flat(row(1.0, 1.0), row(1.0, 0.9), 0.05)


@pytest.mark.parametrize(
    "before, after, match",
    [
        ("members = 2", "members = 1", "members must be 2 or more"),
        ("members = 2", "membres = 2", "unknown key 'membres'"),
        ("most_spread = 1e6", "most_spread = -1.0", "least_spread and most_spread"),
        ('calculator = "emt"', 'calculator = "emtt"', "Did you mean 'emt'"),
        ("max_steps = 4", 'max_steps = 4\ndata = "x.xyz"', "data is set by the loop itself"),
        ("max_steps = 4", "max_stepz = 4", "unknown key 'max_stepz'"),
        ("num_heads = 2", "num_headz = 2", "of so3krates: unknown key 'num_headz'"),
        ('name = "so3krates"', 'name = "so3krate"', "No architecture 'so3krate'"),
        ("steps = 20", "steps = 2", "nothing would be looked at"),
        ('guard = ["off"]', 'guard = ["energy-drit"]', "guard 'energy-drit' is unknown"),
        ('"start.xyz"', '"nothing.xyz"', "nothing.xyz does not exist"),
        ("members = 2", 'members = 2\nheld_out = "no.xyz"', "No labelled file no.xyz"),
        ("members = 2", 'members = 2\nheld_out = "start.xyz"', "No energy in frame 0 of start.xyz"),
        ("members = 2", 'members = 2\nheld_out = "empty.xyz"', "empty.xyz holds no frames"),
        ("members = 2", 'members = 2\ndata = "start.xyz"', "No energy in frame 0 of start.xyz"),
        ("members = 2", 'members = 2\nbegin_from = "nothing.pt"', "begin_from: No potential 'nothing.pt'"),
        ("members = 2", 'members = 2\nbegin_from = "start.xyz"', "begin_from: start.xyz is not a potential file"),
        ('calculator = "emt"', 'calculator = "torchani:ANI9"', "has no model 'ANI9'"),
    ],
)
def test_bad_settings_are_answered_in_a_sentence_before_anything_is_made(here, capsys, before, after, match):
    (here / "learn.toml").write_text(CONFIG.replace(before, after, 1))
    assert main(["learn", "learn.toml"]) in (2, 5)
    said = capsys.readouterr().err
    assert match in said and said.count("\n") == 1 and not (here / "loop").exists()


def test_the_whole_file_is_shown_and_read_back(here, capsys):
    assert main(["learn", "learn.toml", "--dry-run", "--rounds", "7"]) == 0
    shown = capsys.readouterr().out
    (here / "again.toml").write_text(shown)
    assert main(["learn", "again.toml", "--dry-run"]) == 0
    assert capsys.readouterr().out == shown and "rounds = 7" in shown


def test_a_name_is_needed(capsys):
    assert main(["learn"]) == 2 and "name the TOML file" in capsys.readouterr().err
    assert main(["learn", "--json", "none.toml"]) == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "refused"


def test_labelled_files_of_any_form_are_counted_and_judged_by(here):
    atoms = molecule("H2O")
    np.savez("known.npz", R=[atoms.positions] * 3, z=atoms.numbers, E=[-1.0, -2.0, -3.0], F=np.ones((3, 3, 3)), e_unit="eV", r_unit="Ang")
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -4.0, np.ones((3, 3))
    write("known.xyz", atoms, format="extxyz")
    for name, energies in (("known.npz", [-1.0, -2.0, -3.0]), ("known.xyz", [-4.0])):
        found = known_frames(Path(name))
        assert [a.get_potential_energy() for a in found] == pytest.approx(energies) and all((a.get_forces() == 1).all() for a in found)
