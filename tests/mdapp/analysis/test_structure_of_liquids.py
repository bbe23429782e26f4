"""g(r), S(k), density and the published deviations, against the ideal gas, a crystal and each other."""
from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from mdapp.analysis.density import density
from mdapp.analysis.rdf import rdf
from mdapp.analysis.stability import bond_deviation, distance_histogram, histogram_error, rdf_deviation_A, stable_until_ps
from mdapp.analysis.structure_factor import structure_factor

from .series import frames_of, oscillator


@pytest.fixture(scope="module")
def gas():
    """An ideal gas of 60 + 20 atoms in a triclinic box."""
    box = np.array([[12.0, 0, 0], [2.0, 11, 0], [1.0, -2, 13]])
    return frames_of(np.random.default_rng(1).uniform(size=(40, 80, 3)) @ box, [18] * 60 + [10] * 20, cell=box)


@pytest.mark.parametrize("pair", [("Ar", "Ar"), ("Ar", "Ne"), ("Ne", "Ar"), ("all", "all")])
def test_an_ideal_gas_has_no_structure(gas, pair):
    found = rdf(gas, pair, r_max_A=5.0, n_bins=20)
    pulls = (found.g[4:] - 1) / found.g_error[4:]  # in the innermost bins there are a few pairs
    assert found.g[4:].mean() == pytest.approx(1, abs=0.05) and np.sqrt(np.mean(pulls**2)) < 1.8
    volume = 12 * 11 * 13
    n = {"Ar": 60, "Ne": 20, "all": 80}[pair[1]]
    same = pair[0] == pair[1]
    expected = (n - same) / volume * 4 / 3 * np.pi * 5**3
    assert found.coordination[-1] == pytest.approx(expected, rel=0.06)
    assert found.density_per_A3 == pytest.approx(n / volume)


def test_both_structure_factors_of_an_ideal_gas_are_one(gas):
    direct = structure_factor(gas, k_max_per_A=2.0, width_per_A=0.25)
    assert direct.S[1:] == pytest.approx(1, abs=0.15) and np.abs((direct.S - 1) / direct.S_error).mean() < 2
    by_g = rdf(gas, ("all", "all"), r_max_A=5.0, n_bins=50).structure_factor(np.linspace(1, 4, 20))
    assert by_g.mean() == pytest.approx(1, abs=0.15)


def test_a_crystal_has_its_shells_and_its_bragg_peak():
    edge = 4.0
    lattice = edge * np.array([[x, y, z] for x in range(3) for y in range(3) for z in range(3)], dtype=float)
    frames = frames_of(np.tile(lattice, (2, 1, 1)), [18] * 27, cell=[12.0] * 3)
    found = rdf(frames, ("Ar", "Ar"), r_max_A=6.0, n_bins=60)
    for r, n in ((3.9, 0), (4.2, 6), (5.5, 6), (5.9, 18)):
        assert found.coordination[np.searchsorted(found.r_A, r)] == pytest.approx(n)
    peaks = structure_factor(frames, k_max_per_A=1.7, width_per_A=0.01)
    assert peaks.k_per_A[peaks.S.argmax()] == pytest.approx(2 * np.pi / edge)
    assert peaks.S.max() == pytest.approx(27 * 6 / 30)  # six of (3 0 0) shine among the thirty of that length, (2 2 1) being the others
    assert np.sort(peaks.S)[-2] == pytest.approx(0, abs=1e-9)


def test_the_first_shell_of_a_simple_liquid_shape_is_found(gas):
    r = np.linspace(0.05, 9.95, 100)
    from mdapp.analysis.rdf import RadialDistribution

    g = 1 + 2 * np.exp(-((r - 3) / 0.4) ** 2) - 0.5 * np.exp(-((r - 4.5) / 0.5) ** 2)
    made = RadialDistribution(("O", "O"), r, g, 0 * r, np.cumsum(g), 0 * r, 0.03, 1)
    assert made.shell[0] == pytest.approx(4.5, abs=0.15) and made.shell[1] == pytest.approx(np.cumsum(g)[np.argmin(abs(r - made.shell[0]))])


def test_pairs_within_molecules_can_be_left_out():
    positions = np.array([[0, 0, 0], [0, 0, 0.96], [0, 0.93, -0.24], [5, 5, 5], [5, 5, 5.96], [5, 5.93, 4.76]], dtype=float)
    frames = frames_of(positions[None] - 0.3, [8, 1, 1] * 2, cell=[10.0] * 3)
    assert rdf(frames, ("O", "H"), 4.0, 40).coordination[-1] == pytest.approx(2)
    assert rdf(frames, ("O", "H"), 4.0, 40, intermolecular=True).coordination[-1] == 0


def test_density_of_a_box_of_water_and_its_compressibility():
    rng = np.random.default_rng(2)
    volume = 1000 + 20 * rng.standard_normal(500)
    boxes = np.eye(3) * np.cbrt(volume)[:, None, None]
    found = density(frames_of(np.zeros((500, 3, 3)), [8, 1, 1], cell=boxes, pressure=np.full(500, 1e-4)))
    assert found.mean.value == pytest.approx(18.015 * 1.66054 / 1000, rel=2e-3)
    assert found.mean_pressure.value == pytest.approx(160.22, rel=1e-3)
    kappa = found.compressibility_per_GPa(300)
    exact = (20e-30) ** 2 / (constants.k * 300 * 1000e-30) * 1e9
    assert abs(kappa.value - exact) < 4 * kappa.error and kappa.error < 0.1 * exact


def test_published_deviations_of_shifted_distances():
    rng = np.random.default_rng(3)
    make = lambda length: frames_of(np.stack([np.zeros((400, 3)), np.outer(length + 0.01 * rng.standard_normal(400), [1, 0, 0])], axis=1), [6, 6])
    h1, again, h2 = (distance_histogram(make(length), 3.0, 60) for length in (1.225, 1.225, 2.025))
    assert np.sum(h1.h_per_A) * 0.05 == pytest.approx(1)
    assert histogram_error(h1, again) < 0.1 and histogram_error(h1, h2) == pytest.approx(2)
    with pytest.raises(ValueError, match="bins differ"):
        histogram_error(h1, distance_histogram(make(1.2), 3.0, 30))


def test_a_peak_that_moves_counts_twice_its_area():
    from dataclasses import replace

    positions, _ = oscillator(10, 1000, 1.0)
    found = rdf(frames_of(positions, [6, 6], cell=[10.0] * 3), ("C", "C"), 4.0, 40)
    area = found.g.sum() * 0.1
    moved = replace(found, g=np.roll(found.g, 10))
    assert rdf_deviation_A(found, found) == 0 and rdf_deviation_A(moved, found) == pytest.approx(2 * area)


def test_a_bond_that_breaks_is_dated():
    length = np.full(300, 1.2)
    length[200:] = 1.9
    positions = np.stack([np.zeros((300, 3)), np.outer(length, [0, 1, 0])], axis=1)
    series = bond_deviation(frames_of(positions, [6, 6], frame_fs=10.0))
    assert series.n_bonds == 1 and series.worst_A[-1] == pytest.approx(0.7) and stable_until_ps(series) == pytest.approx(2.0)
    assert stable_until_ps(bond_deviation(frames_of(positions[:200], [6, 6]))) is None
    wrapped = bond_deviation(frames_of((positions + 4.9) % 5.0, [6, 6], cell=[5.0] * 3, frame_fs=10.0))
    assert wrapped.worst_A == pytest.approx(series.worst_A)


def test_no_cell_and_no_such_kind_are_refused(gas):
    with pytest.raises(ValueError, match="no cell that is periodic"):
        rdf(frames_of(np.zeros((2, 2, 3)), [6, 6]), ("C", "C"))
    with pytest.raises(ValueError, match="no cell that is periodic"):
        density(frames_of(np.zeros((2, 2, 3)), [6, 6]))
    with pytest.raises(ValueError, match="There is no Xe"):
        rdf(gas, ("Ar", "Xe"))
