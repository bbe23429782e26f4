"""The compiled twin of energy, forces and stress says what the plain one says, parts of the energy included."""
import shutil

import numpy as np
import pytest
import torch

from potentials.architectures.lennard_jones import LennardJones
from potentials.calculator import PotentialCalculator
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.neighbours import graph_for
from potentials.runtime import compiled_derivatives
from potentials.runtime.compiled_derivatives import CompiledDerivatives
from potentials.runtime.tracing import trace_of
from samples import argon, small, water

LONG_RANGE = dict(electrostatic_energy_bool=True, dispersion_energy_bool=True, use_charge_embed=True)


@pytest.fixture
def as_traced(monkeypatch):
    monkeypatch.setattr(compiled_derivatives, "compiled", lambda function, example, varying, file: trace_of(function, *example))


def assert_same(one, other):
    def close(a, b, what):
        assert (a is None) == (b is None), what
        if a is not None:
            assert a.shape == b.shape and a.dtype == b.dtype and not b.requires_grad, what
            torch.testing.assert_close(b, a, rtol=1e-11, atol=1e-11 * max(1.0, float(a.abs().max())), msg=what)  # float64, another order

    close(one.energy, other.energy, "energy")
    close(one.energies, other.energies, "energies")
    close(one.forces, other.forces, "forces")
    close(one.stress, other.stress, "stress")
    close(one.outputs.charges, other.outputs.charges, "charges")
    close(one.outputs.hirshfeld_ratios, other.outputs.hirshfeld_ratios, "ratios")
    assert list(one.outputs.terms) == list(other.outputs.terms)
    for name in one.outputs.terms:
        close(one.outputs.terms[name], other.outputs.terms[name], name)


def assert_twins(potential):
    twin = CompiledDerivatives(potential)
    charged = water(3)
    charged.info["charge"] = 1
    for atoms in (water(0), water(1)[:3], charged, water(2) + water(4), argon(0, n=1), argon(1, n=2)):
        if "charge" in atoms.info and not potential.knows_charge:
            continue
        graph = graph_for(atoms, potential)
        for stress in (False, True) if atoms.pbc.all() else (False,):
            assert_same(energy_forces_stress(potential, graph, stress=stress), twin(potential, graph, stress=stress))
    return twin


@pytest.mark.parametrize(
    "name, options",
    [
        ("lennard-jones", {}),
        pytest.param("so3krates", {}, marks=pytest.mark.slow),  # tracing takes a quarter of a minute
        pytest.param("so3krates", LONG_RANGE, marks=pytest.mark.slow),
    ],
    ids=["lennard-jones", "so3krates", "long range"],
)
def test_the_trace_is_the_plain_function(name, options, as_traced):
    assert assert_twins(small(name, **options).requires_grad_(False))._functions


@pytest.mark.slow  # two compilations, a minute each
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own parts
def test_the_compiled_function_is_the_plain_one():
    assert_twins(small("so3krates", num_layers=1, degrees=(1,)).requires_grad_(False))


def test_the_small_and_the_many_go_the_plain_way(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("compiled")

    monkeypatch.setattr(compiled_derivatives, "compiled", never)
    potential = small().requires_grad_(False)
    twin = CompiledDerivatives(potential)
    for graph in (graph_for(water()[:1], potential), batch([graph_for(water(k), potential) for k in range(2)])):
        assert_same(energy_forces_stress(potential, graph), twin(potential, graph))


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="compiling needs a C++ compiler")
def test_behind_the_calculator_nothing_changes(as_traced):
    """A walk of atoms and cell, stress included, compiled and plain side by side."""
    rng = np.random.default_rng(3)
    plain, compiled = argon(1, n=1), argon(1, n=1)
    plain.calc, compiled.calc = PotentialCalculator(LennardJones()), PotentialCalculator(LennardJones(), compiled=True)
    for _ in range(5):
        step, scale = 0.05 * rng.normal(size=plain.positions.shape), 1 + 0.01 * rng.normal()
        for atoms in (plain, compiled):
            atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
            atoms.positions += step
        np.testing.assert_allclose(compiled.get_forces(), plain.get_forces(), atol=1e-11)
        np.testing.assert_allclose(compiled.get_stress(), plain.get_stress(), atol=1e-12)
        assert compiled.get_potential_energy() == pytest.approx(plain.get_potential_energy(), rel=1e-12)
