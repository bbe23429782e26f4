"""Files and names from strangers, given to verbs on the command line: no code in them runs, none leads elsewhere, none speaks to the terminal."""
import os
import pickle
import sqlite3
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Icosahedron
from ase.db import connect

from mdapp.cli import main
from mdapp.errors import harmless

QUICK = ["-p", "lj", "--steps", "5", "--temperature", "20", "--timestep", "4", "--device", "cpu", "--threads", "1", "-q"]


class Code:
    """Whoever unpickles it has run a command."""

    def __reduce__(self):
        return os.system, ("touch RAN",)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Icosahedron("Ar", 2, latticeconstant=5.4).write("ar.xyz")


def npz(path):
    np.savez(path, z=np.array([18, 18]), R=np.zeros((1, 2, 3)), E=np.array([Code()], dtype=object), F=np.zeros((1, 2, 3)))


def pickled(path):
    path.write_bytes(pickle.dumps(Code()))


def database(path):
    """ASE's own, with pickles where it keeps arrays and data."""
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.zeros((3, 3)))
    with connect(path) as db:
        db.write(atoms, data={"x": [1, 2]})
    file = sqlite3.connect(path)
    file.execute("update systems set data=?, forces=?", (pickle.dumps(Code()), pickle.dumps(Code())))
    file.commit()
    file.close()


def linked(path):
    """SPICE's layout, with the positions in another file."""
    with h5py.File(path, "w") as file:
        group = file.create_group("mol")
        group["atomic_numbers"], group["dft_total_energy"] = np.array([18, 18]), np.zeros(1)
        group["dft_total_gradient"], group["conformations"] = np.zeros((1, 2, 3)), h5py.ExternalLink("victim.h5", "/x")


VERBS = [["run", "FILE", *QUICK], ["evaluate", "FILE", "-p", "lj"], ["data", "report", "FILE"], ["analyse", "FILE"], ["relax", "FILE", "-p", "lj"]]


@pytest.mark.parametrize("verb", VERBS, ids=lambda words: words[0])
@pytest.mark.parametrize("name, make", [("e.npz", npz), ("e.traj", pickled), ("e.xyz", pickled), ("e.pkl", pickled), ("e.pickle", pickled), ("e.db", database), ("e.h5", linked)])
def test_no_file_runs_code_or_leads_elsewhere_whatever_verb_it_is_given_to(name, make, verb, capsys):
    make(Path(name))
    before = sorted(os.listdir())
    assert main([name if word == "FILE" else word for word in verb]) == 5
    said = capsys.readouterr().err
    assert "Traceback" not in said and "internal error" not in said and len(said.strip().splitlines()) <= 3
    assert sorted(os.listdir()) == before and not Path("RAN").exists()


def test_an_argument_with_an_at_sign_is_no_list_of_arguments(capsys):
    Path("words.txt").write_text("ar.xyz\n")
    assert main(["run", "@words.txt", *QUICK]) == 5 and "@words.txt does not exist" in capsys.readouterr().err


def test_names_cannot_speak_to_the_terminal(capsys):
    """An escape sequence could clear the screen, colour a verdict or change what is pasted; a new line could forge a row."""
    name = "a\nb\x1b[2J\x9b31m\u202ec.xyz"
    os.link("ar.xyz", name)
    assert main(["run", name, *(word for word in QUICK if word != "-q")]) == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.isprintable() and main(["resume", str(folder), "--steps", "8"]) == 0
    assert main(["run", f"gone{name}", *QUICK]) == 5 and main(["run", "ar.xyz", *QUICK, "-p", name]) == 5
    said = capsys.readouterr()
    for text in (said.out, said.err, (folder / "run.log").read_text()):
        assert text and all(c in "\n\t" or c.isprintable() for c in text)
    assert "\\x1b[2J" in said.out and "\\x1b[2J" in said.err


def test_contents_of_a_file_cannot_speak_to_the_terminal_either(capsys):
    Path("x.xyz").write_text("\x1b]0;owned\x07\n\nAr 0 0 0\n")
    assert main(["run", "x.xyz", *QUICK]) == 5
    said = capsys.readouterr().err
    assert "\x1b" not in said and "\x07" not in said and "x.xyz" in said


def test_what_can_be_printed_stays_as_it_is():
    assert harmless("12.3 ± 0.4 Å, «α»\n\t→ 東") == "12.3 ± 0.4 Å, «α»\n\t→ 東"
    assert harmless("a\x1b[1mb\x00\x7f\r") == "a\\x1b[1mb\\x00\\x7f\\r"
