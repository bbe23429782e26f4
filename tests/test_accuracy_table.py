"""The table of accuracies: its rows are what an evaluation says, old rows give way, and a path with a kink is no smooth path."""
import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import write

from potentials.architectures import architectures
from potentials.checkpoint import Card, save_potential

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
LIST = """
[[set]]
name = "toy"
config = "toy.toml"
rows = [
  { data = "toy.xyz", split = "test", metric = "forces_mae_meV_A", unit = "kcal/mol/A", must = 1e9, aim = 1e-9, published = "someone, somewhere" },
  { data = "toy.xyz", split = "test", metric = "energy_mae_meV", unit = "meV" },
  { data = "toy.xyz", split = "test", metric = "spearman_median", unit = "1", must = -2, aim = -1.5, larger_is_better = true },
  { data = "absent.xyz", split = "absent", metric = "energy_mae_meV", unit = "meV", must = 1.0 },
]
[[set]]
name = "untrained"
config = "x.toml"
rows = [{ data = "toy.xyz", split = "test", metric = "energy_mae_meV", unit = "meV" }]
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """The script on a list of one small potential and one file; returns its exit code."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    frames = []
    for k in range(6):
        atoms = molecule("CH3OH")
        atoms.rattle(0.05, seed=k)
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write(tmp_path / "toy.xyz", frames, format="extxyz")
    kind = architectures.get("so3krates")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        potential = kind(kind.Config(num_layers=1, num_features=8, num_heads=2, degrees=(1, 2), num_radial_basis_fn=6, energy_regression_dim=8))
    (tmp_path / "toy").mkdir()
    save_potential(tmp_path / "toy" / "best.pt", potential, Card(training={"hours": 0.25, "device": "cpu"}))
    (tmp_path / "list.toml").write_text(LIST)
    import accuracy_table

    def run(*words):
        options = ["--data", tmp_path, "--potentials", tmp_path, "--list", tmp_path / "list.toml", "--results", tmp_path / "accuracy.csv", "--threads", "1"]
        monkeypatch.setattr(sys, "argv", ["accuracy_table.py", *words, *map(str, options)])
        return accuracy_table.main()

    return run


def rows(folder):
    with (folder / "accuracy.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_say_what_was_measured_and_take_the_place_of_older_ones(call, tmp_path, capsys):
    from mdapp.config import EvaluateConfig
    from mdapp.jobs.evaluate import evaluate

    assert call() == 0
    said = capsys.readouterr().out
    assert "untrained: no untrained.pt" in said and "absent.xyz not in" in said
    forces, energy, order = rows(tmp_path)
    data = str(tmp_path / "toy.xyz")
    errors = evaluate(EvaluateConfig(data=(data,), potential=(str(tmp_path / "toy/best.pt"),), device="cpu")).summary["data"][data]["errors"]
    assert float(forces["value"]) == pytest.approx(errors["forces_mae_meV_A"] * 0.0230605, rel=1e-3) and forces["unit"] == "kcal/mol/A"
    assert float(energy["value"]) == pytest.approx(errors["energy_mae_meV"], rel=1e-3)
    assert [row["reached"] for row in (forces, energy, order)] == ["must", "", "aim"]
    assert (forces["training_hours"], forces["trained_on"], forces["frames"], forces["published"]) == ("0.25", "cpu", "6", "someone, somewhere")
    assert forces["command"] == "mdapp train toy.toml; python scripts/accuracy_table.py toy" and str(tmp_path) not in (tmp_path / "accuracy.csv").read_text()
    (tmp_path / "accuracy.csv").write_text((tmp_path / "accuracy.csv").read_text().replace("toy,test,energy_mae", "other,test,energy_mae"))
    assert call("toy") == 0 and [row["set"] for row in rows(tmp_path)] == ["toy", "other", "toy", "toy"]


def test_a_short_look_keeps_nothing(call, tmp_path, capsys):
    assert call("toy", "--limit", "2") == 0 and not (tmp_path / "accuracy.csv").exists()
    assert "forces_mae" in capsys.readouterr().out


def test_unknown_sets_are_refused_by_name(call):
    with pytest.raises(SystemExit, match="No set tooy in .*; known: toy, untrained"):
        call("tooy")


def test_the_list_of_the_house_is_sound(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from accuracy_table import SCALE, sets

    for one in sets(SCRIPTS / "accuracy.toml"):
        assert (SCRIPTS.parent / one["config"]).is_file(), one["name"]
        for row in one["rows"]:
            assert row["unit"] in SCALE and {"data", "split", "metric", "unit"} <= row.keys() <= {
                "data", "split", "metric", "unit", "must", "aim", "published", "larger_is_better", "every"}


class Shared(Calculator):
    """A proton between two oxygens on a spring: a Morse well at each, which a step of the energy at some distance may spoil."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, kink=0.0, wrong_forces=0.0):
        super().__init__()
        self.kink, self.wrong_forces = kink, wrong_forces

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        r, f = atoms.positions, np.zeros((3, 3))
        energy = 0.0
        for a, b, curve in ((0, 2, self.well), (1, 2, self.well), (0, 1, lambda d: (50 * (d - 2.9) ** 2, 100 * (d - 2.9)))):
            d = np.linalg.norm(r[b] - r[a])
            e, slope = curve(d)
            energy += e
            pull = slope * (r[b] - r[a]) / d
            f[a] += pull
            f[b] -= pull
        self.results = {"energy": energy, "free_energy": energy, "forces": f * (1 + self.wrong_forces)}

    def well(self, d):
        x = np.exp(-2.2 * (d - 0.97))
        beyond = max(d - 1.2, 0.0)  # a kink in the slope at 1.2 Å
        return 4.6 * (1 - x) ** 2 + self.kink * beyond, 2 * 4.6 * 2.2 * (1 - x) * x + self.kink * (beyond > 0)


@pytest.mark.parametrize("options, smooth, same", [({}, True, True), ({"kink": 0.2}, False, True), ({"wrong_forces": 0.05}, True, False)])
def test_kinks_and_wrong_slopes_show_on_the_path(monkeypatch, options, smooth, same):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from _transfer import proton_transfer

    start = Atoms("OOH", [[0, 0, 0], [2.9, 0, 0], [1.0, 0.05, 0]])
    found = proton_transfer(start, Shared(**options), fmax=0.002)
    assert 100 < found.barrier_meV < 3000
    assert (found.kink < 0.005) if smooth else (found.kink > 0.5)
    if smooth:
        assert (found.slope_error_meV < 1.0) == same and found.extrema == 1 and found.energy[-1] == pytest.approx(0, abs=1e-3)  # the ends are alike


def test_a_molecule_without_a_proton_to_move_is_refused(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from _transfer import proton_transfer

    with pytest.raises(ValueError, match="two oxygens; .* has 1"):
        proton_transfer(molecule("H2O"), EMT())


def test_of_several_starts_the_lowest_path_counts(monkeypatch):
    """A third atom that stands otherwise at the end makes the straight line climb; the proton's own path does not."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import _transfer

    barriers = iter([470.0, 43.0, 300.0])

    def told(start, calculator, steps):
        if len(start) == 3:
            raise ValueError("no proton here")
        return _transfer.Transfer(np.zeros(5), next(barriers), 1, 0.0, 0.0)

    monkeypatch.setattr(_transfer, "proton_transfer", told)
    four, three = Atoms("OOHH", np.eye(4, 3)), Atoms("OOH", np.eye(3))
    assert _transfer.lowest_transfer([four, three, four, four], EMT()).barrier_meV == 43.0
    with pytest.raises(ValueError, match="no proton here"):
        _transfer.lowest_transfer([three], EMT())
