"""Published weights become a potential file by one command; a charged molecule and a cell run with it, and what is used is said aloud."""
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from mdapp.cli import main

WEIGHTS = Path(__file__).resolve().parents[4] / "shared" / "reference" / "so3lr" / "weights"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A small potential with all that SO3LR has, of random weights: charge, spin, electrostatics, dispersion."""
    import torch

    from potentials.architectures import architectures
    from potentials.checkpoint import save_potential

    kind = architectures.get("so3krates")
    options = dict(num_layers=1, num_features=8, num_heads=2, degrees=(1, 2), num_radial_basis_fn=4, energy_regression_dim=8, output_is_zero_at_init=True)
    far = dict(use_charge_embed=True, use_spin_embed=True, electrostatic_energy_bool=True, dispersion_energy_bool=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        potential = kind(kind.Config(elements=(1, 6, 7, 8), cutoff=4.0, **options, **far))
    path = tmp_path_factory.mktemp("potential") / "far.pt"
    save_potential(path, potential)
    return str(path)


def hydroxide(path="ion.xyz", **info):
    atoms = molecule("OH")
    atoms.info.update(info)
    write(path, atoms, format="extxyz")
    return path


def ice(path="cell.xyz"):
    one = molecule("H2O")
    one.set_cell([6.0, 6.0, 6.0])
    one.pbc = True
    write(path, one, format="extxyz")
    return path


def header_of(said):
    """What stands behind each label of the header."""
    return {line[2:13].strip(): line[13:].strip() for line in said.splitlines() if line.startswith("  ")}


CHECK = ["--probe", "1", "--threads", "1", "--guard", "off", "--no-relax-start"]


@pytest.mark.parametrize("source", ["params.pkl", "so3lr_params.npz"])
def test_published_parameters_become_a_potential_file(source, here, capsys):
    if not WEIGHTS.exists():
        pytest.skip(f"SO3LR's parameters are not here ({WEIGHTS})")
    assert main(["potentials", "import", "so3lr", str(WEIGHTS / source), "--output", "so3lr.pt"]) == 0
    said = capsys.readouterr().out
    for words in ("so3lr.pt: written from", "530,238 parameters", "H C N O F P S Cl", "PBE0+MBD", "MIT", "--charge", "mdapp run STRUCTURE --potential so3lr.pt"):
        assert words in said
    assert [f.name for f in here.iterdir()] == ["so3lr.pt"]
    assert main(["potentials", "so3lr.pt", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["parameters"] == 530238 and card["knows_charge"] and card["architecture"] == "so3krates"
    foreign = Atoms("HBr", [[0, 0, 0], [0, 0, 1.41]])
    write("hbr.xyz", foreign)
    assert main(["run", "hbr.xyz", "-p", "so3lr.pt"]) == 5
    assert "Br" in capsys.readouterr().err and not (here / "runs").exists()


def test_json_says_what_was_written(here, capsys):
    if not WEIGHTS.exists():
        pytest.skip(f"SO3LR's parameters are not here ({WEIGHTS})")
    assert main(["potentials", "import", "so3lr", str(WEIGHTS / "params.pkl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == "so3lr.pt" and (here / "so3lr.pt").exists()


@pytest.mark.parametrize("words, exit_code, claim", [
    ([], 2, "takes a format and a file, got nothing; known formats: n2p2, so3lr"), (["so3lr"], 2, "takes a format and a file, got so3lr"),
    (["so3l", "p.pkl"], 2, "'so3l' is unknown (did you mean 'so3lr'?); known: n2p2, so3lr"), (["so3lr", "none.pkl"], 5, "There is no parameter file none.pkl"),
    (["so3lr", "text.pkl"], 5, "text.pkl is not a readable parameter file"), (["so3lr", "evil.pkl"], 5, "opening it could run code"),
    (["so3lr", "text.pkl", "-o", "text.pkl"], 2, "exists already and is not overwritten"), (["so3lr", "text.pkl", "-o", "."], 2, "is a folder"),
    (["so3lr", "text.pkl", "-o", "none/x.pt"], 2, "There is no folder none"),
])  # fmt: skip
def test_what_cannot_be_imported_is_refused_in_one_line_and_nothing_is_written(words, exit_code, claim, here, capsys):
    Path("text.pkl").write_text("no pickle")
    Path("evil.pkl").write_bytes(b"cos\nsystem\n(Vtouch ran\ntR.")
    assert main(["potentials", "import", *words]) == exit_code
    said = capsys.readouterr()
    assert claim in said.err and said.out == "" and len(said.err.strip().splitlines()) == 1
    assert sorted(f.name for f in here.iterdir()) == ["evil.pkl", "text.pkl"]


def test_output_belongs_to_an_import(here, capsys):
    assert main(["potentials", "lj", "-o", "x"]) == 2 and "for `mdapp potentials import`" in capsys.readouterr().err


def test_a_charge_is_taken_from_the_option_or_the_file_and_said(here, file, capsys):
    assert main(["check", hydroxide(), "-p", file, "--charge", "-1", *CHECK]) == 0
    assert header_of(capsys.readouterr().out)["charge"] == "total charge -1 e (--charge), multiplicity 1 (not stated, taken as 1)"
    assert main(["check", hydroxide(charge=-1, multiplicity=1), "-p", file, *CHECK]) == 0
    assert header_of(capsys.readouterr().out)["charge"] == "total charge -1 e (from the structure file), multiplicity 1 (from the structure file)"
    assert main(["check", hydroxide(), "-p", file, "--multiplicity", "2", *CHECK]) == 0
    said = capsys.readouterr()
    assert header_of(said.out)["charge"] == "total charge 0 e (not stated, taken as 0), multiplicity 2 (--multiplicity)"
    assert "electrons" not in said.err + said.out


def test_charge_and_spin_reach_the_potential(here, file):
    from mdapp.config import RelaxConfig
    from mdapp.jobs.relax import relax

    energies = set()
    for k, options in enumerate(({}, {"charge": -1}, {"multiplicity": 2})):
        result = relax(RelaxConfig(structure=(hydroxide(),), potential=(file,), output=f"{k}.extxyz", steps=1, fmax=1e3, threads=1, **options))
        energies.add(round(result.results[0].energy_start, 9))
        assert {key: read(f"{k}.extxyz").info[key] for key in options} == options
    assert len(energies) == 3


def test_what_does_not_fit_the_electrons_is_pointed_out(here, file, capsys):
    main(["check", hydroxide(), "-p", file, *CHECK])
    assert "A radical needs --multiplicity 2" in "".join(capsys.readouterr())
    main(["check", hydroxide(), "-p", file, "--charge", "-1", "--multiplicity", "2", *CHECK])
    assert "10 electrons at a total charge of -1 e cannot have multiplicity 2, which needs an odd number" in "".join(capsys.readouterr())


@pytest.mark.parametrize("words, claim", [
    (["--charge", "-1"], "total charge of -1 e, but lj knows no charge"), (["--multiplicity", "2"], "multiplicity 2, but lj knows no unpaired electrons"),
])  # fmt: skip
def test_charge_and_spin_are_refused_for_a_potential_that_knows_none(words, claim, here, capsys):
    for verb in ("run", "relax", "check"):
        assert main([verb, hydroxide(), "-p", "lj", *words]) == 5
        assert claim in capsys.readouterr().err
    assert [f.name for f in here.iterdir()] == ["ion.xyz"]


@pytest.mark.parametrize("value", [0, 1.5, "two"])
def test_a_multiplicity_that_is_none_is_refused(value, here, file, capsys):
    assert main(["check", hydroxide(multiplicity=value), "-p", file, *CHECK]) == 5
    assert "expected a whole number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize("words, cell, claim", [
    ([], False, "all pairs (an isolated molecule)"), ([], True, "cutoff 12 Å (the usual one in a cell)"), (["none"], False, "all pairs"),
    (["12"], False, "cutoff 12 Å"), (["1.5nm"], True, "cutoff 15 Å"), (["auto"], True, "cutoff 12 Å (the usual one in a cell)"),
])  # fmt: skip
def test_the_header_says_which_long_range_cutoff_is_used(words, cell, claim, here, file, capsys):
    structure = ice() if cell else hydroxide(charge=-1)
    assert main(["check", structure, "-p", file, *([f"--long-range-cutoff={words[0]}"] if words else []), *CHECK]) == 0
    assert header_of(capsys.readouterr().out)["long range"] == claim


def test_a_short_cutoff_in_a_cell_is_warned_of(here, file, capsys):
    main(["check", ice(), "-p", file, "--long-range-cutoff", "8", *CHECK])
    assert "long-range cutoff of 8 Å is short for a periodic structure" in "".join(capsys.readouterr())
    main(["check", hydroxide(charge=-1), "-p", file, "--long-range-cutoff", "8", *CHECK])
    assert "is short" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("value, cell, claim", [
    ("none", True, "a periodic structure has infinitely many"), ("-3", False, "must be > 0 Å, got -3"), ("long", False, "a length in Å, none (all pairs) or auto"),
    ("3fs", False, "unit 'fs'"), ("nan", False, "long_range_cutoff"),
])  # fmt: skip
def test_a_long_range_cutoff_that_cannot_be_is_refused(value, cell, claim, here, file, capsys):
    for verb in ("run", "relax"):
        assert main([verb, ice() if cell else hydroxide(charge=-1), "-p", file, f"--long-range-cutoff={value}"]) == 2
        said = capsys.readouterr().err
        assert claim in said and len(said.strip().splitlines()) == 1
    assert not (here / "runs").exists()


def test_a_long_range_cutoff_is_refused_for_a_potential_without_long_range_terms(here, capsys):
    assert main(["check", hydroxide(), "-p", "lj", "--long-range-cutoff", "12"]) in (2, 5)
    assert "long_range_cutoff" in capsys.readouterr().err


def test_a_charged_run_goes_on_as_if_it_had_not_stopped(here, file):
    """Charge, multiplicity and long-range cutoff are part of the run: the resumed run equals the whole one to the bit."""
    words = [hydroxide(), "-p", file, "--charge", "-1", "--multiplicity", "3", "--long-range-cutoff", "none", "--threads", "1", "--seed", "1", "--every", "5",
             "--timestep", "0.1", "--guard", "off", "--temperature", "50"]  # fmt: skip
    assert main(["run", *words, "--steps", "20", "-o", "whole"]) == 0
    assert main(["run", *words, "--steps", "10", "-o", "halves"]) == 0
    assert main(["resume", "halves", "--steps", "20"]) == 0
    whole, halves = (read(f"{name}/final.extxyz") for name in ("whole", "halves"))
    np.testing.assert_array_equal(whole.positions, halves.positions)
    np.testing.assert_array_equal(whole.get_momenta(), halves.get_momenta())
    assert halves.info["charge"] == -1 and halves.info["multiplicity"] == 3


def test_ewald_is_an_option_for_a_cell_and_said(here, file, capsys):
    assert main(["check", ice(), "-p", file, "--electrostatics", "ewald", *CHECK]) == 0
    assert header_of(capsys.readouterr().out)["long range"] == "electrostatics over all images (Ewald), dispersion to 12 Å"
    assert main(["check", hydroxide(charge=-1), "-p", file, "--electrostatics", "ewald", *CHECK]) == 2
    assert "periodic along all three vectors" in capsys.readouterr().err
    assert main(["check", ice(), "-p", "lj", "--electrostatics", "ewald", *CHECK]) in (2, 5)
    assert "partial charges" in capsys.readouterr().err
    assert main(["check", ice(), "-p", file, "--electrostatics", "pme", *CHECK]) == 2
    assert "pairs, ewald" in capsys.readouterr().err


def test_ewald_and_a_long_cutoff_come_to_the_same_forces(file):
    from potentials import load_calculator

    atoms = molecule("H2O")
    atoms.set_cell([6.0, 6.5, 7.0])
    atoms.pbc = True
    forces = []
    for options in ({"ewald": True}, {"long_range_cutoff": 40.0}, {"long_range_cutoff": 80.0}):
        atoms.calc = load_calculator(file, dtype="float64", **options)
        forces.append(atoms.get_forces())
    near, far = (np.abs(f - forces[0]).max() for f in forces[1:])
    assert far < 0.7 * near and far < 0.05
