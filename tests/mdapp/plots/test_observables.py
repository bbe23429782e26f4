"""Figures of structure and motion name their axes with units, and survive what is empty or has no error."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.density import Density
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.power_spectrum import PowerSpectrum
from mdapp.analysis.rdf import RadialDistribution
from mdapp.analysis.rmsf import Fluctuations
from mdapp.analysis.secondary_structure import SecondaryStructure
from mdapp.plots import compare, observables, style

T = np.arange(5.0)
R = np.linspace(0.1, 5, 30)
SPECTRUM = PowerSpectrum(np.linspace(0, 4000, 41), np.ones(41), np.full(41, np.inf), ("H", "O"), np.ones((2, 41)), 2.0, 1, False, 9)
DRAWN = {
    "rmsf": lambda: observables.fluctuations(Fluctuations(np.arange(3), ("a", "b", "c"), np.ones(3), np.array([0.1, np.inf, 0.1]), np.zeros((3, 3)), 5)),
    "no_bonds": lambda: observables.hydrogen_bonds(HydrogenBonds(T, np.zeros(5, int), np.zeros((0, 3), int), (), np.zeros(0), np.zeros(0), "baker-hubbard", ())),
    "dssp": lambda: observables.secondary_structure(SecondaryStructure(T, ("ALA1", "ALA2"), np.array([["H", "C"]] * 5))),
    "rdf": lambda: observables.radial_distribution(RadialDistribution(("O", "O"), R, np.ones(30), np.full(30, np.inf), R**3, R, 0.03, 1)),
    "density": lambda: observables.density(Density(T, np.ones(5), np.ones(5), None)),
    "spectrum": lambda: observables.power_spectrum(SPECTRUM, [1000.0, 3000.0]),
    "overlay": lambda: compare.overlay({"a": (T, T), "b": (T, 2 * T)}, "temperature / K"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_draws_and_names_its_axes(name, tmp_path):
    figure = DRAWN[name]()
    style.save(figure, tmp_path / name, svg=True)
    assert (tmp_path / f"{name}.svg").stat().st_size > 1000
    assert figure.axes[0].get_ylabel() and any(axes.get_xlabel() for axes in figure.axes)


def test_regions_of_the_spectrum_are_named():
    assert {text.get_text() for text in observables.power_spectrum(SPECTRUM).axes[0].texts} == {what for _, _, what in observables.BANDS_CM1}
