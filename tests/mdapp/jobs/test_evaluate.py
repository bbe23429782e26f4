"""`mdapp evaluate`: the same numbers by every path, only what has a label, files that say where a potential is off."""
import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import read, write

from mdapp.cli import main
from mdapp.config import EvaluateConfig
from mdapp.jobs import _evaluate_predict
from mdapp.jobs._evaluate_data import Frame, evenly, portions
from mdapp.jobs.evaluate import evaluate
from potentials.architectures import architectures
from potentials.calculator import load_calculator
from potentials.checkpoint import save_potential
from potentials.data.labelled import LabelledStructure

SMALL = dict(num_layers=1, num_features=8, num_heads=2, degrees=(1, 2), num_radial_basis_fn=6, energy_regression_dim=8, output_is_zero_at_init=False, cutoff=4.0)
CHARGES = dict(electrostatic_energy_bool=True, use_charge_embed=True, use_spin_embed=True)


def labelled(calculator, n=10, seed=0, names=("H2O", "CH3OH")):
    """Frames of several molecules, out of shape, with labels of a calculator."""
    frames = []
    for k in range(n):
        atoms = molecule(names[k % len(names)])
        atoms.rattle(0.08, seed=seed + k)
        atoms.calc = calculator
        atoms.info.update(REF_energy=atoms.get_potential_energy(), molecule=names[k % len(names)])
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    return frames


def potential_file(path, seed=0, **options):
    kind = architectures.get("so3krates")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = kind(kind.Config(**{**SMALL, **options}))
    save_potential(path, made)
    return str(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    write("data.xyz", labelled(EMT()), format="extxyz")
    return tmp_path


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def found(data="data.xyz", potential="emt", **options):
    result = evaluate(EvaluateConfig(data=(data,), potential=(potential,), device="cpu", threads=1, **options))
    return result.summary["data"][data]


def test_a_labels_own_calculator_has_no_error(here):
    errors = found()["errors"]
    assert errors["energy_mae_meV"] < 1e-3 and errors["forces_mae_meV_A"] < 1e-3 and errors["forces_angle_mean_deg"] < 1e-2  # eight digits in the file


def test_batches_are_what_the_calculator_says_frame_by_frame(here):
    """Small batches, large ones, and a plain loop over an ASE calculator give the same errors."""
    file = potential_file("p.pt")
    calculator = load_calculator(file, dtype="float64")
    energy, forces = [], []
    for atoms in read("data.xyz", ":"):
        atoms, label = atoms.copy(), (atoms.info["REF_energy"], atoms.arrays["REF_forces"])
        atoms.calc = calculator
        energy.append(1000 * (atoms.get_potential_energy() - label[0]) / len(atoms))
        forces.append(1000 * (atoms.get_forces() - label[1]).ravel())
    for edges in (1, 60, None):
        errors = found(potential=file, dtype="float64", batch_edges=edges)["errors"]
        assert errors["energy_mae_meV_atom"] == pytest.approx(np.mean(np.abs(energy)), rel=1e-9)
        assert errors["forces_rmse_meV_A"] == pytest.approx(np.sqrt(np.mean(np.concatenate(forces) ** 2)), rel=1e-9)


def test_the_folder_holds_tables_that_agree_with_errors_json(here):
    assert main(["evaluate", "data.xyz", "-p", potential_file("p.pt"), "-o", "errors", "--worst", "3", "-q", "--device", "cpu"]) == 0
    summary = json.loads((here / "errors/errors.json").read_text())
    one = summary["data"]["data.xyz"]
    frames = rows_of("errors/frames.csv")
    assert [int(row["frame"]) for row in frames] == list(range(10))
    errors = np.array([float(row["error_meV_atom"]) for row in frames])
    assert np.abs(errors).mean() == pytest.approx(one["errors"]["energy_mae_meV_atom"], rel=1e-4) and errors.mean() == pytest.approx(one["energy_offset_meV_atom"], rel=1e-4)
    assert {row["element"] for row in rows_of("errors/elements.csv")} == {"H", "C", "O"}
    assert {row["molecule"] for row in rows_of("errors/molecules.csv")} == {"H2O", "CH3OH"} == set(one["conformers"]["molecules"])
    assert {"force_bins.csv", "conformers.csv", "worst.csv", "worst.extxyz"} <= {p.name for p in (here / "errors").iterdir()}
    pictures = sorted((here / "errors").glob("*.png"))
    assert len(pictures) == 6 and all(p.stat().st_size > 5000 for p in pictures)
    assert not [p for p in here.iterdir() if p.name.startswith(".")]


def test_the_worst_frames_are_those_that_were_spoilt(here):
    frames = read("data.xyz", ":")
    frames[3].arrays["REF_forces"][2] += (0, 0, 5.0)
    frames[6].info["REF_energy"] += 9.0
    write("spoilt.xyz", frames, format="extxyz")
    one = found("spoilt.xyz", output="e", worst=2)
    forces, energy = one["worst"]["by_forces"][0], one["worst"]["by_energy"][0]
    assert (forces["frame"], forces["atom"], forces["source"]) == (3, 2, "frame 3 of spoilt.xyz") and forces["largest_force_error_meV_A"] == pytest.approx(5000, rel=1e-3)
    assert energy["frame"] == 6 and energy["energy_error_meV_atom"] == pytest.approx(-9000 / 3, rel=1e-3)
    kept = read("e/worst.extxyz", ":")
    assert kept[0].info["frame"] == 3 and len(one["worst"]["by_forces"]) == 2
    assert np.allclose(kept[0].arrays["REF_forces"][2] - kept[0].arrays["predicted_forces"][2], (0, 0, 5), atol=1e-4)
    again = found("e/worst.extxyz", limit=1)["worst"]["by_forces"][0]  # the file can be evaluated itself
    assert again["largest_force_error_meV_A"] == pytest.approx(5000, rel=1e-3)


def test_frames_without_energies_or_forces_count_where_they_have_labels(here):
    frames = read("data.xyz", ":")
    for atoms in frames[::2]:
        del atoms.arrays["REF_forces"]
    write("mixed.xyz", frames, format="extxyz")
    errors = found("mixed.xyz", potential_file("p.pt"))["errors"]
    assert errors["frames"] == errors["frames_with_energy"] == 10 and errors["atoms_with_forces"] == sum(len(a) for a in frames[1::2])
    for atoms in frames:
        atoms.arrays.pop("REF_forces", None)
    write("energies.xyz", frames, format="extxyz")
    one = found("energies.xyz", output="e")
    assert "forces_mae_meV_A" not in one["errors"] and one["force_bins"] == [] and not (here / "e/parity-forces.png").exists()


def test_stress_is_compared_where_it_is_labelled(here):
    frames = []
    for k in range(3):
        atoms = bulk("Ar", "fcc", a=5.2 + 0.1 * k, cubic=True) * 2
        atoms.rattle(0.05, seed=k)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0)
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        if k:
            atoms.info["REF_stress"] = atoms.get_stress()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write("argon.xyz", frames, format="extxyz")
    file = potential_file("p.pt")
    errors, calculator = found("argon.xyz", file, dtype="float64")["errors"], load_calculator(file, dtype="float64")
    off = []
    for atoms in frames[1:]:
        label = atoms.info["REF_stress"]
        atoms.calc = calculator
        off += list(1000 * np.abs(atoms.get_stress(voigt=False).ravel() - label[[0, 5, 4, 5, 1, 3, 4, 3, 2]]))
    assert errors["stress_mae_meV_A3"] == pytest.approx(np.mean(off), rel=1e-6)


def test_charges_and_dipoles_are_compared_where_both_are_there(here):
    file = potential_file("p.pt", **CHARGES)
    calculator = load_calculator(file, dtype="float64")
    frames = read("data.xyz", ":4")
    for atoms in frames:
        twin = atoms.copy()
        twin.calc = calculator
        twin.get_potential_energy()
        atoms.info["REF_dipole"] = calculator.results["dipole"] + 0.3
        atoms.info["molecule"] = "x"
    write("dipoles.xyz", frames, format="extxyz")
    errors = found("dipoles.xyz", file, dtype="float64", key=("dipole=REF_dipole",))["errors"]
    assert errors["dipole_mae_e_A"] == pytest.approx(0.3, rel=1e-5) and "charges_mae_e" not in errors


def test_charge_is_of_each_frame_or_of_the_option(here):
    file = potential_file("p.pt", **CHARGES)
    calculator = load_calculator(file, dtype="float64")
    frames = []
    for charge in (0, 1, -1):
        atoms = molecule("H2O")
        atoms.info.update(charge=charge)
        atoms.calc = calculator
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.calc = None
        frames.append(atoms)
    assert len({atoms.info["REF_energy"] for atoms in frames}) == 3  # the potential knows charge
    write("ions.xyz", frames, format="extxyz")
    assert found("ions.xyz", file, dtype="float64")["errors"]["energy_mae_meV"] < 1e-4
    told = found("ions.xyz", file, dtype="float64", charge=1, output="e")
    predicted = [float(row["predicted_energy_eV"]) for row in rows_of("e/frames.csv")]
    assert predicted == pytest.approx([frames[1].info["REF_energy"]] * 3, abs=2e-6) and told["errors"]["energy_mae_meV"] > 1


def test_charged_frames_are_refused_kept_or_dropped(here, capsys):
    frames = read("data.xyz", ":4")
    frames[2].info["charge"] = 1
    write("ions.xyz", frames, format="extxyz")
    file = potential_file("p.pt")
    assert main(["evaluate", "ions.xyz", "-p", file, "-q", "--device", "cpu"]) == 5
    assert "Frame 2 of ions.xyz has a total charge of +1 e, but p.pt knows no charge" in capsys.readouterr().err
    assert found("ions.xyz", file, charged="keep")["errors"]["frames"] == 4 == found("ions.xyz", file, charge=0)["errors"]["frames"]
    dropped = found("ions.xyz", file, charged="drop")
    assert dropped["errors"]["frames"] == 3 and dropped["frames_left_out"]["charged"] == 1
    assert main(["evaluate", "data.xyz", "-p", file, "-q", "--charge", "1"]) == 2 and "knows no charge" in capsys.readouterr().err


def test_ase_calculators_are_told_charge_and_multiplicity(here, monkeypatch):
    seen = []

    def calculate(self, atoms=None, *args, **kwargs):
        seen.append((atoms.info["charge"], atoms.info["multiplicity"]))
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": np.zeros((len(atoms), 3))}

    monkeypatch.setattr(LennardJones, "calculate", calculate)
    frames = read("data.xyz", ":2")
    frames[1].info["charge"] = -1
    write("ions.xyz", frames, format="extxyz")
    found("ions.xyz", "ase:ase.calculators.lj:LennardJones", multiplicity=3)
    assert list(dict.fromkeys(seen)) == [(0, 3), (-1, 3)]


def test_long_range_cutoff_and_ewald_reach_the_potential(here, capsys):
    file = potential_file("p.pt", **CHARGES)
    atoms = Atoms("OH2OH2", np.concatenate([molecule("H2O").positions, molecule("H2O").positions + (3.0, 0, 0)]))
    boxed = Atoms(atoms, cell=[11.0, 12, 13], pbc=True)
    for name, one in (("free", atoms), ("cell", boxed)):
        options = {"free": [{}, dict(long_range_cutoff=5.0), dict(long_range_cutoff=None)], "cell": [{}, dict(long_range_cutoff=7.0), dict(ewald=True)]}[name]
        said = [{}, dict(long_range_cutoff=options[1]["long_range_cutoff"]), dict(long_range_cutoff="none") if name == "free" else dict(electrostatics="ewald")]
        energies = set()
        for option, words in zip(options, said):
            one.calc = load_calculator(file, dtype="float64", **option)
            one.info["REF_energy"] = one.get_potential_energy()
            one.calc = None
            energies.add(round(one.info["REF_energy"], 6))
            write("one.xyz", one, format="extxyz")
            assert found("one.xyz", file, dtype="float64", **words)["errors"]["energy_mae_meV"] < 1e-3
        assert len(energies) == (2 if name == "free" else 3)  # each setting is another energy; all pairs is a molecule's own choice
    assert main(["evaluate", "one.xyz", "-p", file, "-q", "--long-range-cutoff", "none"]) == 5 and "infinitely many pairs" in capsys.readouterr().err
    assert main(["evaluate", "data.xyz", "-p", file, "-q", "--electrostatics", "ewald"]) == 5 and "periodic along all three" in capsys.readouterr().err
    assert main(["evaluate", "data.xyz", "-p", potential_file("q.pt"), "-q", "--long-range-cutoff", "9"]) in (2, 5)
    assert "no long-range terms" in capsys.readouterr().err


def test_keys_and_units_are_as_told(here, capsys):
    frames = read("data.xyz", ":")
    for atoms in frames:
        atoms.info["E_kcal"] = atoms.info.pop("REF_energy") / 0.0433641042
        atoms.arrays["F_kcal"] = atoms.arrays.pop("REF_forces") / 0.0433641042
    write("kcal.xyz", frames, format="extxyz")
    words = dict(energy_key="E_kcal", forces_key="F_kcal", unit=("energy=kcal/mol",))
    errors = found("kcal.xyz", **words)["errors"]
    assert errors["energy_mae_meV"] < 1e-2 and errors["forces_mae_meV_A"] < 1e-2
    for words, claim, code in ((["--energy-key", "nope"], "No energy in frame 0 of kcal.xyz", 5), (["--unit", "energy=foot"], "Unknown unit of energy 'foot'", 2),
                               (["--unit", "enrgy=eV"], "did you mean 'energy'", 2), (["--key", "energy=a", "--energy-key", "b"], "both given", 2),
                               (["--key", "energy"], "expected key=value", 2), (["--format", "word"], "format", 5)):  # fmt: skip
        assert main(["evaluate", "kcal.xyz", "-p", "emt", "-q", *words]) == code
        said = capsys.readouterr().err
        assert claim in said and len(said.strip().splitlines()) == 1


def test_isolated_reference_atoms_are_left_out(here):
    atom = Atoms("H")
    atom.info.update(REF_energy=500.0, config_type="IsolatedAtom")
    write("with_atom.xyz", [atom, *read("data.xyz", ":3")], format="extxyz")
    one = found("with_atom.xyz")
    assert one["errors"]["frames"] == 3 and one["frames_left_out"]["isolated_atoms"] == 1 and one["errors"]["energy_mae_meV"] < 1e-3


def frame(number, n_atoms=3):
    zeros = np.zeros((n_atoms, 3))
    return Frame(number, LabelledStructure(np.ones(n_atoms, dtype=int), zeros, 0.0, zeros, None, np.zeros((3, 3)), np.zeros(3, dtype=bool), 0.0, "x", str(number)))


@pytest.mark.parametrize("n, limit", [(1, 1), (5, 10), (100, 100), (101, 100), (1000, 7), (64, 1), (257, 16)])
def test_limit_spreads_over_the_file_in_one_pass(n, limit):
    taken = [f.number for f in evenly((frame(k) for k in range(n)), limit)]
    assert len(taken) == min(n, limit) and taken == sorted(set(taken)) and taken[0] == 0
    if 1 < limit < n:
        gaps = np.diff(taken)
        assert taken[-1] == n - 1 and gaps.max() <= 2 * n / limit + 1 and gaps.min() >= 0.25 * n / limit


def test_never_more_than_twice_the_limit_is_held():
    """Frames of the past are let go: at most 2 * limit + 1 live at a time, and a portion without a limit is bounded too."""
    import weakref

    alive, most = weakref.WeakSet(), 0

    class Watched(Frame):
        __hash__ = object.__hash__

    def source(n):
        nonlocal most
        for k in range(n):
            one = Watched(k, frame(0).labelled)
            alive.add(one)
            most = max(most, len(alive))
            yield one

    list(evenly(source(5000), 20))
    assert most <= 2 * 20 + 3
    alive, most = weakref.WeakSet(), 0
    for portion in portions(source(20_000)):
        assert len(portion) <= 2000
        del portion
    assert most <= 4002


@pytest.mark.slow  # compiles
def test_compiled_code_takes_over_when_it_pays_and_gives_the_same(here, monkeypatch):
    """The compiler itself is left out (minutes); what is traced is evaluated as it is."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(_evaluate_predict, "COMPILING_PAYS_S", -1.0)
    file = potential_file("p.pt")
    compiled, used = found(potential=file, dtype="float64", compile=True), []
    monkeypatch.setattr(_evaluate_predict, "COMPILING_PAYS_S", 1e9)
    monkeypatch.setattr(torch, "compile", lambda *a, **k: used.append(1))
    plain = found(potential=file, dtype="float64", compile=True)
    assert not used
    assert compiled["errors"] == pytest.approx(plain["errors"], rel=1e-9)


def test_too_little_memory_halves_the_batch(here, monkeypatch):
    file = potential_file("p.pt")
    whole, predict, sizes = found(potential=file), _evaluate_predict.ByPotential._predict, []

    def narrow(self, dataset, chosen, *rest):
        sizes.append(len(chosen))
        if len(chosen) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return predict(self, dataset, chosen, *rest)

    monkeypatch.setattr(_evaluate_predict.ByPotential, "_predict", narrow)
    assert found(potential=file)["errors"] == pytest.approx(whole["errors"], rel=1e-5) and min(sizes) <= 2 < max(sizes)  # float32


def test_several_files_are_told_apart(here):
    write("more.xyz", read("data.xyz", ":3"), format="extxyz")
    summary = evaluate(EvaluateConfig(data=("data.xyz", "more.xyz"), potential=("emt",), device="cpu", output="e")).summary
    assert {path: one["errors"]["frames"] for path, one in summary["data"].items()} == {"data.xyz": 10, "more.xyz": 3}
    assert (here / "e/parity-forces-1.png").exists() and (here / "e/parity-forces-2.png").exists()


@pytest.mark.parametrize("words, code, claim", [
    (["none.xyz", "-p", "emt"], 5, "No file none.xyz"), (["data.xyz", "-p", "emt", "-o", "."], 2, "exists already"),
    (["data.xyz", "-p", "emt", "--charged", "maybe"], 2, "charged: got 'maybe'; allowed: refuse, keep, drop"),
    (["data.xyz", "-p", "emt", "--worst", "-1"], 2, "worst must be >= 0"),
    (["data.xyz", "-p", "emt", "-o", "data.xyz/e"], 2, "Cannot write to"), (["empty.xyz", "-p", "emt"], 5, "no frames"),
])  # fmt: skip
def test_what_cannot_be_evaluated_is_refused_and_leaves_nothing(here, capsys, words, code, claim):
    (here / "empty.xyz").touch()
    before = sorted(here.iterdir())
    assert main(["evaluate", *words, "-q"]) == code
    said = capsys.readouterr().err
    assert claim in said and len(said.strip().splitlines()) == 1 and sorted(here.iterdir()) == before


def test_a_bad_frame_in_the_middle_leaves_no_folder(here, capsys):
    frames = read("data.xyz", ":")
    frames[7].arrays["REF_forces"][0, 0] = np.nan
    write("bad.xyz", frames, format="extxyz")
    assert main(["evaluate", "bad.xyz", "-p", "emt", "-o", "e", "-q"]) == 5
    assert "frame 7 of bad.xyz" in capsys.readouterr().err and not (here / "e").exists()


def test_settings_that_matter_stand_in_errors_json(here):
    summary = evaluate(EvaluateConfig(data=("data.xyz",), potential=(potential_file("p.pt", **CHARGES),), device="cpu", long_range_cutoff=6.0, charge=0)).summary
    assert (summary["long_range_cutoff"], summary["charge"], summary["multiplicity"], summary["dtype"]) == (6.0, 0, None, "float32")
    assert len(summary["potential_sha256"]) == 64 and json.dumps(summary, allow_nan=False)


def test_relative_energies_ignore_an_offset(here):
    frames = read("data.xyz", ":")
    for atoms in frames:
        atoms.info["REF_energy"] += 40.0 if atoms.info["molecule"] == "H2O" else -7.0
    write("moved.xyz", frames, format="extxyz")
    one = found("moved.xyz")
    assert one["errors"]["energy_mae_meV"] > 7000 and one["conformers"]["all"]["relative_energy_mae_meV"] < 1e-3
    assert one["conformers"]["all"]["spearman_median"] == pytest.approx(1)
    assert one["energy_after_element_offsets"]["rest_mae_meV_atom"] < 1e-3


def test_configs_refuse_what_they_cannot_mean():
    config = EvaluateConfig(data=("x",), potential=("emt",))
    with pytest.raises(ValueError, match="long_range_cutoff must be > 0"):
        replace(config, long_range_cutoff=-1.0)
    with pytest.raises(ValueError, match="batch_edges must be >= 1"):
        replace(config, batch_edges=0)
