"""Forces and stress are slopes of the energy; so are the gradients of a loss on forces."""
import numpy as np
import pytest
import torch
from ase import Atoms

from potentials.architectures.lennard_jones import LennardJones
from potentials.derivatives import energy_forces_stress
from potentials.graph import batch
from potentials.neighbours import graph_of
from samples import argon, house_names, small, water


def slope(f, h):
    """The derivative at 0, to fourth order in h."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def energy(potential, atoms):
    return float(energy_forces_stress(potential, graph_of(atoms, potential.cutoff), forces=False).energy)


@pytest.mark.parametrize("name", house_names())
def test_each_component_of_the_force_is_minus_a_slope(name):
    potential, atoms = small(name), water(2)
    if name == "lennard-jones":
        atoms = argon(1, n=1)
    forces = energy_forces_stress(potential, graph_of(atoms, potential.cutoff)).forces.numpy()

    def at(i, k, h):
        moved = atoms.copy()
        moved.positions[i, k] += h
        return energy(potential, moved)

    for i, k in ((0, 0), (1, 2), (len(atoms) - 1, 1)):
        # fourth order with h = 1e-3 Å: error 1e-12 f'''''; rounding 1e-16 |E| / h, with |E| up to 1e3 eV
        assert forces[i, k] == pytest.approx(-slope(lambda h: at(i, k, h), 1e-3), abs=1e-8 * (1 + np.abs(forces).max()))


@pytest.mark.parametrize("name", ["lennard-jones", "so3krates"])
def test_each_component_of_the_stress_is_a_slope_with_strain(name):
    potential, atoms = small(name), argon(3, n=1)
    stress = energy_forces_stress(potential, graph_of(atoms, potential.cutoff), stress=True).stress[0].numpy()
    assert np.abs(stress - stress.T).max() == 0

    def at(a, b, h):
        strain = np.zeros((3, 3))
        strain[a, b] += h / 2
        strain[b, a] += h / 2
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return energy(potential, strained)

    for a in range(3):
        for b in range(a, 3):
            expected = slope(lambda h: at(a, b, h), 1e-4) / atoms.get_volume()
            assert stress[a, b] == pytest.approx(expected, abs=1e-8 * (1 + np.abs(stress).max()))


def test_stretched_matter_is_under_tension():
    """Stress is positive under tension: a stretched crystal pulls, a squeezed one pushes."""
    potential = LennardJones()
    for scale, sign in ((1.1, 1), (0.9, -1)):
        atoms = argon(0, n=1)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        stress = energy_forces_stress(potential, graph_of(atoms, potential.cutoff), stress=True).stress[0]
        assert sign * float(torch.trace(stress)) > 0


def test_the_virial_of_pairs_is_the_stress():
    """For pairs: sigma = -1/(2V) sum_ij r_ij (x) f_ij, summed here by hand with numpy."""
    atoms = argon(5, n=1)
    potential = LennardJones()
    g = graph_of(atoms, potential.cutoff)
    c = potential.config
    e = g.edges
    r = atoms.positions[e.neighbours] + e.shifts.numpy() @ atoms.cell.array - atoms.positions[e.centres]
    d = np.linalg.norm(r, axis=1)

    def pair(d):
        x, t = (c.sigma / d) ** 6, np.clip((d - c.switch_on) / (c.cutoff - c.switch_on), 0, 1)
        return 4 * c.epsilon * (x**2 - x) * (1 - t**3 * (10 - 15 * t + 6 * t**2))

    dE = (8 * (pair(d + 1e-4) - pair(d - 1e-4)) - (pair(d + 2e-4) - pair(d - 2e-4))) / 12e-4
    expected = np.einsum("e,ea,eb->ab", 0.5 * dE / d, r, r) / atoms.get_volume()
    found = energy_forces_stress(potential, g, stress=True).stress[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("name", house_names())
def test_a_structure_without_pairs_has_no_forces_and_no_stress(name):
    potential = small(name)
    alone = Atoms("O", [[1.0, 2.0, 3.0]], cell=40 * np.eye(3), pbc=True)
    apart = Atoms("OH", [[0, 0, 0], [20.0, 20, 20]], cell=41 * np.eye(3), pbc=True)
    for atoms in (alone, apart):
        r = energy_forces_stress(potential, graph_of(atoms, potential.cutoff), stress=True)
        assert torch.isfinite(r.energy).all() and r.forces.abs().max() == 0 and r.stress.abs().max() == 0
    r = energy_forces_stress(potential, batch([graph_of(apart, potential.cutoff), graph_of(water(), potential.cutoff)]))
    assert r.forces[:2].abs().max() == 0 and r.forces[2:].abs().max() > 0


def test_energy_alone_equals_energy_with_forces():
    potential, g = small(), graph_of(argon(n=1), 5.0)
    full = energy_forces_stress(potential, g, stress=True)
    alone = energy_forces_stress(potential, g, forces=False)
    assert alone.forces is None and alone.stress is None
    torch.testing.assert_close(alone.energy, full.energy, rtol=1e-14, atol=0)
    assert not alone.energy.requires_grad and not full.energy.requires_grad and not full.forces.requires_grad
    assert not any(t.requires_grad for t in full.outputs.terms.values())
    torch.testing.assert_close(sum(full.outputs.terms.values()), full.energies, rtol=1e-13, atol=1e-13)


def test_asking_for_stress_changes_no_bit_of_the_forces():
    potential, g = small(), graph_of(argon(n=1), 5.0)
    one, other = (energy_forces_stress(potential, g, stress=stress) for stress in (False, True))
    assert torch.equal(one.forces, other.forces) and torch.equal(one.energy, other.energy)


def test_the_graph_and_its_tensors_are_left_alone():
    potential, g = small(), graph_of(argon(n=1), 5.0)
    before = g.positions.clone(), g.cell.clone()
    energy_forces_stress(potential, g, stress=True, create_graph=True)
    assert torch.equal(g.positions, before[0]) and torch.equal(g.cell, before[1])
    assert not g.positions.requires_grad and g.positions.grad is None
    assert all(p.grad is None for p in potential.parameters())


@pytest.mark.parametrize("name", ["so3krates", "so3krates-original"])
def test_the_gradient_of_a_force_loss_is_its_slope(name):
    """Second derivatives: d/dw of sum (F - F0)^2 and of the energy, by automatic and by finite differences, along a random direction."""
    potential = small(name, **({"zbl_repulsion_bool": True} if name == "so3krates" else {"zbl_repulsion": True}))
    g = batch([graph_of(water(k), potential.cutoff) for k in range(2)])
    generator = torch.Generator().manual_seed(3)
    wanted = torch.randn(g.n_atoms, 3, dtype=torch.float64, generator=generator)
    parameters = dict(potential.named_parameters())
    direction = {n: torch.randn(p.shape, dtype=p.dtype, generator=generator) for n, p in parameters.items()}

    def loss():
        r = energy_forces_stress(potential, g, create_graph=True)
        return ((r.forces - wanted) ** 2).sum() + (r.energy**2).sum()

    gradients = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True, materialize_grads=True)
    groups = {"all": list(parameters), "repulsion": [n for n in parameters if n.startswith("zbl")], "attention": [n for n in parameters if "attention" in n]}
    for group, names in groups.items():
        found = sum(float((gr * direction[n]).sum()) for (n, _), gr in zip(parameters.items(), gradients) if n in names)

        def at(h, names=names):
            with torch.no_grad():
                for n in names:
                    parameters[n].add_(h * direction[n])
            value = float(loss().detach())
            with torch.no_grad():
                for n in names:
                    parameters[n].sub_(h * direction[n])
            return value

        expected = slope(at, 1e-4)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-7 * abs(float(loss().detach()))), group  # h^4 f''''' and 1e-16 |loss| / h
