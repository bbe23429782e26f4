"""A structure that the potential never saw is told of before the first step, by every job; what it was shown is not. And the command that shows it."""
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write

from mdapp.cli import main
from mdapp.jobs._unknown import unknown_words
from potentials.calculator import load_calculator, load_potential

ROOT = Path(__file__).resolve().parents[3]
OXIDISED = ROOT / "examples" / "learn_peptide" / "Ac-MetO-NHMe.xyz"  # no training frame has oxygen on sulfur
TRAINING = ROOT / "examples" / "train_so3krates" / "ethanol_gfn2_validation.extxyz"
WORDS = "S7 and O8 are outside what so3krates.pt was trained on (up to 2.4 times as far as the edge of its training set): its forces there are guesses."


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_run_of_what_was_never_seen_is_told_of_at_once_and_its_verdict_is_suspect(capsys):
    """The sulfur stays where it began, beyond the guard's limit of 2 for what is known: the run goes on, and nothing more is said."""
    assert main(["run", str(OXIDISED), "-p", "so3krates.pt", "--steps", "20", "--seed", "1", "-o", "run"]) == 0
    said = capsys.readouterr()
    assert WORDS in said.err + said.out
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["verdict"] == "suspect" and summary["warnings"] == {} and any(WORDS in words for words in summary["start_warnings"])


@pytest.mark.parametrize("words", [["check"], ["relax", "--steps", "3"], ["minima", "--hops", "1", "--walkers", "1", "-o", "search"]])
def test_the_other_jobs_tell_of_it_too(words, capsys):
    verb, *options = words
    main([verb, str(OXIDISED), "-p", "so3krates.pt", *options])
    said = capsys.readouterr()
    assert WORDS in said.err + said.out


def test_many_structures_of_one_kind_are_told_of_once(capsys):
    frames = [read(OXIDISED) for _ in range(3)]
    for k, atoms in enumerate(frames):
        atoms.positions += np.random.default_rng(k).normal(0, 0.01, atoms.positions.shape)
    write("three.xyz", frames, format="extxyz")
    main(["relax", "three.xyz", "-p", "so3krates.pt", "--steps", "2", "-o", "relaxed"])
    said = capsys.readouterr()
    assert (said.err + said.out).count("outside what so3krates.pt was trained on") == 1


@pytest.mark.parametrize("name", ["examples/peptide.xyz", "examples/ethanol.xyz"])
def test_of_what_was_shown_nothing_is_said(name):
    from mdapp.jobs._potential import load

    path = ROOT / name
    atoms = read(path) if path.exists() else molecule("CH3CH2OH")
    assert unknown_words(atoms, load(("so3krates.pt",), "cpu")) == []


def test_a_potential_without_a_domain_says_nothing():
    from mdapp.jobs._potential import load

    assert unknown_words(molecule("CH3CH2OH"), load(("lj",), "cpu")) == []


# ---------------------------------------------------------------------------- the command


def test_a_potential_that_is_shown_ethanol_knows_no_peptide(capsys):
    """The numbers stay what they were, to the last bit."""
    assert main(["potentials", "domain", "so3krates.pt", str(TRAINING), "-o", "small.pt"]) == 0
    assert "with the domain of" in capsys.readouterr().out
    small, shipped = load_potential("small.pt"), load_potential("so3krates.pt")
    assert small.domain.numbers.tolist() == [1, 6, 8] and small.card.training["domain_frames"] == len(read(TRAINING, ":"))
    assert all((small.state_dict()[name] == tensor).all() for name, tensor in shipped.state_dict().items())
    far = []
    for word in ("small.pt", "so3krates.pt"):
        atoms = read(ROOT / "examples" / "peptide.xyz")
        atoms.calc = load_calculator(word)
        atoms.get_forces()
        far.append(atoms.calc.results["domain_distance"])
    assert np.isinf(far[0][atoms.numbers == 7]).all() and far[0][4] > 4 and far[1].max() < 1, "atom 4 is a carbonyl's"


@pytest.mark.parametrize("words, said", [
    ([], "takes a potential, files of its training set and an --output, got nothing"), (["so3krates.pt", "-o", "x.pt"], "got no data"),
    (["so3krates.pt", str(TRAINING)], "got no --output"), (["so3krates.pt", "none.xyz", "-o", "x.pt"], "none.xyz"),
    (["none.pt", str(TRAINING), "-o", "x.pt"], "none.pt"), (["so3krates.pt", "argon.xyz", "-o", "x.pt"], "none of 1 frames is made of the elements"),
    (["so3krates.pt", str(TRAINING), "-o", "there.pt"], "exists already")])  # fmt: skip
def test_what_cannot_be_shown_is_refused_in_a_sentence(words, said, capsys):
    argon = read(TRAINING, 0)
    argon.numbers[:] = 18
    write("argon.xyz", argon, format="extxyz")
    Path("there.pt").write_bytes(b"mine")
    assert main(["potentials", "domain", *words]) in (2, 3, 4, 5, 6, 7)
    shown = capsys.readouterr()
    assert said in shown.err and "Traceback" not in shown.err and not Path("x.pt").exists() and Path("there.pt").read_bytes() == b"mine"
