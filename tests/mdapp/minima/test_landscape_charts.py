"""Paths and climbs along turns: arcs in place of chords, and the saddles of a chain at their known heights."""
from __future__ import annotations

import numpy as np
import pytest
from minima_toys import Chains, chain

from mdapp.minima.identity import Identity
from mdapp.minima.landscape.alignment import align
from mdapp.minima.landscape.band import BandOptions, find_path
from mdapp.minima.landscape.charts import CartesianChart, InternalChart, internals_for, torsion_path
from mdapp.minima.landscape.eigenvector import follow
from mdapp.minima.landscape.saddles import SaddleOptions, saddles_between
from mdapp.minima.landscape.surface import Surface
from mdapp.relax import BatchOptions, relax_batch


def relaxed(*dihedrals):
    ((_, end),) = relax_batch([chain(len(dihedrals) + 3, dihedrals)], Chains(), BatchOptions(fmax=1e-4))
    return end.atoms


def coordinates(atoms):
    identity = Identity.of(atoms)
    return identity, internals_for(identity.numbers, identity.bonds, atoms.positions)


def test_a_path_along_turns_stretches_nothing_and_turns_the_short_way():
    start, end = chain(6, (180.0, 170.0, 60.0)), chain(6, (60.0, -70.0, 60.0))
    _, internals = coordinates(start)
    path = torsion_path(internals, start.positions, end.positions, 7)
    values = internals.values(path)
    stiff = len(internals.stretches) + len(internals.bends)
    np.testing.assert_allclose(values[:, :stiff], np.broadcast_to(values[:1, :stiff], (9, stiff)), atol=1e-3)
    turns = np.degrees(np.unwrap(values[:, stiff:], axis=0))
    order = [int(np.flatnonzero((internals.torsions == t).all(1) | (internals.torsions == t[::-1]).all(1))[0]) for t in ([0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5])]
    np.testing.assert_allclose(turns[4, order] - turns[0, order], [-60.0, 60.0, 0.0], atol=0.5)  # half of -120, of 120 over 180, of nothing
    assert np.array_equal(path[0], start.positions)
    np.testing.assert_allclose(internals.values(path[-1:]), internals.values(end.positions[None]), atol=1e-9)


def test_the_first_guess_costs_no_evaluations():
    """ASE's search of the interpolated path asks the band for forces: they must be those of the distances, not of the potential."""
    start, end = relaxed(180.0), relaxed(65.0)
    identity, _ = coordinates(start)
    surface = Surface(start, Chains())
    find_path(surface, start.positions, align(identity, start.positions, end.positions).positions, BandOptions(steps=0))
    assert surface.evaluations == 2 + 7  # the ends, and each image once


def test_a_step_of_the_band_costs_each_image_once():
    start, end = relaxed(180.0), relaxed(65.0)
    identity, _ = coordinates(start)
    surface = Surface(start, Chains())
    options = BandOptions(steps=30, fmax=1e-6, climb_fmax=1e-6)
    find_path(surface, start.positions, align(identity, start.positions, end.positions).positions, options)
    assert surface.evaluations <= 2 + 7 * (options.steps + 1)


@pytest.mark.parametrize("inside", [True, False])
def test_climbs_end_at_the_same_saddle_in_both_charts(inside):
    atoms = chain(4, (110.0,))
    _, internals = coordinates(atoms)
    surface = Surface(atoms, Chains())
    chart = InternalChart(internals, atoms.positions) if inside else CartesianChart(surface)
    other = chain(4, (112.0,)).positions
    found = follow(surface, atoms.positions, other - atoms.positions, chart=chart)
    assert found.converged and found.n_negative == 1, found.reason
    assert found.energy == pytest.approx(0.1775, abs=2e-3)  # 0.1 (1 + 1) - 0.03 (1 + 1/2) / 2 at 120°; the tilt moves it by less


def test_saddles_of_a_chain_are_found_in_few_evaluations_and_join_what_they_should():
    start, end = relaxed(180.0, 180.0), relaxed(65.0, 180.0)
    identity, _ = coordinates(start)
    surface = Surface(start, Chains())
    crossed = saddles_between(surface, identity, start.positions, end.positions, SaddleOptions(fmax=1e-3))
    assert len(crossed.saddles) == 1, crossed.reasons
    saddle = crossed.saddles[0]
    assert saddle.frequencies_cm1[0] < 0 < saddle.frequencies_cm1[1]
    wanted = sorted(surface(np.stack([start.positions, end.positions]))[0])
    assert sorted(saddle.end_energies) == pytest.approx(wanted, abs=1e-4)
    assert crossed.evaluations < 1000


def test_a_path_that_falls_all_the_way_is_climbed_from_its_shoulder():
    start, end = relaxed(180.0), relaxed(65.0)
    identity, internals = coordinates(start)
    surface = Surface(start, Chains())
    path = find_path(surface, start.positions, align(identity, start.positions, end.positions).positions, BandOptions(images=1, steps=0), internals)
    assert path.energies[0] < path.energies[-1] and path.shoulder() == len(path.energies) - 2
    gauche, beside = path.positions[-1], path.positions[path.shoulder()]
    begin = gauche + 0.1 * (beside - gauche)
    found = follow(surface, begin, beside - gauche, chart=InternalChart(internals, begin))
    assert found.converged and found.energy == pytest.approx(0.1775, abs=2e-3)
