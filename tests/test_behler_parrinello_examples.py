"""The Behler-Parrinello examples and the study of descriptors, in a short mode."""
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

ROOT = Path(__file__).resolve().parents[1]


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def trimer():
    return module(ROOT / "examples/behler_parrinello/lj_trimer.py")


@pytest.fixture(scope="module")
def crystal():
    return module(ROOT / "examples/behler_parrinello/li27.py")


def test_the_trimer_is_labelled_by_lennard_jones_law(trimer):
    atoms = trimer.triangle(1.1, 1.3, 1.7)
    sides = np.array([1.1, 1.3, 1.7])
    atoms.calc = trimer.exact()
    assert atoms.get_potential_energy() == pytest.approx((4 * (sides**-12 - sides**-6)).sum(), abs=1e-12)  # nothing is switched off below 2 Å


def test_the_trimer_is_recovered_and_keeps_its_energy(trimer, tmp_path):
    result = trimer.main(["--short", "--output", str(tmp_path / "trimer")])
    assert result["largest_difference_over_well_depth"] < 0.05  # of 3 epsilon, after a few seconds
    assert result["nve_spread_meV"] < 0.1
    assert (tmp_path / "trimer" / "trimer.png").stat().st_size > 10_000


@pytest.mark.slow  # 5,000 updates of a Kalman filter, a minute or two
def test_the_whole_training_recovers_the_trimer_to_a_thousandth_of_its_well_and_keeps_its_energy(trimer, tmp_path):
    result = trimer.main(["--output", str(tmp_path / "trimer")])
    assert result["largest_difference_over_well_depth"] < 1e-3
    assert result["nve_spread_meV"] < 0.1 and abs(result["nve_drift_meV_per_ps"]) < 0.1  # 2 ps from 300 K


def test_the_crystal_of_27_atoms_is_whole_and_learned(crystal, tmp_path):
    result = crystal.main(["--short", "--output", str(tmp_path / "li27")])
    assert result["spread_of_descriptors_over_the_perfect_crystal"] < 1e-12
    assert result["forces_rmse_meV_A"] < 0.8 * result["forces_rms_meV_A"]


def test_the_study_draws_what_it_measures_and_goes_on_where_it_stopped(crystal, tmp_path, monkeypatch):
    study = module(ROOT / "scripts/descriptor_study.py")
    data, table, plot = tmp_path / "frames.extxyz", tmp_path / "rows.csv", tmp_path / "plot.png"
    write(data, crystal.frames(24, 0), format="extxyz")
    assert len(read(data, index=":")) == 24
    words = ["--data", str(data), "--epochs", "1", "--csv", str(table), "--plot", str(plot), "--sizes"]
    (first,) = study.main([*words, "4"])
    assert (first["functions"], first["frames_tested"]) == (4, 3) and float(first["forces_rmse_meV_A"]) < 5000
    monkeypatch.setattr(study, "trained", lambda *a: pytest.fail("trained again"))
    assert len(study.main([*words, "4"])) == 1 and plot.stat().st_size > 5000
    assert "potentials" in sys.modules
