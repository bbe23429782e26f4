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
    (dict(structure="none*.xyz"), StructureError, "no file matches"),
    (dict(cell=True, mask="xx"), UserError, "not periodic|along xx"),
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


def test_masks_and_shape_hold(folder):
    before = read("copper.extxyz").cell.lengths()
    one = relax(RelaxConfig(structure="copper.extxyz", potential=EMT, output="m.extxyz", cell=True, mask="xx", fmax=0.03)).results[0].relaxed
    assert one.atoms.cell.lengths()[1:] == pytest.approx(before[1:], abs=1e-9) and abs(one.atoms.cell.lengths()[0] - before[0]) > 1e-3
    kept = relax(RelaxConfig(structure="copper.extxyz", potential=EMT, output="v.extxyz", cell=True, constant_volume=True, fmax=0.03)).results[0].relaxed
    assert kept.atoms.get_volume() == pytest.approx(read("copper.extxyz").get_volume(), rel=1e-9)
    with pytest.raises(ValueError, match="mask 'xq' is unknown"):
        RelaxConfig(structure="copper.extxyz", potential=EMT, cell=True, mask="xq")
    with pytest.raises(ValueError, match="add --cell"):
        RelaxConfig(structure="copper.extxyz", potential=EMT, hydrostatic=True)


def test_frequencies_tell_a_minimum_from_a_saddle(folder):
    """EMT's square of four coppers is a saddle (-60 and -32 cm^-1); followed down it folds to a tetrahedron."""
    write("square.xyz", Atoms("Cu4", [[0, 0, 0], [2.3, 0, 0], [0, 2.3, 0], [2.3, 2.3, 0]]))
    stays = relax(RelaxConfig(structure="square.xyz", potential=EMT, fmax=1e-3, output="square.extxyz")).results[0].relaxed
    found = relax(RelaxConfig(structure="square.xyz", potential=EMT, fmax=1e-3, output="down.extxyz", frequencies=True, temperature=300))
    one = found.summary["structures"][0]
    assert found.exit_code == 0 and one["descents"] >= 1 and one["n_imaginary"] == 0 and len(one["frequencies_cm1"]) == 6
    assert one["energy_eV"] < stays.energy - 0.1
    assert one["free_energy_eV"] < one["energy_eV"] + one["zero_point_eV"]
    assert read("down.extxyz").info["n_imaginary"] == 0


MIXED = ("H2O", "CO", "N2", "CH4", "NH3")


@pytest.fixture
def many(folder):
    """Files with one frame and with many, one of them unusable in the middle."""
    frames = []
    for seed, name in enumerate(MIXED):
        frames.append(molecule(name))
        frames[-1].rattle(0.05, seed=seed)
    write("some.xyz", frames[:3])
    write("more.xyz", frames[3:])
    text = (folder / "some.xyz").read_text().splitlines()
    (folder / "some.xyz").write_text("\n".join([*text[:5], "2", "bad", "H 0 0 0", "H 0 0 nan", *text[5:]]) + "\n")
    return folder


def table(path):
    import csv

    with open(path / "relaxed.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_many_frames_go_to_a_folder_and_a_bad_one_costs_no_other(many, capsys):
    found = relax(RelaxConfig(structure=("[sm]o*e.xyz",), potential=EMT, output="minima", fmax=0.02))
    assert names(many / "minima") == ["relax.json", "relaxed.csv", "relaxed.extxyz", "summary.json"]
    rows = table(many / "minima")
    assert [row["structure"] for row in rows] == [str(k) for k in range(6)] and [row["file"] for row in rows] == ["more.xyz"] * 2 + ["some.xyz"] * 4
    bad = [row for row in rows if row["converged"] == "False"]
    assert found.exit_code == 6 and [(row["file"], row["frame"]) for row in bad] == [("some.xyz", "1")] and "not finite" in bad[0]["reason"]
    written = read("minima/relaxed.extxyz", ":")
    assert [atoms.info["structure"] for atoms in written] == [0, 1, 2, 4, 5]
    for atoms in written:
        row = rows[atoms.info["structure"]]
        assert float(row["energy_eV"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-5) and float(row["energy_eV"]) < float(row["energy_start_eV"])
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 0.02 + 1e-6
        alone = molecule(MIXED[[3, 4, 0, None, 1, 2][atoms.info["structure"]]])
        assert atoms.symbols.formula == alone.symbols.formula
    assert json.loads((many / "minima" / "summary.json").read_text()) == found.summary
    assert "some.xyz frame 1: left out" in capsys.readouterr().err


@pytest.mark.parametrize("given", [dict(optimiser="bfgs"), dict(optimiser="fire"), dict(optimiser="preconditioned")])
def test_many_by_other_optimisers(many, given):
    found = relax(RelaxConfig(structure="more.xyz", potential=EMT, output="minima", fmax=0.05, **given))
    assert found.exit_code == 0 and found.summary["n_converged"] == 2


def test_many_with_frequencies(many):
    found = relax(RelaxConfig(structure="more.xyz", potential=EMT, output="minima", fmax=0.005, frequencies=True))
    for row, n in zip(found.summary["structures"], (9, 6)):
        assert row["n_imaginary"] == 0 and row["zero_point_eV"] > 0
        assert len(read("minima/relaxed.extxyz", row["structure"]).info["frequencies_cm1"]) == n


def test_what_was_cut_short_goes_on_to_the_same_end(many):
    """The file as a killed process leaves it: one structure whole, the next half written; positions of those on their way."""
    whole = relax(RelaxConfig(structure=("some.xyz", "more.xyz"), potential=EMT, output="whole"))
    relax(RelaxConfig(structure=("some.xyz", "more.xyz"), potential=EMT, output="cut"))
    text = (many / "cut" / "relaxed.extxyz").read_text()
    (many / "cut" / "relaxed.extxyz").write_text(text[: text.index("structure=3") + 200])
    (many / "cut" / "relaxed.csv").unlink()
    ends = read("whole/relaxed.extxyz", ":")
    np.savez(many / "cut" / "under-way.npz", **{"4": ends[3].positions})
    again = RelaxConfig(structure=("some.xyz", "more.xyz"), potential=EMT, output="cut", resume=True)
    found = relax(again)
    rows = {row["structure"]: row for row in found.summary["structures"]}
    assert rows[4]["steps"] == 0  # it had arrived
    for row in whole.summary["structures"]:
        if row["converged"]:
            assert rows[row["structure"]]["energy_eV"] == pytest.approx(row["energy_eV"], abs=1e-6)
    assert [a.info["structure"] for a in read("cut/relaxed.extxyz", ":")] == [0, 2, 3, 4, 5] and not (many / "cut" / "under-way.npz").exists()
    before = (many / "cut" / "relaxed.extxyz").read_bytes()
    assert relax(again).exit_code == found.exit_code and (many / "cut" / "relaxed.extxyz").read_bytes() == before


@pytest.mark.parametrize("given, message", [
    (dict(), "not overwritten"), (dict(resume=True, fmax=0.03), "another fmax"), (dict(resume=True, structure="more.xyz"), "another structure"),
])
def test_a_folder_of_other_relaxations_is_left_alone(many, given, message):
    config = dict(structure=("some.xyz", "more.xyz"), potential=EMT, output="minima")
    relax(RelaxConfig(**config))
    before = {name: (many / "minima" / name).read_bytes() for name in names(many / "minima")}
    with pytest.raises(UserError, match=message):
        relax(RelaxConfig(**{**config, **given}))
    assert {name: (many / "minima" / name).read_bytes() for name in names(many / "minima")} == before


def test_a_killed_job_goes_on(folder):
    cluster = bulk("Cu", cubic=True) * (2, 2, 2)
    cluster.pbc = False
    frames = []
    for seed in range(12):
        frames.append(cluster.copy())
        frames[-1].rattle(0.1, seed=seed)
    write("clusters.extxyz", frames)
    command = [sys.executable, "-m", "mdapp", "relax", "clusters.extxyz", "-p", EMT, "--fmax", "0.02", "--in-flight", "2", "-o", "minima"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    target, deadline = folder / "minima" / "relaxed.extxyz", time.monotonic() + 120
    while not (target.exists() and target.stat().st_size > 100) and time.monotonic() < deadline:
        assert job.poll() is None
        time.sleep(0.02)
    job.kill()
    job.wait()
    kept = target.read_text().count("structure=")
    done = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True, env=environment, timeout=300)
    summary = json.loads(done.stdout)
    assert done.returncode == 0 and summary["n_converged"] == 12 and kept >= 1
    assert [atoms.info["structure"] for atoms in read(target, ":")] == list(range(12))


def test_a_signal_ends_the_job_cleanly_with_what_was_reached(folder):
    cluster = bulk("Cu", cubic=True) * (3, 3, 3)
    cluster.pbc = False
    cluster.rattle(0.1, seed=3)
    write("cluster.extxyz", cluster)
    command = [sys.executable, "-m", "mdapp", "relax", "cluster.extxyz", "-p", EMT, "--fmax", "1e-15", "--steps", "1000000", "--json"]
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


@pytest.mark.parametrize("start, end_eV", [([[0, 0, 0], [3.817, 0, 0], [7.634, 0, 0]], -0.0310), ([[0, 0, 0], [3.79, 0, 0], [3.79, 3.79, 0], [0, 3.79, 0]], -0.0620)])
def test_soft_saddles_of_argon_are_no_minima(folder, start, end_eV):
    """A line of three and a square of four argon atoms: imaginary modes of 1 and 7 cm⁻¹ that rounding does not explain."""
    write("ar.xyz", Atoms(f"Ar{len(start)}", start))
    found = relax(RelaxConfig(structure="ar.xyz", potential="lj", fmax=1e-5, frequencies=True))
    assert found.exit_code == 0 and found.results[0].relaxed.energy == pytest.approx(end_eV, abs=2e-4)
    assert "after" in found.results[0].judged.sentence and "descent" in found.results[0].judged.sentence


def test_broken_structures_of_a_batch_are_told_of(folder, capsys):
    torn = molecule("H2O")
    torn.set_distance(0, 1, 1.5, fix=0)  # too far for a bond, and drawn together
    write("torn.extxyz", [torn, molecule("H2O"), torn], format="extxyz")
    assert main(["relax", "torn.extxyz", "--potential", EMT, "--output", "out2"]) == 0
    said = capsys.readouterr()
    assert "bonds changed on the way of 2 of 3 structures" in said.out + said.err
    assert json.loads(Path("out2/summary.json").read_text())["n_bonds_changed"] == 2


def test_the_reason_why_there_is_no_stress_is_the_calculators_own(folder, capsys):
    slab = bulk("Ar", cubic=True, a=5.4, crystalstructure="fcc")
    slab.pbc = [True, True, False]
    write("slab.extxyz", slab)
    assert main(["relax", "slab.extxyz", "--potential", "lj", "--cell"]) != 0
    assert "periodic along all three vectors" in capsys.readouterr().err
