"""`mdapp evaluate --calibration`: what a committee says of itself, against its errors."""
import json
from math import erf, sqrt

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from mdapp.cli import main
from mdapp.config import EvaluateConfig
from mdapp.errors import UserError
from mdapp.jobs.evaluate import evaluate
from potentials.architectures import architectures
from potentials.calculator import load_calculator
from potentials.checkpoint import save_potential
from potentials.neighbours import graph_for
from potentials.uncertainty import domain_of

SMALL = dict(num_layers=1, num_features=8, num_heads=2, degrees=(1, 2), num_radial_basis_fn=6, energy_regression_dim=8, output_is_zero_at_init=False, cutoff=4.0)


def labelled(n=8):
    frames = []
    for k in range(n):
        atoms = molecule(("H2O", "CH3OH")[k % 2])
        atoms.rattle(0.08, seed=k)
        atoms.calc = EMT()
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    return frames


def potential(seed):
    kind = architectures.get("so3krates")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(kind.Config(**SMALL))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    write("data.xyz", labelled(), format="extxyz")
    for k in range(3):
        save_potential(f"m{k}.pt", potential(k))
    return tmp_path


def test_the_numbers_are_those_of_spreads_and_errors_frame_by_frame(here):
    summary = evaluate(EvaluateConfig(("data.xyz",), ("m*.pt",), calibration=True, device="cpu", output="out")).summary
    found = summary["data"]["data.xyz"]["calibration"]["forces"]
    calculator = load_calculator(["m0.pt", "m1.pt", "m2.pt"])
    z = []
    for atoms in labelled():
        atoms.calc = calculator
        error = atoms.get_forces() - atoms.arrays["REF_forces"]
        z.append(np.abs(error / (calculator.results["forces_spread"][:, None] / np.sqrt(3))).ravel())
    z = np.concatenate(z)
    levels = np.linspace(0, 1, 101)
    inside = np.array([np.mean([erf(v / sqrt(2)) <= p for v in z]) for p in levels])
    assert found["values"] == len(z) == 8 * 3 * 3 + 4 * 3 * 3
    assert found["miscalibration_area"] == pytest.approx(np.trapezoid(np.abs(inside - levels), levels), abs=1e-3)  # float32 forces
    table = np.genfromtxt("out/calibration-forces.csv", delimiter=",", names=True)
    assert np.trapezoid(np.abs(table["observed"] - table["expected"]), table["expected"]) == pytest.approx(found["miscalibration_area"], abs=1e-4)
    assert json.loads((here / "out" / "errors.json").read_text())["data"]["data.xyz"]["calibration"]["forces"] == found
    assert (here / "out" / "calibration-forces.png").stat().st_size > 5000


def test_a_single_potential_is_judged_by_its_distance(here):
    one = potential(0)
    frames = labelled()
    one.domain = domain_of(one, [graph_for(a, one) for a in frames[::2]])  # of water alone
    save_potential("one.pt", one)
    found = evaluate(EvaluateConfig(("data.xyz",), ("one.pt",), calibration=True, device="cpu")).summary["data"]["data.xyz"]["calibration"]
    assert list(found) == ["domain_distance"] and found["domain_distance"]["values"] == 36 - 4  # carbon was not in it: infinitely far, left out
    assert 0 <= found["domain_distance"]["share_outside"] <= 1


def test_one_that_says_nothing_of_its_doubts_is_refused(here, capsys):
    with pytest.raises(UserError, match="does not say how sure it is"):
        evaluate(EvaluateConfig(("data.xyz",), ("m0.pt",), calibration=True, device="cpu"))
    assert main(["evaluate", "data.xyz", "-p", "m0.pt", "--calibration"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
