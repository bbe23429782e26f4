"""Radial filters from a table are those of the networks, to the rounding of single precision."""
import numpy as np
import pytest
import torch

from potentials import load_potential
from potentials.calculator import PotentialCalculator
from potentials.derivatives import energy_forces_stress
from potentials.layers.attention import Filter
from potentials.neighbours import graph_for
from potentials.runtime.radial_table import FIRST, TOLERANCE, Columns, has_radial_filters, with_radial_table
from samples import argon, small, water

NAMES = ("so3krates", "so3krates-original")


@pytest.mark.parametrize("name", NAMES)
def test_filters_are_within_the_tolerance_everywhere(name):
    potential = small(name).requires_grad_(False)
    fast, error = with_radial_table(potential)
    assert error.largest < TOLERANCE and error.terms < error.functions
    d = torch.from_numpy(np.random.default_rng(0).uniform(FIRST, potential.cutoff, 5000))
    for plain, tabulated in zip((m for m in potential.modules() if isinstance(m, Filter)), (m for m in fast.modules() if isinstance(m, Filter)), strict=True):
        off = plain.radial(potential.radial_basis(d)) - tabulated.radial(fast.radial_basis(d))
        assert float(off.abs().max()) < 1.5 * TOLERANCE


@pytest.mark.parametrize("basis", ["bernstein", "physnet", "bessel", "gaussian"])
def test_every_radial_basis_can_be_tabulated(basis):
    potential = small("so3krates", radial_basis_fn=basis).requires_grad_(False)
    fast, error = with_radial_table(potential)
    graph = graph_for(water(0), potential)
    plain, twin = energy_forces_stress(potential, graph), energy_forces_stress(fast, graph)
    assert abs(float(plain.energy - twin.energy)) < 1e-4 and float((plain.forces - twin.forces).abs().max()) < 1e-3


def test_the_shipped_potential_loses_less_than_rounding():
    """Against double precision, forces from the table in single precision are as good as the networks' in single precision."""
    exact, plain = load_potential("so3krates", "float64").requires_grad_(False), load_potential("so3krates", "float32").requires_grad_(False)
    fast, error = with_radial_table(plain)
    graph = graph_for(water(0), exact)
    truth = energy_forces_stress(exact, graph).forces
    off, rounding = ((energy_forces_stress(p, graph).forces - truth).abs().max() for p in (fast, plain))
    assert error.rms < 1e-6 and float(off) < 3 * float(rounding) + 1e-5


def test_forces_are_the_gradient_of_the_tabulated_energy():
    fast, _ = with_radial_table(small("so3krates").requires_grad_(False))
    atoms, h = argon(0, n=1), 1e-4
    atoms.calc = PotentialCalculator(fast)
    forces = atoms.get_forces()
    for k, axis in ((0, 0), (2, 1), (3, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[k, axis] += sign * h
            energies.append(moved.get_potential_energy())
        assert forces[k, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * h), abs=2e-6)


def test_distances_out_of_the_table_stay_finite():
    fast, _ = with_radial_table(small("so3krates").requires_grad_(False))
    d = torch.tensor([0.0, 0.01, FIRST, fast.cutoff, fast.cutoff + 0.5, 50.0], dtype=torch.float64)
    values = fast.radial_basis(d)
    assert torch.isfinite(values).all() and torch.equal(values[0], values[1]) and torch.allclose(values[3], values[5], atol=1e-6)


def test_the_potential_itself_is_not_changed_and_a_table_not_tabulated():
    potential = small("so3krates").requires_grad_(False)
    fast, _ = with_radial_table(potential)
    assert not any(isinstance(m, Columns) for m in potential.modules()) and not has_radial_filters(fast)
    with pytest.raises(ValueError, match="no radial filters"):
        with_radial_table(fast)
    with pytest.raises(ValueError, match="LennardJones has no radial filters"):
        with_radial_table(small("lennard-jones"))
    with pytest.raises(ValueError, match="too rough"):
        with_radial_table(potential, tolerance=1e-16)


def test_plain_evaluation_and_double_precision_do_without(monkeypatch):
    assert PotentialCalculator(small("so3krates").float()).radial_table is None
    monkeypatch.setattr("potentials.evaluation._compiled", lambda potential, device: energy_forces_stress)
    assert PotentialCalculator(small("so3krates"), compiled=True).radial_table is None
    assert PotentialCalculator(small("so3krates").float(), compiled=True, radial_table=False).radial_table is None
    assert PotentialCalculator(small("so3krates").float(), compiled=True).radial_table is not None
