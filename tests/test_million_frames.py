"""The script that shows that data need not fit in memory, in a short mode."""
import csv
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import _bench
    import million_frames

    monkeypatch.setattr(_bench, "RESULTS", tmp_path / "results")
    return million_frames


def test_memory_does_not_grow_with_the_frames(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["million_frames.py", "--frames", "20000", "--folder", str(tmp_path), "--batches", "10"])
    script.main()
    assert {p.name for p in tmp_path.iterdir()} == {"results"}  # nothing is left behind
    with open(tmp_path / "results" / "million_frames.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert int(row["frames"]) == 20000 and float(row["prepared_MB"]) > 8
    assert abs(float(row["MB_at_100%"]) - float(row["MB_at_10%"])) < 6  # of the 14 MB that were written in between


def test_labels_of_the_script_are_a_potential_energy(script, tmp_path):
    """The gradient that it writes is that of the energy."""
    from potentials.data.read import read_labelled

    script.write_file(tmp_path / "frames.h5", 3)
    for s in read_labelled(tmp_path / "frames.h5", format="spice"):

        def energy(r):
            d = np.linalg.norm(r[:, None] - r[None], axis=-1)[np.triu_indices(len(r), 1)]
            return sum(script.ATOM[z] for z in s.numbers.tolist()) + np.exp(-((d / 1.5) ** 2)).sum()

        assert s.energy == pytest.approx(energy(s.positions), abs=1e-6)
        step = np.zeros_like(s.positions)
        step[2, 1] = 1e-4
        assert s.forces[2, 1] == pytest.approx(-(energy(s.positions + step) - energy(s.positions - step)) / 2e-4, abs=1e-4)
