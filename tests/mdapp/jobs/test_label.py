"""`mdapp label`: the calculator's own numbers, whatever dies on the way."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from mdapp.cli import main
from mdapp.config.label import LabelConfig
from mdapp.errors import OutputError, PotentialError, RunFolderError, StructureError
from mdapp.jobs._label_file import LabelFile
from mdapp.jobs.label import label
from potentials.data.read import read_labelled

STRANGE = '''
import os, signal, time
import numpy as np
from ase.calculators.emt import EMT

class Deadly(EMT):
    """Dies, fails, hangs, or gives what is not finite, as the first hydrogen's height says."""
    def calculate(self, atoms, properties, changes):
        super().calculate(atoms, properties, changes)
        mood = round(atoms.positions[-1, 2], 3)
        if mood == 5.0: os.kill(os.getpid(), signal.SIGKILL)
        if mood == 6.0: raise RuntimeError("it would not converge")
        if mood == 7.0: self.results["forces"] = self.results["forces"] * np.nan
        if mood == 8.0: time.sleep(600)

class Slow(EMT):
    def calculate(self, atoms, properties, changes):
        super().calculate(atoms, properties, changes)
        time.sleep(0.3)
'''


def waters(n=4):
    frames = []
    for k in range(n):
        frames.append(molecule("H2O"))
        frames[-1].rattle(0.05, seed=k)
    return frames


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strange_calculators.py").write_text(STRANGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd(), *sys.path]))
    return tmp_path


def test_labels_are_the_calculators_own_numbers_and_training_reads_them(here):
    frames = waters()
    write("w.xyz", frames)
    result = label(LabelConfig(("w.xyz",), "emt", output="l.xyz", workers=1))
    assert (result.exit_code, result.summary["n_labelled"]) == (0, 4)
    for frame, found in zip(frames, read_labelled("l.xyz"), strict=True):
        frame.calc = EMT()
        assert found.energy == pytest.approx(frame.get_potential_energy(), abs=1e-7)  # extxyz holds 8 digits of positions
        assert found.forces == pytest.approx(frame.get_forces(), abs=1e-5)
    assert not os.path.exists("l.failed.csv")


def test_a_structure_that_kills_hangs_or_fails_costs_no_other(here):
    frames = waters(6)
    for k, mood in ((1, 5.0), (2, 6.0), (3, 7.0), (4, 8.0)):
        frames[k].positions[-1, 2] = mood
    write("w.xyz", frames)
    result = label(LabelConfig(("w.xyz",), "ase:strange_calculators:Deadly", output="l.xyz", workers=2, time_limit=10.0))
    assert [a.info["structure"] for a in read("l.xyz", ":")] == [0, 5]
    reasons = list(result.summary["failed"].values())
    assert result.exit_code == 5 and len(reasons) == 4
    for reason, words in zip(reasons, ("signal 9", "it would not converge", "forces that the calculator gives are not finite", "took more than")):
        assert words in reason
    assert len((here / "l.failed.csv").read_text().splitlines()) == 5


def test_a_job_killed_between_two_labels_goes_on_where_it_was(here):
    write("w.xyz", waters(12))
    words = [sys.executable, "-m", "mdapp", "label", "w.xyz", "-c", "ase:strange_calculators:Slow", "-o", "l.xyz", "--workers", "1", "-q"]
    job = subprocess.Popen(words, env=os.environ)
    while job.poll() is None and (not os.path.exists("l.xyz") or os.path.getsize("l.xyz") < 500):
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    done = (here / "l.xyz").read_text()
    with open("l.xyz", "a") as file:
        file.write("3\nhalf a fra")  # as a kill in the middle of a write would leave it
    assert 0 < done.count("structure=") < 12
    with pytest.raises(OutputError, match="--resume"):
        label(LabelConfig(("w.xyz",), "ase:strange_calculators:Slow", output="l.xyz"))
    with pytest.raises(RunFolderError, match="another calculator"):
        label(LabelConfig(("w.xyz",), "emt", output="l.xyz", resume=True))
    result = label(LabelConfig(("w.xyz",), "ase:strange_calculators:Slow", output="l.xyz", workers=1, resume=True))
    assert result.exit_code == 0 and (here / "l.xyz").read_text().startswith(done)
    assert [a.info["structure"] for a in read("l.xyz", ":")] == list(range(12))


def test_arrivals_out_of_order_end_in_the_order_of_input(tmp_path):
    with LabelFile(tmp_path / "l.xyz", {"format": 1}, resume=False) as file:
        for k in (2, 0, 1):
            atoms = waters(k + 1)[k]
            atoms.info["structure"] = k
            atoms.calc = SinglePointCalculator(atoms, energy=float(k), forces=np.zeros((3, 3)))
            file.keep(k, atoms)
        file.close([], complete=True)
    assert [a.get_potential_energy() for a in read(tmp_path / "l.xyz", ":")] == [0.0, 1.0, 2.0]


def test_unusable_structures_are_told_and_left_behind(here, capsys):
    frames = waters(3)
    frames[0].positions[1] = frames[0].positions[0] + 0.01
    frames[2].numbers[0] = 92
    write("w.xyz", frames)
    assert main(["label", "w.xyz", "-c", "emt", "-o", "l.xyz", "--workers", "1", "--json"]) == 5
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert "Å apart" in failed["w.xyz"] and "does not know U" in failed["w.xyz frame 2"]
    assert len(read("l.xyz", ":")) == 1


@pytest.mark.parametrize(
    "words, match",
    [
        (["w.xyz"], "calculator: name one"),
        (["w.xyz", "-c", "emtt"], "Did you mean 'emt'"),
        (["w.xyz", "-c", "emt:large"], "has no variants"),
        (["w.xyz", "-c", "tblite:GFN7"], "no method 'GFN7'"),
        (["w.xyz", "-c", "pyscf:hf"], "METHOD/BASIS"),
        (["w.xyz", "-c", "mace:medium"], "Models are not downloaded"),
        (["w.xyz", "-c", "ase:ase.atoms:Atoms"], "not an ASE calculator class"),
        (["w.xyz", "-c", "emt", "--output", "l.traj"], "must end in .xyz"),
        (["w.xyz", "-c", "emt", "--resume"], "name the file to go on in"),
        (["w.xyz", "-c", "emt", "--calculator-option", "a=1"], "calculator_option is for"),
        (["nothing.xyz", "-c", "emt"], "does not exist"),
        (["w.xyz", "-c", "emt", "--output", "w.xyz"], "not begun by `mdapp label`"),
    ],
)
def test_bad_words_are_answered_in_a_sentence_and_leave_nothing(here, words, match, capsys):
    write("w.xyz", waters(1))
    before = sorted(p.name for p in here.iterdir())
    assert main(["label", *words]) in (2, 5)
    said = capsys.readouterr().err
    assert match in said and "Traceback" not in said and said.count("\n") == 1
    assert sorted(p.name for p in here.iterdir() if p.name != "__pycache__") == before


def test_none_labelled_leaves_nothing(here):
    frames = waters(1)
    frames[0].positions[-1, 2] = 6.0
    write("w.xyz", frames)
    result = label(LabelConfig(("w.xyz",), "ase:strange_calculators:Deadly", output="l.xyz", workers=1))
    assert result.exit_code == 5 and "would not converge" in result.summary["why"]
    assert not [p.name for p in here.iterdir() if p.name.startswith("l.")]


def test_only_unusable_structures_are_an_error(here):
    frames = waters(1)
    frames[0].numbers[0] = 92
    write("w.xyz", frames)
    with pytest.raises(StructureError, match="None of the 1 structures can be labelled"):
        label(LabelConfig(("w.xyz",), "emt", output="l.xyz"))
    assert not os.path.exists("l.xyz")


def test_tight_binding_takes_charge_from_the_file_and_options(here):
    tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed")
    frames = [molecule("H2O"), molecule("OH")]
    frames[1].info["charge"] = -1
    write("w.xyz", frames)
    label(LabelConfig(("w.xyz",), "tblite:GFN1-xTB", ("accuracy=0.1",), output="l.xyz", workers=1))
    for frame, charge in zip(read("l.xyz", ":"), (0, -1)):
        alone = frame.copy()
        alone.calc = tblite.TBLite(method="GFN1-xTB", charge=charge, multiplicity=1, accuracy=0.1, verbosity=0)
        assert frame.get_potential_energy() == pytest.approx(alone.get_potential_energy(), abs=1e-6)
        assert frame.get_forces() == pytest.approx(alone.get_forces(), abs=1e-5)
        assert frame.get_charges().sum() == pytest.approx(charge, abs=1e-6)


def test_a_calculator_without_forces_is_refused(here):
    (here / "half.py").write_text("from ase.calculators.calculator import Calculator\nclass Half(Calculator):\n    implemented_properties = ['energy']\n")
    write("w.xyz", waters(1))
    with pytest.raises(PotentialError, match="gives no forces"):
        label(LabelConfig(("w.xyz",), "ase:half:Half", output="l.xyz"))


@pytest.mark.slow
def test_dask_workers_label_the_same(here):
    pytest.importorskip("distributed", reason="Dask is not installed")
    write("w.xyz", waters(3))
    label(LabelConfig(("w.xyz",), "emt", output="a.xyz", workers=1))
    label(LabelConfig(("w.xyz",), "emt", output="b.xyz", workers=1, cluster="local"))
    assert (here / "a.xyz").read_text() == (here / "b.xyz").read_text()


def test_labels_of_another_method_do_not_stay_beside_the_new_ones(here):
    frames = waters(2)
    for frame in frames:
        frame.info.update(REF_energy=-100.0, dft_energy=-100.0, REF_stress=np.zeros(6), my_Energy=-100.0, REF_virial=np.zeros(9), dft_dipole=np.ones(3),
                          config_type="gas", charge=0)  # fmt: skip
        frame.arrays["REF_forces"] = 3 * np.ones((3, 3))
    write("old.xyz", frames, format="extxyz")
    label(LabelConfig(("old.xyz",), "emt", output="l.xyz", workers=1))
    for frame, found, text in zip(frames, read_labelled("l.xyz"), read("l.xyz", ":"), strict=True):
        frame.calc = EMT()
        assert found.energy == pytest.approx(frame.get_potential_energy(), abs=1e-7)
        assert found.forces == pytest.approx(frame.get_forces(), abs=1e-5)
        assert set(text.info) == {"config_type", "charge", "structure", "level_of_theory"} and set(text.arrays) == {"numbers", "positions"}
