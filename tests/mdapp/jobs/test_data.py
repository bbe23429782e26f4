"""`mdapp data report` from Python and from the command line."""
import csv
import json

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from mdapp.cli import main
from mdapp.config import DataReportConfig
from mdapp.jobs.data import report


@pytest.fixture(scope="module")
def frames():
    """Thirty rattled ethanol molecules with energies and forces of EMT."""
    rng = np.random.default_rng(4)
    made = []
    for _ in range(30):
        atoms = molecule("CH3CH2OH")
        atoms.positions += 0.04 * rng.standard_normal(atoms.positions.shape)
        atoms.calc = EMT()
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = float(atoms.get_potential_energy()), atoms.get_forces()
        atoms.calc = None
        made.append(atoms)
    return made


@pytest.fixture
def folder(tmp_path, monkeypatch, frames):
    """A working folder with a sound file and one whose frame 3 has two atoms too close."""
    monkeypatch.chdir(tmp_path)
    write("sound.xyz", frames, format="extxyz")
    bad = [atoms.copy() for atoms in frames]
    bad[3].positions[0] = bad[3].positions[1] + [0.8, 0, 0]
    write("bad.xyz", bad, format="extxyz")
    return tmp_path


def test_a_report_holds_a_page_a_list_and_a_summary(folder):
    result = report(DataReportConfig(data="bad.xyz"))
    assert result.exit_code == 0 and {f.name for f in result.folder.iterdir()} == {"report.png", "report.svg", "report.json", "rejected.csv"}
    with open(result.folder / "rejected.csv", newline="") as file:
        rows = [(row["file"], row["frame"], row["reason"]) for row in csv.DictReader(file)]
    assert ("bad.xyz", "3", "too close") in rows and {row[1] for row in rows} == {"3"}
    summary = json.loads((result.folder / "report.json").read_text())
    close = next(f for f in summary["findings"] if f["check"] == "too close")
    assert summary["verdict"] == "suspicious" and close["frame_numbers"] == {"bad.xyz": [3]} and summary["suspected_frames"] == 1


def test_sound_data_are_called_sound(folder, capsys):
    assert main(["data", "report", "sound.xyz", "--no-plots"]) == 0
    out = capsys.readouterr().out
    assert "sound: no check found anything to suspect" in out and "30 of 1 molecule" in out and "warning" not in out
    assert len((folder / "sound-data-report" / "rejected.csv").read_text().splitlines()) == 1


def test_a_second_default_report_has_another_name_and_a_given_one_is_not_overwritten(folder, capsys):
    for _ in range(2):
        assert main(["data", "report", "sound.xyz", "--no-plots", "-q"]) == 0
    assert (folder / "sound-data-report-2").is_dir()
    assert main(["data", "report", "sound.xyz", "-o", "sound-data-report"]) == 2
    assert "exists already and is not overwritten" in capsys.readouterr().err


def test_copies_across_the_split_are_found_and_told_as_json(folder, capsys, frames):
    write("held.xyz", frames[4:6], format="extxyz")
    assert main(["data", "report", "sound.xyz", "--validation", "held.xyz", "--json", "--no-plots"]) == 0
    summary = json.loads(capsys.readouterr().out)
    copies = next(f for f in summary["findings"] if f["check"] == "copy across the split")
    assert copies["frame_numbers"] == {"sound.xyz": [4, 5]} and copies["beyond_doubt"] == 2


def test_named_levels_of_theory_are_told(folder, capsys):
    assert main(["data", "report", "sound.xyz", "bad.xyz", "--level-of-theory", "sound.xyz=PBE", "--level-of-theory", "bad.xyz=EMT", "--no-plots"]) == 0
    assert "2 levels of theory ('PBE', 'EMT')" in capsys.readouterr().out


@pytest.mark.parametrize("words, code, sentence", [
    (["missing.xyz"], 5, "No file missing.xyz"),
    ([], 2, "'data' is missing"),
    (["sound.xyz", "sound.xyz"], 2, "named twice"),
    (["sound.xyz", "--threshold", "to_close=0.5"], 2, "did you mean 'too_close'"),
    (["sound.xyz", "--threshold", "too_close=-1"], 2, "too_close must be > 0"),
    (["sound.xyz", "--elements", "C,Q"], 2, "'Q' is no element"),
    (["sound.xyz", "--energy-key", "E"], 5, "there: "),
    (["sound.xyz", "--unit", "energy=furlong"], 2, "furlong"),
    (["sound.xyz", "--level-of-theory", "other.xyz=PBE"], 2, "none of the files"),
])
def test_what_cannot_be_is_refused_and_leaves_nothing_behind(folder, capsys, words, code, sentence):
    before = set(folder.iterdir())
    assert main(["data", "report", *words]) == code
    err = capsys.readouterr().err
    assert sentence in err and "Traceback" not in err and set(folder.iterdir()) == before


def test_dry_run_prints_settings_that_can_be_read_back(folder, capsys):
    assert main(["data", "report", "bad.xyz", "--threshold", "too_close=0.5", "--dry-run"]) == 0
    (folder / "report.toml").write_text(capsys.readouterr().out)
    assert main(["data", "report", "--config", "report.toml", "--no-plots", "-o", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["thresholds"] == {"too_close": 0.5}


def test_labels_that_are_no_numbers_are_listed_and_no_reason_to_stop(folder, frames):
    bad = [atoms.copy() for atoms in frames]
    bad[7].info["REF_energy"] = np.nan
    bad[9].arrays["REF_forces"][1, 1] = np.inf
    write("nan.xyz", bad, format="extxyz")
    result = report(DataReportConfig(data="nan.xyz"))
    with open(result.folder / "rejected.csv", newline="") as file:
        rows = [(row["frame"], row["reason"], row["beyond_doubt"]) for row in csv.DictReader(file)]
    assert result.exit_code == 0 and rows == [("7", "not finite", "True"), ("9", "not finite", "True")]
    assert result.summary["frames"] == 30 and result.summary["beyond_doubt_frames"] == 2
