"""The twin with arrays of fixed size, as a CUDA graph holds them, says what the plain path says; and nothing in it waits for the host."""
import numpy as np
import pytest
import torch

from potentials.calculator import PotentialCalculator
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.layers.ewald import DampedEwald
from potentials.neighbours import graph_for
from potentials.runtime.evaluator import Evaluator, System
from potentials.runtime.padded import Padded
from potentials.runtime.replayed_derivatives import ReplayedDerivatives
from samples import argon, house_names, small, water

LONG_RANGE = dict(electrostatic_energy_bool=True, dispersion_energy_bool=True, use_charge_embed=True, use_spin_embed=True)
CASES = [(name, {}) for name in house_names()] + [("so3krates", LONG_RANGE)]
IDS = [*house_names(), "long range"]


def structures(potential):
    found = [water(0), water(1), argon(0, n=1), argon(1, n=2), argon(2, n=1, periodic=False)]
    if potential.knows_charge:
        found[1].info["charge"] = 1.0
    return [a for a in found if potential.elements is None or set(a.numbers) <= set(potential.elements)]


def assert_same(plain, twin):
    def close(a, b):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(b, a.to(b.dtype), rtol=1e-11, atol=1e-11 * max(1.0, float(a.abs().max())))

    close(plain.energy, twin.energy)
    close(plain.energies, twin.energies)
    close(plain.forces, twin.forces)
    close(plain.stress, twin.stress)
    close(plain.outputs.charges, twin.outputs.charges)
    close(plain.outputs.hirshfeld_ratios, twin.outputs.hirshfeld_ratios)
    assert list(plain.outputs.terms) == list(twin.outputs.terms)
    for name, term in plain.outputs.terms.items():
        close(term, twin.outputs.terms[name])


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_padded_arrays_give_what_the_plain_path_gives(name, options):
    potential = small(name, **options).requires_grad_(False)
    twin = ReplayedDerivatives(potential, capture=False)
    for atoms in structures(potential):
        graph = graph_for(atoms, potential)
        for stress in (False, True) if atoms.pbc.all() else (False,):
            assert_same(energy_forces_stress(potential, graph, stress=stress), twin(potential, graph, stress=stress))


@pytest.mark.parametrize("options", [{}, LONG_RANGE], ids=["short", "long range"])
@pytest.mark.parametrize("periodic", [False, True])
def test_a_moving_structure_keeps_its_arrays_and_its_right_forces(periodic, options):
    """Through many searches of the list, which grows and shrinks; no memory of former pairs stays."""
    potential = small("so3krates", **options).requires_grad_(False)
    atoms, rng = argon(3, n=1, periodic=periodic), np.random.default_rng(0)
    system = System(atoms.numbers, atoms.pbc)
    plain = Evaluator(potential, skin=0.4)
    fast = Evaluator(potential, skin=0.4, derive=ReplayedDerivatives(potential, capture=False))
    for _ in range(12):
        atoms.positions += 0.15 * rng.normal(size=atoms.positions.shape)
        cell = np.array(atoms.cell) * (1 + 0.01 * rng.normal() * periodic)
        assert_same(*(e(system, atoms.positions, cell, stress=periodic) for e in (plain, fast)))
    assert fast.searches > 2


def test_room_that_is_used_up_is_made_anew():
    potential = small("so3krates").requires_grad_(False)
    twin = ReplayedDerivatives(potential, capture=False)
    thin, dense = argon(0, n=2), argon(0, n=2)
    dense.set_cell(0.75 * dense.cell, scale_atoms=True)
    for atoms in (thin, dense, thin):
        graph = graph_for(atoms, potential)
        assert_same(energy_forces_stress(potential, graph), twin(potential, graph))
    assert graph_for(dense, potential).edges.n_pairs > 1.5 * graph_for(thin, potential).edges.n_pairs


def test_what_no_graph_can_hold_goes_the_plain_way(monkeypatch):
    potential = small("so3krates", **LONG_RANGE).requires_grad_(False)
    potential.electrostatics = DampedEwald(4.0)
    monkeypatch.setattr(Padded, "like", None)  # would be called
    graph = graph_for(argon(0, n=1), potential)
    assert_same(energy_forces_stress(potential, graph), ReplayedDerivatives(potential)(potential, graph))
    plain = small("so3krates").requires_grad_(False)
    two = batch([graph_for(water(0), plain), graph_for(water(1), plain)])
    assert_same(energy_forces_stress(plain, two), ReplayedDerivatives(plain)(plain, two))


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
@pytest.mark.parametrize("stress", [False, True])
def test_nothing_inside_waits_for_the_host(name, options, stress):
    """On tensors that hold no values (the meta device): whoever asks for a value, a size that depends on one, or a tensor of the CPU, fails."""
    potential = small(name, **options).requires_grad_(False)
    graph = graph_for(argon(1, n=1), potential)
    twin = ReplayedDerivatives(potential, capture=False)
    if not twin.capturable:
        pytest.skip(f"{name} says of itself that no CUDA graph can hold it")
    potential.to("meta")
    padded = Padded.like(graph, potential.cutoff, torch.device("meta"))
    packed = twin._packed(energy_forces_stress(potential, padded.with_cell_of_ghost() if stress else padded.graph, stress=stress), graph.n_atoms)
    assert packed.device.type == "meta" and len(packed) >= 1 + 4 * graph.n_atoms


def test_the_check_finds_who_waits():
    """Picking pairs, as the plain evaluator does, and Ewald's wave vectors cannot be captured: the test above must see such things."""
    potential = small("so3krates", **LONG_RANGE).requires_grad_(False)
    potential.electrostatics = DampedEwald(4.0)
    graph = graph_for(argon(1, n=1), potential)
    padded = Padded.like(graph, potential.cutoff, torch.device("meta"))
    with pytest.raises((RuntimeError, NotImplementedError)):
        energy_forces_stress(potential.to("meta"), padded.with_cell_of_ghost())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-9), (torch.float32, 2e-3)])
@pytest.mark.parametrize("options", [{}, LONG_RANGE], ids=["short", "long range"])
def test_a_replayed_graph_is_the_plain_path_on_a_gpu(options, dtype, limit):
    potential = small("so3krates", **options).to(dtype)
    for atoms in (water(0), argon(1, n=2)):
        reference = PotentialCalculator(small("so3krates", **options), device="cpu")
        replayed = PotentialCalculator(potential, device="cuda")
        rng = np.random.default_rng(1)
        for _ in range(6):
            atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
            forces = []
            for calculator in (reference, replayed):
                atoms.calc = calculator
                forces.append(atoms.get_forces())
            assert np.abs(forces[0] - forces[1]).max() < limit
        assert replayed.evaluator.derive.captures >= 1
