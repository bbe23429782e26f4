"""The table of a run: units, gaps, drift."""
from __future__ import annotations

import csv

import numpy as np
import pytest

from mdapp.analysis.thermo import thermo_of_columns, thermo_of_frames
from mdapp.frame import Frame


def columns(n=200):
    time_fs = 0.5 * np.arange(n)
    return {"step": np.arange(n), "time_fs": time_fs, "T_K": 300 + np.sin(time_fs), "E_pot_eV": np.full(n, -5.0), "E_kin_eV": np.full(n, 1.0),
            "conserved_eV": -4 + 1e-6 * time_fs, "P_bar": np.full(n, np.nan), "fmax_eV_A": np.ones(n)}


def test_drift_is_per_atom_and_picosecond():
    drift = thermo_of_columns(columns(), n_atoms=10).drift_meV()
    assert drift.slope == pytest.approx(1e-6 * 1000 * 1000 / 10)  # eV/fs -> meV/ps, over 10 atoms


def test_a_column_of_gaps_is_absent_and_the_rest_is_written(tmp_path):
    table = thermo_of_columns(columns(), n_atoms=10)
    assert table.P_bar is None and "P_bar" not in table.present() and table.total_eV == pytest.approx(np.full(200, -4.0))
    table.to_csv(tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) == 200 and float(rows[7]["T_K"]) == pytest.approx(table.T_K[7]) and "P_bar" not in rows[0]


def test_since_keeps_the_clock():
    late = thermo_of_columns(columns(), 10).since(50.0)
    assert late.time_fs[0] == 50.0 and len(late) == 100 and len(late.T_K) == 100


def test_one_sample_has_no_drift():
    assert thermo_of_columns(columns(1), 10).drift_meV() is None


def test_frames_give_the_same_numbers_as_a_table():
    def frame(i):
        return Frame(step=i, time_fs=0.5 * i, numbers=np.array([18]), masses=np.array([40.0]), positions=np.zeros((1, 3)), momenta=np.zeros((1, 3)),
                     forces=np.array([[3.0, 4.0, 0.0]]), cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool), potential_energy=-1.0,
                     kinetic_energy=0.5, temperature_K=100.0 + i, conserved_energy=-0.5, pressure=1 / 1602176.634)
    table = thermo_of_frames(frame(i) for i in range(4))
    assert table.n_atoms == 1 and table.T_K.tolist() == [100, 101, 102, 103]
    assert table.P_bar == pytest.approx(np.ones(4)) and table.fmax_eV_A == pytest.approx(np.full(4, 5.0)) and table.spread_eV_A is None
    with pytest.raises(ValueError, match="No frames"):
        thermo_of_frames([])
