"""The notebook of a whole study: light, readable as Python, and every cell runs in order."""
import ast
import json
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "peptide_study.ipynb"


def cells():
    """Source of each code cell, without the notebook's own commands."""
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(line for line in cell["source"] if not line.startswith("%")) for cell in book["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs_and_every_cell_is_python():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert book["nbformat"] == 4 and NOTEBOOK.stat().st_size < 30_000
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in book["cells"] if cell["cell_type"] == "code")
    assert len(cells()) >= 8 and all(ast.parse(source).body for source in cells())
    assert sum(cell["cell_type"] == "markdown" for cell in book["cells"]) >= 8


@pytest.mark.slow
def test_every_cell_runs_in_order(tmp_path, monkeypatch, capsys):
    """Two runs of 40 fs with the shipped potential, a relaxation of a few steps, 300 force calls for the frequencies."""
    monkeypatch.chdir(NOTEBOOK.parent)
    for name, value in {"STUDY_TIME": "40fs", "STUDY_FOLDER": str(tmp_path), "STUDY_FMAX": "0.5", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    matplotlib.use("agg")
    names, shown = {"__name__": "__main__"}, []
    for k, source in enumerate(cells()):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {k}", "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), f"cell {k}", "eval"), names))
    assert sum(isinstance(one, Figure) for one in shown) == 4
    said = capsys.readouterr().out
    assert "ACE-SER-ALA-MET-NME" in said and "hydrogen bonds in a frame" in said and "distance histogram error" in said and "harmonic modes from" in said
    assert (tmp_path / "300K" / "report" / "report.html").exists() and (tmp_path / "500K" / "report" / "comparison.csv").exists()
