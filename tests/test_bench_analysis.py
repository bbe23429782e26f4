"""The analysis of long trajectories: time of the default report, and memory that does not grow with the file."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]))
    import bench_analysis

    yield bench_analysis
    for name in ("bench_analysis", "bench_memory", "_bench"):
        sys.modules.pop(name, None)


def test_the_files_are_what_the_benchmark_says(bench, tmp_path):
    import mdtraj

    from mdapp.trajectory import read_frames

    path = bench.water_file(tmp_path, 0.1)
    water = mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
    assert (water.n_atoms, water.n_residues, water.n_frames) == (3000, 1000, 3) and abs(path.stat().st_size - 1e5) < 3e4
    assert sum(1 for _ in read_frames(bench.peptide_run(tmp_path / "run", 5))) == 5


@pytest.mark.slow
def test_ten_thousand_frames_of_a_peptide_take_less_than_half_a_minute(bench, tmp_path):
    cost = bench.cost_of(str(bench.peptide_run(tmp_path / "run", 10_000)))
    assert cost.processor_s < 30  # of one core, on a machine that does other things as well
    assert (tmp_path / "run" / "report" / "report.html").exists()


@pytest.mark.slow
def test_a_gigabyte_of_frames_needs_no_more_memory_than_a_tenth_of_it(bench, tmp_path):
    small, large = (bench.cost_of(str(bench.water_file(tmp_path, size))) for size in (100, 1000))
    assert large.peak_MB < small.peak_MB + 100  # a few numbers of each of 28,000 frames; the file grows by 900 MB
