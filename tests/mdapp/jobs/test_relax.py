"""`mdapp relax` from Python and from the command line: files, exit codes, refusals that leave nothing behind."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from mdapp.cli import main
from mdapp.config import RelaxConfig
from mdapp.errors import OutputError, StructureError, UserError
from mdapp.jobs.relax import relax

EMT = "ase:ase.calculators.emt:EMT"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a strained water and a strained copper crystal."""
    monkeypatch.chdir(tmp_path)
    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    write("water.xyz", water)
    copper = bulk("Cu", cubic=True)
    copper.set_cell(copper.cell[:] * 1.01, scale_atoms=True)
    copper.rattle(0.02, seed=2)
    write("copper.extxyz", copper)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_a_relaxed_file_holds_what_was_reached(folder):
    found = relax(RelaxConfig(structure="water.xyz", potential=EMT, fmax=0.005))
    assert found.exit_code == 0 and names(folder) == ["copper.extxyz", "water-relaxed.extxyz", "water.xyz"]
    written = read("water-relaxed.extxyz")
    one = found.results[0]
    assert written.get_potential_energy() == pytest.approx(one.relaxed.energy, abs=1e-7)
    assert np.linalg.norm(written.get_forces(), axis=1).max() <= 0.005 + 1e-7
    assert one.relaxed.energy < one.energy_start and 0.005 < one.moved_A < 0.2 and one.bonds_changed == ()
    assert "momenta" not in written.arrays and written.info["converged"]


def test_a_second_run_takes_the_next_name(folder):
    for _ in range(2):
        relax(RelaxConfig(structure="water.xyz", potential=EMT))
    assert {"water-relaxed.extxyz", "water-relaxed-2.extxyz"} < set(names(folder))


def test_several_structures_go_to_a_folder_with_a_summary(folder):
    (folder / "other").mkdir()
    (folder / "other" / "water.xyz").write_text((folder / "water.xyz").read_text())
    found = relax(RelaxConfig(structure=("water.xyz", "copper.extxyz", "other/water.xyz"), potential=EMT, output="minima"))
    assert found.exit_code == 0
    assert names(folder / "minima") == ["copper-relaxed.extxyz", "summary.json", "water-2-relaxed.extxyz", "water-relaxed.extxyz"]
    summary = json.loads((folder / "minima" / "summary.json").read_text())
    assert summary == found.summary and [s["converged"] for s in summary["structures"]] == [True] * 3


def test_the_cell_follows_where_asked(folder):
    fixed = relax(RelaxConfig(structure="copper.extxyz", potential=EMT, output="fixed.extxyz")).results[0].relaxed
    free = relax(RelaxConfig(structure="copper.extxyz", potential=EMT, output="free.extxyz", cell=True, fmax=0.03)).results[0].relaxed
    pressed = relax(RelaxConfig(structure="copper.extxyz", potential=EMT, output="p.extxyz", cell=True, fmax=0.03, pressure="5GPa")).results[0].relaxed
    assert pressed.atoms.get_volume() < free.atoms.get_volume() < fixed.atoms.get_volume() == pytest.approx(read("copper.extxyz").get_volume())


def test_what_runs_out_of_steps_is_written_and_ends_with_6(folder, capsys):
    code = main(["relax", "water.xyz", "-p", EMT, "--steps", "1", "--fmax", "1e-5", "--json"])
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert code == summary["exit_code"] == 6 and summary["verdict"] == "not converged"
    assert summary["structures"][0]["steps"] == 1 and "not converged after 1 step " in said.err
    assert (folder / "water-relaxed.extxyz").exists()


def test_a_bond_that_breaks_is_said(folder, capsys):
    write("h2.xyz", Atoms("H2", [[0, 0, 0], [0, 0, 0.76]]))
    found = relax(RelaxConfig(structure="h2.xyz", potential="ase:ase.calculators.lj:LennardJones"))  # sigma = 1 Å: pushes H2 to 1.12 Å
    assert found.results[0].bonds_changed == ("H0-H1 broken",)
    assert "bonds changed on the way: H0-H1 broken" in capsys.readouterr().err


@pytest.mark.parametrize("given, error, message", [
    (dict(structure="missing.xyz"), StructureError, "missing.xyz"),
    (dict(output="water.xyz"), OutputError, "exists already"),
    (dict(structure=("water.xyz", "copper.extxyz"), output="one.xyz"), OutputError, "Name a folder"),
    (dict(cell=True), UserError, "not periodic"),
])
def test_refusals_leave_nothing_behind(folder, given, error, message):
    before = names(folder)
    config = RelaxConfig(**{"structure": "water.xyz", "potential": EMT, **given})
    with pytest.raises(error, match=message):
        relax(config)
    assert names(folder) == before


def test_a_summary_of_something_else_is_not_overwritten(folder):
    (folder / "runs").mkdir()
    (folder / "runs" / "summary.json").write_text("{}")
    with pytest.raises(OutputError, match="summary.json exists"):
        relax(RelaxConfig(structure="water.xyz", potential=EMT, output="runs"))
    assert names(folder / "runs") == ["summary.json"]


def test_a_potential_that_gives_no_number_ends_with_4(folder):
    (folder / "nan_potential.py").write_text(
        "from ase.calculators.emt import EMT\nimport numpy as np\n"
        "class Nan(EMT):\n    def calculate(self, *a, **k):\n        super().calculate(*a, **k)\n        self.results['energy'] = np.nan\n")
    sys.path.insert(0, str(folder))
    try:
        found = relax(RelaxConfig(structure="water.xyz", potential="ase:nan_potential:Nan"))
    finally:
        sys.path.remove(str(folder))
    assert found.exit_code == 4 and found.summary["structures"][0]["output"] is None
    assert json.dumps(found.summary, allow_nan=False) and not (folder / "water-relaxed.extxyz").exists()


def test_a_signal_ends_the_job_cleanly_with_what_was_reached(folder):
    cluster = bulk("Cu", cubic=True) * (3, 3, 3)
    cluster.pbc = False
    cluster.rattle(0.1, seed=3)
    write("cluster.extxyz", cluster)
    command = [sys.executable, "-m", "mdapp", "relax", "cluster.extxyz", "water.xyz", "-p", EMT, "--fmax", "1e-15", "--steps", "1000000", "--json"]
    here = str(Path(__file__).parents[3])
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": here})
    assert job.stderr is not None
    while "step 0" not in job.stderr.readline():
        assert job.poll() is None
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    out, _ = job.communicate(timeout=30)
    summary = json.loads(out)
    assert job.returncode == summary["exit_code"] == 3 and summary["verdict"] == "interrupted" and "SIGTERM" in summary["why"]
    assert [s["converged"] for s in summary["structures"]] == [False] and len(read("cluster-relaxed.extxyz")) == 108
