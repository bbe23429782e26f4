"""Scripts: peptides and training data are made as stated, benchmarks and the main job run in a short mode."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.io import read

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(SCRIPTS)]))


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Rows go here and not into scripts/results."""
    import _bench

    monkeypatch.setattr(_bench, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(_bench, "SCRATCH", tmp_path / "scratch")
    return tmp_path / "results"


@pytest.fixture
def peptides():
    pytest.importorskip("rdkit", reason="rdkit is not installed (extra `reference`)")
    import make_peptide

    return make_peptide


@pytest.fixture
def data():
    pytest.importorskip("rdkit", reason="rdkit is not installed (extra `reference`)")
    pytest.importorskip("tblite.interface", reason="tblite is not installed (extra `reference`)")
    import generate_training_data

    return generate_training_data


@pytest.mark.parametrize("sequence", ["SAM", "GP", "WHRK"])
def test_peptide_has_its_residues_in_order(peptides, sequence):
    from mdapp.topology import find_bonds, topology_of

    atoms = peptides.build(sequence, tries=2)
    names = dict(zip("SAMGPWHRK", "SER ALA MET GLY PRO TRP HIS ARG LYS".split()))
    found = topology_of(atoms, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    said = [r.name for r in found.residues]
    assert said[0] == "ACE" and said[-1] == "NME"
    assert [n.replace("LYN", "LYS").replace("HIE", "HIS").replace("ARN", "ARG") for n in said[1:-1]] == [names[letter] for letter in sequence]
    assert atoms.info["charge"] == 0


@pytest.mark.parametrize("letter", "ARNDCQEHILKMFPSTWYV")
def test_residues_are_L(peptides, letter):
    """N, C and the side chain go round as the CORN rule says: looking from hydrogen, CO, R, N clockwise."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(peptides.peptide_smiles(letter))
    backbone = Chem.MolFromSmarts("[CX3](=O)[NX3][CX4][CX3](=O)[NX3]")
    alpha = molecule.GetSubstructMatch(backbone)[3]
    hands = dict(Chem.FindMolChiralCenters(molecule, useLegacyImplementation=False))
    assert hands[alpha] == ("R" if letter == "C" else "S")  # sulfur turns the order of names, not the hand


@pytest.mark.parametrize("basin", ["helix", "sheet", "ppii", "c7", "left"])
def test_backbone_stands_in_its_basin(peptides, basin):
    atoms = peptides.build("AAA", basin, tries=2)
    for torsions in peptides.backbone_torsions(peptides.with_hydrogens(peptides.peptide_smiles("AAA"))):
        for atom_indices, target in zip(torsions, peptides.BASINS[basin]):
            away = (atoms.get_dihedral(*atom_indices) - target + 180) % 360 - 180
            assert abs(away) < 8  # held within 5 degrees by a spring, not a rod


def test_same_seed_gives_the_same_peptide(peptides):
    first, second, other = (peptides.build("GS", seed=seed, tries=3).positions for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.allclose(first, other)


def test_no_peptide_bond_pays_for_the_backbone(peptides, monkeypatch):
    """Of twenty helices of fifteen residues the lowest had two bonds turned by 67 degrees: here the force field turns one on purpose."""
    clean_up, calls = peptides.clean_up, []

    def careless(molecule, conformer, held=(), **options):
        energy = clean_up(molecule, conformer, held, **options)
        if not calls:
            a, c, _, n, d = molecule.GetSubstructMatches(peptides.OMEGA)[1]
            peptides.rdMolTransforms.SetDihedralDeg(molecule.GetConformer(conformer), a, c, n, d, 110.0)
            assert peptides.twisted(molecule, conformer) == [(a, c, n, d)]
        calls.append(len(held))
        return energy

    monkeypatch.setattr(peptides, "clean_up", careless)
    atoms = peptides.build("AAA", "helix", tries=1)
    assert calls == [6, 7]  # phi and psi; then that bond too
    molecule = peptides.with_hydrogens(peptides.peptide_smiles("AAA"))
    made = peptides.Chem.Conformer(len(atoms))
    for k, position in enumerate(atoms.positions.tolist()):
        made.SetAtomPosition(k, position)
    assert peptides.twisted(molecule, molecule.AddConformer(made)) == []


def test_unknown_residue_is_refused(peptides, tmp_path):
    with pytest.raises(SystemExit, match="holds X; known one-letter codes: ACDEFGHIKLMNPQRSTVWY"):
        peptides.main(["AX", "--output", str(tmp_path / "out.xyz")])
    assert not (tmp_path / "out.xyz").exists()


def test_mmff_forces_are_minus_the_gradient(data):
    from _sampling import MMFF94
    from make_peptide import atoms_of, conformers, with_hydrogens

    molecule = with_hydrogens("CC(=O)NC")
    atoms = atoms_of(molecule, conformers(molecule, 1, 1)[0])
    atoms.calc = MMFF94(molecule)
    atoms.rattle(0.1, seed=1)
    forces, h = atoms.get_forces(), 1e-4
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        e = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[atom, axis] += sign * h
            e.append(moved.get_potential_energy())
        assert forces[atom, axis] == pytest.approx((e[1] - e[0]) / (2 * h), abs=1e-4)


def test_restraint_pulls_back_and_conserves_momentum(data):
    from _bench import Tethered
    from _sampling import Together
    from ase import Atoms

    atoms = Atoms("OH2OH2", np.arange(18).reshape(6, 3) * 0.7)
    fragments = [np.arange(3), np.arange(3, 6)]
    calculator = Together(Tethered(), atoms, fragments, slack=1.0)
    calculator.calculate(atoms)
    assert calculator.results["energy"] == 0.0  # at the start there is nothing to hold
    far = atoms.copy()
    far.positions[3:] += (6.0, 0, 0)
    calculator.inner.k = 0.0
    calculator.calculate(far)
    forces = calculator.results["forces"]
    assert forces.sum(0) == pytest.approx(np.zeros(3), abs=1e-12) and forces[3:, 0].sum() < 0
    nearer = far.copy()
    nearer.positions[3:, 0] -= 1e-5
    before = calculator.results["energy"]
    calculator.calculate(nearer)
    assert forces[3:, 0].sum() == pytest.approx((calculator.results["energy"] - before) / 1e-5, rel=1e-3)


def test_list_of_molecules_is_sound(data):
    """Neutral, closed-shell, of five elements, with MMFF94 parameters, and no validation molecule in the training part."""
    from make_peptide import with_hydrogens
    from rdkit.Chem import Descriptors, MolToSmiles, RemoveHs, rdmolops
    from rdkit.Chem.rdForceFieldHelpers import MMFFHasAllMoleculeParams

    entries = data.molecules()
    canonical = {"train": set(), "validation": set()}
    for entry in entries:
        molecule = with_hydrogens(entry.smiles)
        assert {a.GetAtomicNum() for a in molecule.GetAtoms()} <= {1, 6, 7, 8, 16}, entry
        assert rdmolops.GetFormalCharge(molecule) == 0 and Descriptors.NumRadicalElectrons(molecule) == 0, entry
        assert MMFFHasAllMoleculeParams(molecule), entry
        canonical[entry.split].add(MolToSmiles(RemoveHs(molecule)))
    assert not canonical["train"] & canonical["validation"]
    assert len(entries) > 200


def generate(folder, *words):
    command = [sys.executable, str(SCRIPTS / "generate_training_data.py"), str(folder), "--quick", "--workers", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_generated_data_agree_with_tblite_and_go_on_after_a_stop(data, tmp_path):
    """One quick run, read back by the reader of the training wing; then a part is lost and made again to the same numbers."""
    from ase import Atoms
    from potentials.data.read import read_labelled
    from tblite.ase import TBLite

    done = generate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    frames = list(read_labelled(tmp_path / "train.h5"))
    assert {f.molecule for f in frames} == {"methanol", "water+methanol"} and len(frames) >= 15
    for frame in frames[::4]:
        atoms = Atoms(frame.numbers, frame.positions, calculator=TBLite(method="GFN2-xTB", accuracy=0.2, verbosity=0))
        assert atoms.get_potential_energy() == pytest.approx(frame.energy, abs=1e-4)  # eV
        np.testing.assert_allclose(atoms.get_forces(), frame.forces, atol=1e-4)
    with h5py.File(tmp_path / "train.h5") as file:
        before = {name: group["dft_total_energy"][:] for name, group in file.items()}
        assert {int(kind) for group in file.values() for kind in group["frame_kind"][:]} == {0, 1, 2, 3, 4}
        assert "GFN2-xTB" in file.attrs["level_of_theory"]
        elements = {1: -0.393482763932, 6: -1.793296371365, 8: -3.767606950369}  # GFN2-xTB free atoms, high spin
        group = file["methanol"]
        free = sum(elements[z] for z in group["atomic_numbers"][:].tolist())
        np.testing.assert_allclose(group["formation_energy"][:], group["dft_total_energy"][:] - free, atol=1e-8)
    parts = sorted((tmp_path / "parts").glob("*.h5"))
    kept = parts[1].stat().st_mtime_ns
    parts[0].unlink()
    again = generate(tmp_path)
    assert again.returncode == 0 and "1 made before" in again.stdout
    assert parts[1].stat().st_mtime_ns == kept
    with h5py.File(tmp_path / "train.h5") as file:
        for name, energies in before.items():
            np.testing.assert_allclose(file[name]["dft_total_energy"][:], energies, rtol=1e-12)
    refused = generate(tmp_path, "--seed", "2")
    assert refused.returncode == 1 and "was begun with" in refused.stderr and "Traceback" not in refused.stderr


def test_unknown_molecule_is_refused_by_name(data, tmp_path):
    done = generate(tmp_path / "out", "--only", "unobtainium")
    assert done.returncode == 1 and "no molecule unobtainium" in done.stderr and not (tmp_path / "out").exists()


def test_rows_are_appended_under_their_header(results):
    from _bench import append_row

    append_row("question", {"a": 1, "b": 2.0})
    path = append_row("question", {"a": 3, "b": 1 / 3})
    assert path.read_text() == "a,b\n1,2\n3,0.3333\n"
    other = append_row("question", {"a": 1, "c": 2})  # other columns begin another table
    assert other == append_row("question", {"a": 2, "c": 3}) != path
    assert other.read_text() == "a,c\n1,2\n2,3\n" and path.read_text().count("\n") == 3


def test_median_and_spread():
    from _bench import median, spread

    assert median([5, 1, 2, 3, 100]) == 3 and spread([1, 2, 3, 4, 5]) == 1  # quartiles 2 and 4


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs a script's main() with words, in an empty folder."""

    def call(module, *words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, words)])
        return module.main()

    return call


def test_engine_benchmark_compares_and_counts(results, command):
    import bench_engine

    command(bench_engine, ROOT / "examples" / "peptide.xyz", "--steps", "100", "--runs", "1")
    (row,) = rows(results / "engine.csv")
    assert row["atoms"] == "50" and float(row["frame_ms"]) > 0 and float(row["guards_ms_per_look"]) > 0


@pytest.mark.slow
def test_step_benchmark_splits_a_step(results, command):
    import bench_step

    command(bench_step, ROOT / "examples" / "peptide.xyz", "--threads", "1", "--blocks", "2", "--steps", "5")
    (row,) = rows(results / "step.csv")
    parts = sum(float(row[name]) for name in ("neighbours_ms", "model_ms", "rest_ms"))
    assert parts == pytest.approx(float(row["ms_per_step"]), rel=0.05)


@pytest.mark.slow
def test_memory_benchmark_measures_a_process(results, command):
    import bench_memory

    command(bench_memory, ROOT / "examples" / "peptide.xyz", "--potential", "ase:_bench:Tethered", "--steps", "10")
    assert all(50 < float(row["import_torch_MB"]) < float(row["peak_MB"]) < 2000 for row in rows(results / "memory.csv"))


@pytest.mark.slow
def test_startup_benchmark_sees_the_first_step(results, command):
    import bench_startup

    command(bench_startup, ROOT / "examples" / "peptide.xyz", "--potential", "ase:_bench:Tethered", "--runs", "1")
    (row,) = rows(results / "startup.csv")
    assert 0 < float(row["help_cpu_s"]) < float(row["first_step_cpu_s"])


def rows(path):
    import csv

    with path.open() as file:
        return list(csv.DictReader(file))


def test_main_job_runs_reads_and_judges(results, command):
    import main_job

    words = [ROOT / "examples" / "peptide.xyz", "--potential", "ase:_bench:Tethered", "--time", "20fs", "--nve-time", "20fs", "--output", "jobs", "--threads", "1"]
    command(main_job, *words)
    assert [row["run"] for row in rows(results / "main_job.csv")] == ["peptide-nvt", "peptide-nve"]
    summaries = sorted(Path("jobs").glob("*/summary.json"))
    before = [s.stat().st_mtime_ns for s in summaries]
    command(main_job, *words)  # finished runs are read, not made again, and add no row
    assert [s.stat().st_mtime_ns for s in summaries] == before and len(rows(results / "main_job.csv")) == 2


def test_main_job_goes_on_with_a_stopped_run(results, command, monkeypatch, tmp_path):
    import main_job
    from _bench import Tethered
    from mdapp.errors import EXIT_STOPPED
    from mdapp.jobs import run

    words = [ROOT / "examples" / "peptide.xyz", "--potential", "ase:_bench:Tethered", "--nve", "0", "--time", "50fs", "--output", "jobs", "--threads", "1", "--no-row"]
    calculate, calls = Tethered.calculate, []

    def with_a_signal(self, *args, **options):
        calls.append(1)
        if len(calls) == 60:
            os.kill(os.getpid(), signal.SIGTERM)
        calculate(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Tethered, "calculate", with_a_signal)
        assert command(main_job, *words) == EXIT_STOPPED
    summary = tmp_path / "jobs" / "peptide-nvt" / "summary.json"
    assert 0 < json.loads(summary.read_text())["steps"] < 100
    monkeypatch.setattr(run, "run", lambda *a: pytest.fail("begun anew"))
    assert command(main_job, *words) == 0
    assert json.loads(summary.read_text())["steps"] == 100


@pytest.mark.parametrize("change, passes", [
    ({}, True), ({"warnings": {"temperature": 1}}, False), ({"status": "stopped", "failure": {}}, False),
    ({"drift_meV_atom_ps": 0.3}, False), ({"drift_meV_atom_ps": -0.3}, False), ({"drift_meV_atom_ps": None}, False),
])  # fmt: skip
def test_main_job_passes_nothing_that_missed_a_limit(change, passes):
    import main_job

    summary = {"status": "finished", "why": "", "warnings": {}, "failure": None, "drift_meV_atom_ps": 0.01, **change}
    assert main_job.judged(main_job.Job(Path("x"), "nve", 10.0, Path("y")), summary)[0] == passes


def test_shipped_example_is_what_make_peptide_gives(peptides):
    """Same molecule, atom by atom; positions may differ with the version of RDKit."""
    shipped = read(ROOT / "examples" / "peptide.xyz")
    made = peptides.build("SAM", "ppii", 1, 2)
    assert shipped.symbols.get_chemical_formula("reduce") == made.symbols.get_chemical_formula("reduce")
    assert shipped.info["smiles"] == made.info["smiles"]
