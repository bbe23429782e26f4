"""The parity script measures what it prints: it passes the published numbers and catches one that is changed."""
import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT.parent / "shared" / "reference" / "so3lr"


def test_a_wrong_number_is_caught(tmp_path, monkeypatch, capsys):
    if not REFERENCE.exists():
        pytest.skip(f"the reference numbers of SO3LR are not here ({REFERENCE})")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setitem(sys.modules, "so3lr_parity", None)
    del sys.modules["so3lr_parity"]
    import so3lr_parity

    monkeypatch.setattr(so3lr_parity, "RESULTS", tmp_path / "results")
    folder = tmp_path / "reference"
    folder.mkdir()
    shutil.copy(REFERENCE / "h2o.npz", folder)
    words = [str(REFERENCE / "weights" / "so3lr_params.npz"), str(folder)]
    assert so3lr_parity.main(words) == 0
    assert "6 of 6 within the tolerances" in capsys.readouterr().out
    with (tmp_path / "results" / "so3lr_parity.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {row["dtype"] for row in table} == {"float64", "float32"} and all(float(row["dF_eV_A"]) < 1e-4 for row in table)
    said = dict(np.load(folder / "h2o.npz"))
    said["lr12.forces"] = said["lr12.forces"] + 2e-8
    np.savez(folder / "h2o.npz", **said)
    assert so3lr_parity.main(words) == 1
    assert "1 missed" in capsys.readouterr().out
