"""The example of a search for minima does what it says, in a short mode: the search, then one page."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def mdapp(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "mdapp", *words], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow  # a search, saddles and a page: a quarter of a minute
def test_dipeptide(tmp_path):
    folder = tmp_path / "dipeptide"
    mdapp("minima", "--config", "examples/minima_dipeptide/run.toml", "--hops", "3", "--walkers", "3", "--threads", "1", "--output", str(folder))
    shown = mdapp("analyse", str(folder), "--frequencies", "1")
    assert "  lowest     minimum " in shown and "report.html" in shown
    summary = json.loads((folder / "report" / "summary.json").read_text())
    assert summary["n_minima"] >= 1 and summary["n_atoms"] == 22 and set(summary["regions"]) <= {"C7eq", "C5", "PII", "C7ax", "alphaR", "alphaL", "beta2", "alphaP", "epsilonD"}
    assert (folder / "report" / "ramachandran.png").exists()
    row = json.loads((folder / "landscape.jsonl").read_text())
    frequencies = row["frequencies_cm1"]
    assert len(frequencies) == 60 and min(frequencies) > 0 and frequencies[-1] == pytest.approx(3400, abs=300)  # N-H stretch
