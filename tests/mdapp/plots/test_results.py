"""Every observable has a figure and a table: axes with units, one column a quantity."""
from __future__ import annotations

import csv
import importlib
import pkgutil

import numpy as np
import pytest

import mdapp.analysis
from mdapp.analysis.bond_statistics import BondStatistics, Distribution
from mdapp.analysis.bonds import BondSeries
from mdapp.analysis.clusters import Clusters
from mdapp.analysis.contacts import ContactMap
from mdapp.analysis.density import Density
from mdapp.analysis.diffusion import Diffusion
from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.free_energy import free_energy_surface
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.infrared import Infrared
from mdapp.analysis.power_spectrum import PowerSpectrum
from mdapp.analysis.rdf import RadialDistribution
from mdapp.analysis.result import Result
from mdapp.analysis.rmsd import GyrationRadius, Rmsd
from mdapp.analysis.rmsf import Fluctuations
from mdapp.analysis.secondary_structure import SecondaryStructure
from mdapp.analysis.shape import EndToEnd
from mdapp.analysis.stability import DistanceHistogram
from mdapp.analysis.structure_factor import StructureFactor
from mdapp.analysis.thermo import Thermo
from mdapp.analysis.torsions import TorsionSeries
from mdapp.analysis.velocity_autocorrelation import VelocityAutocorrelation
from mdapp.plots import structure

RNG = np.random.default_rng(1)
T = np.arange(40.0)
R = np.linspace(0.05, 5, 40)
ONES, INF = np.ones(40), np.full(40, np.inf)
ANGLES = Ramachandran(T, ("ALA2",), RNG.normal(-70, 20, (40, 1)), RNG.normal(140, 20, (40, 1)))
NEAR = np.array([[np.nan, 4.0, 7.0], [4.0, np.nan, np.nan], [7.0, np.nan, np.nan]])


def distribution(kind: str, unit: str, centre: float) -> Distribution:
    edges = np.linspace(0.6, 3.0, 41) if unit == "Å" else np.linspace(0, 180, 41)
    middle = 0.5 * (edges[1:] + edges[:-1])
    density = np.exp(-0.5 * ((middle - centre) / (0.05 * centre)) ** 2)
    return Distribution(kind, unit, edges, density / np.sum(density * np.diff(edges)), 0.1 * density, centre, 0.01, 0.05 * centre, 1.02 * centre, 3)


STATISTICS = BondStatistics({k: distribution(k, "Å", c) for k, c in (("C-H", 1.09), ("C-O", 1.4))}, {"C-O-H": distribution("C-O-H", "deg", 108.0)}, 40)
RESULTS: dict[type, Result] = {type(one): one for one in (
    Thermo(T, 1000 * T, 6, T_K=300 + T, E_pot_eV=T, E_kin_eV=ONES, conserved_eV=ONES + 1e-3 * T, P_bar=10 * T),
    BondSeries(T, 0.1 * ONES, np.zeros((40, 2), int), np.zeros(40, int), 5), Rmsd(T, ONES, "backbone", 7), GyrationRadius(T, ONES), ANGLES,
    EndToEnd(T, 5 + 0.1 * T, ("ACE1-CH3", "NME3-C")),
    Clusters(T, np.arange(40), np.repeat([0, 1, 0, 2], 10), np.array([3, 12, 33]), np.zeros((3, 5, 3)), np.arange(5), 1.0, "gromos"),
    ContactMap(("ALA1", "ALA2", "ALA3"), NEAR, 0.1 * NEAR, 0.1 * NEAR, 0.01 * NEAR, 4.5, "heavy", 40),
    TorsionSeries(T, ("omega ALA2-ALA3", "chi1 TYR3"), np.zeros((2, 4), int), np.stack([180 - T, T - 20], axis=1)), free_energy_surface(ANGLES, 300.0),
    Fluctuations(np.arange(3), ("a", "b", "c"), np.ones(3), np.array([0.1, np.inf, 0.1]), np.zeros((3, 3)), 5),
    HydrogenBonds(T, np.ones(40, int), np.array([[0, 1, 2]]), ("ALA2-N-H...ACE1-O",), np.array([0.4]), np.array([0.1]), "baker-hubbard", (np.arange(16),)),
    SecondaryStructure(T, ("ALA1", "ALA2"), np.array([["H", "C"]] * 40)), Density(T, ONES, 30 * ONES, None), RadialDistribution(("O", "H"), R, ONES, INF, R**3, R, 0.03, 1),
    StructureFactor(R, ONES, 0.1 * ONES, np.ones(40, int)), STATISTICS, DistanceHistogram(R, ONES, 0.1 * ONES, 40),
    Diffusion(T, 6 * T, 0.1 * T, 1e-4, 1e-6, (8.0, 39.0), 1.0, "H2O", 64, 12.4), VelocityAutocorrelation(T, np.cos(T), 0.1 * ONES, 6, 100),
    PowerSpectrum(100 * T, ONES, INF, ("H", "O"), np.ones((2, 40)), 2.0, 1, False, 9), Infrared(100 * T, ONES, 0.1 * ONES, 300.0, "dipole", 3),
)}  # fmt: skip


def all_results() -> set[type]:
    for module in pkgutil.iter_modules(mdapp.analysis.__path__, "mdapp.analysis."):
        importlib.import_module(module.name)
    return set(Result.__subclasses__())


def test_no_result_is_forgotten():
    assert {kind.__name__ for kind in all_results()} == {kind.__name__ for kind in RESULTS}


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_every_result_draws_axes_with_units_and_writes_a_table(kind, tmp_path):
    figure = RESULTS[kind].plot()
    assert figure is not RESULTS[kind].plot()  # a figure of its own each time
    labels = [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    bare = {"", "atom", "residue", "hydrogen bond", "conformer", "share", "g(r)", "S(k)", "Å", "degrees", "neighbours within r (dashed)"}
    for label in set(labels) - bare:
        assert any(unit in label for unit in ("/", "%", "meV", "degrees", "cm", "above the diagonal")), label
    RESULTS[kind].to_csv(tmp_path / "table.csv")
    rows = list(csv.reader((tmp_path / "table.csv").read_text().splitlines()))
    assert len(rows) > 1 and all(len(row) == len(rows[0]) for row in rows) and len(set(rows[0])) == len(rows[0])


def test_a_reference_is_drawn_beside():
    plain, both = structure.bond_statistics(STATISTICS), structure.bond_statistics(STATISTICS, STATISTICS)
    assert sum(len(axes.lines) for axes in both.axes) == sum(len(axes.lines) for axes in plain.axes) + 3
    one = RESULTS[DistanceHistogram]
    assert len(structure.distance_histogram(one, one).axes[0].lines) == 2


def test_many_torsions_are_distributions():
    many = TorsionSeries(T, tuple(f"chi1 LYS{k}" for k in range(12)), np.zeros((12, 4), int), RNG.uniform(-180, 180, (40, 12)))
    axes = many.plot().axes[0]
    assert axes.get_xlabel() == "angle / degrees" and len(axes.get_yticklabels()) == 12


def test_distances_stand_above_the_diagonal_and_shares_below():
    figure = RESULTS[ContactMap].plot()
    distance, share = (np.ma.filled(image.get_array(), np.nan) for image in figure.axes[0].images)
    assert distance[2, 0] == 7.0 and np.isnan(distance[0, 2]) and share[0, 2] == pytest.approx(70.0) and np.isnan(share[2, 0])
    written = {(round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in figure.axes[0].texts}
    assert written[(0, 2)] == "7.00\n±0.70" and written[(2, 0)] == "70.0\n±7.0"  # x is the column, y the row, counted upwards


def test_trans_bonds_stand_together():
    omega = TorsionSeries(T, ("omega ALA2-ALA3",), np.zeros((1, 4), int), np.where(T % 2, 175.0, -175.0)[:, None])
    drawn = omega.plot().axes[0].lines[0].get_ydata()
    assert np.ptp(drawn) == pytest.approx(10.0)
