"""Every figure names its axes with units, is drawn without a display, and survives one sample and many."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from mdapp.analysis.bonds import BondSeries
from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.rmsd import GyrationRadius, Rmsd
from mdapp.analysis.thermo import Thermo
from mdapp.plots import figures, style


def thermo(n: int) -> Thermo:
    rng = np.random.default_rng(1)
    t = 50.0 * np.arange(n)
    return Thermo(np.arange(n), t, 22, T_K=300 + 20 * rng.standard_normal(n), E_pot_eV=rng.standard_normal(n), E_kin_eV=rng.standard_normal(n),
                  conserved_eV=1e-6 * t)


def angles(n: int) -> Ramachandran:
    rng = np.random.default_rng(2)
    return Ramachandran(0.05 * np.arange(n), ("ALA2",), rng.uniform(-180, 180, (n, 1)), rng.uniform(-180, 180, (n, 1)))


DRAWN = {
    "temperature": lambda n: figures.temperature(thermo(n), thermo(n).mean("T_K"), 300.0),
    "energies": lambda n: figures.energies(thermo(n)),
    "conserved": lambda n: figures.conserved_energy(thermo(n)),
    "rmsd": lambda n: figures.rmsd(Rmsd(np.arange(n) / 20, np.linspace(0, 1, n), "backbone", 16)),
    "gyration": lambda n: figures.gyration(GyrationRadius(np.arange(n) / 20, np.linspace(3, 4, n))),
    "bonds": lambda n: figures.bonds(BondSeries(np.arange(n) / 20, np.full(n, 0.1), np.zeros((n, 2)), np.zeros(n), 21)),
    "ramachandran": lambda n: figures.ramachandran(angles(n)),
}


@pytest.mark.parametrize("n", [1, 50, 6000])
@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_draws_and_names_its_axes(name, n, tmp_path):
    figure = DRAWN[name](n)
    assert isinstance(figure, Figure)
    written = style.save(figure, tmp_path / name)
    assert written.read_bytes().startswith(b"\x89PNG") and [f.name for f in tmp_path.iterdir()] == [f"{name}.png"]
    assert figure.axes[0].get_ylabel() and any(axes.get_xlabel() for axes in figure.axes)


def test_units_stand_on_the_axes():
    assert figures.temperature(thermo(50)).axes[0].get_ylabel().endswith("/ K")
    assert figures.rmsd(Rmsd(np.arange(3.0), np.ones(3), "all", 3)).axes[0].get_ylabel().endswith("/ Å")


def test_the_title_carries_the_drift():
    assert "drift 0.04545" in figures.conserved_energy(thermo(50)).axes[0].get_title(loc="left")  # 1e-6 eV/fs over 22 atoms


def test_svg_is_written_where_asked(tmp_path):
    style.save(DRAWN["rmsd"](50), tmp_path / "r.png", svg=True)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["r.png", "r.svg"]


def test_pyplot_is_never_imported():
    said = subprocess.run([sys.executable, "-c", "import sys, mdapp.plots.figures, mdapp.plots.training, mdapp.plots.evaluation; print('matplotlib.pyplot' in sys.modules)"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert said.strip() == "False"
