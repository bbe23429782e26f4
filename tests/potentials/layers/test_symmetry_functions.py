import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from potentials.graph import Edges
from potentials.layers.symmetry_functions import SymmetryFunction, SymmetryFunctions
from potentials.layers.symmetry_functions.cutoffs import NAMES as CUTOFFS
from potentials.layers.symmetry_functions.cutoffs import cutoff_function
from potentials.neighbours import graph_of
from tests.potentials.layers import acsf_reference as reference

LIMIT = 1e-11  # float64; values up to 150, so 1e-13 of the largest


def draws(shape, n=3):
    return np.random.default_rng(0).normal(size=(n, *shape))


@reference.needs_reference
@pytest.mark.parametrize("name", reference.NAMES)
def test_values_and_derivatives_are_those_of_the_reference(name):
    data = reference.load(name)
    weights = draws(data["G"].shape)
    elements = sorted(set(data["numbers"].tolist()))
    G, gradients = reference.descriptors(reference.atoms_of(data), reference.functions_of(data), elements, weights)
    np.testing.assert_allclose(G, data["G"], atol=LIMIT, rtol=0)
    for w, (d_r, d_strain) in zip(weights, gradients):
        np.testing.assert_allclose(d_r, np.einsum("ik,ikja->ja", w, data["dG_dr"]), atol=30 * LIMIT, rtol=0)  # sums of thousands of entries
        np.testing.assert_allclose(d_strain, np.einsum("ik,ikab->ab", w, data["dG_dstrain"]), atol=30 * LIMIT, rtol=0)


@reference.needs_reference
@pytest.mark.parametrize("name", [n for n in reference.NAMES if n.startswith(("li3", "ethanol_cut"))])
def test_every_single_derivative_is_that_of_the_reference(name):
    data = reference.load(name)
    n, k = data["G"].shape
    elements = sorted(set(data["numbers"].tolist()))
    _, gradients = reference.descriptors(reference.atoms_of(data), reference.functions_of(data), elements, np.eye(n * k).reshape(-1, n, k))
    np.testing.assert_allclose(np.array([d for d, _ in gradients]).reshape(n, k, n, 3), data["dG_dr"], atol=LIMIT, rtol=0)
    np.testing.assert_allclose(np.array([d for _, d in gradients]).reshape(n, k, 3, 3), data["dG_dstrain"], atol=LIMIT, rtol=0)


@reference.needs_reference
@pytest.mark.parametrize("name", reference.AEV_NAMES)
def test_atomic_environment_vectors_are_those_of_the_reference(name):
    data = reference.load(name)
    functions, species = reference.aev_functions(data)
    weights = draws(data["AEV"].shape)
    G, gradients = reference.descriptors(reference.atoms_of(data), functions, species, weights)
    np.testing.assert_allclose(G, data["AEV"], atol=LIMIT, rtol=0)
    for w, (d_r, _) in zip(weights, gradients):
        np.testing.assert_allclose(d_r, np.einsum("ik,ikja->ja", w, data["dAEV_dr"]), atol=30 * LIMIT, rtol=0)


@reference.needs_reference
@pytest.mark.parametrize("key", list(reference.load("cutoff_functions_rc6")) if reference.FOLDER.is_dir() else [])
def test_cutoff_functions_and_slopes_are_those_of_the_reference(key):
    table = reference.load("cutoff_functions_rc6")
    if key == "columns":
        return
    name, _, inner = key.partition("_inner")
    r = torch.from_numpy(table[key][:, 0]).requires_grad_(True)
    f = cutoff_function(r, name, 6.0, float(inner or 0))
    np.testing.assert_allclose(f.detach(), table[key][:, 1], atol=1e-14)
    if name != "hard":
        (slope,) = torch.autograd.grad(f.sum(), r)
        np.testing.assert_allclose(slope, table[key][:, 2], atol=1e-12)


@pytest.mark.parametrize("name", [n for n in CUTOFFS if n != "hard"])
def test_cutoff_functions_and_their_slopes_end_at_zero(name):
    r = torch.tensor([4.0 - 1e-6, 4.0, 5.0], dtype=torch.float64, requires_grad=True)
    f = cutoff_function(r, name, 4.0)
    (slope,) = torch.autograd.grad(f.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    assert f.abs().max() < 1e-11 and slope.abs().max() < 1e-5
    assert torch.isfinite(curvature).all()


def brute_force(atoms, f):
    """One function of every atom by plain loops over atoms and images."""
    n_images = 3 if atoms.pbc.any() else 0
    span = range(-n_images, n_images + 1)
    shifts = [np.array(s) @ atoms.cell.array for s in np.ndindex(len(span), len(span), len(span))] if n_images else [np.zeros(3)]
    shifts = [s - n_images * atoms.cell.array.sum(0) for s in shifts]

    def fc(r):
        return float(cutoff_function(torch.tensor(r, dtype=torch.float64), f.cutoff_fn, f.cutoff, f.inner))

    found = []
    for i in range(len(atoms)):
        near = [(atoms.numbers[j], atoms.positions[j] + s - atoms.positions[i]) for j in range(len(atoms)) for s in shifts]
        near = [(z, v, np.linalg.norm(v)) for z, v in near if 1e-8 < np.linalg.norm(v) < f.cutoff]
        total = 0.0
        for k, (z, v, r) in enumerate(near):
            if f.kind in ("G2", "G3", "W2"):
                if f.kind == "W2" or z == f.neighbour:
                    term = math.cos(f.kappa * r) if f.kind == "G3" else math.exp(-f.eta * (r - f.rs) ** 2)
                    total += term * fc(r) * (z if f.kind == "W2" else 1)
                continue
            for z2, v2, r2 in near[k + 1 :]:
                if not f.kind.startswith("W") and sorted((z, z2)) != sorted((f.neighbour, f.second)):
                    continue
                r3 = np.linalg.norm(v - v2)
                sides = [r, r2] + ([r3] if f.kind in ("G4", "W4") else [])
                g = z * z2 if f.kind.startswith("W") else 1
                term = 2 ** (1 - f.zeta) * (1 + f.lam * v @ v2 / (r * r2)) ** f.zeta
                total += g * term * math.exp(-f.eta * sum((s - f.rs) ** 2 for s in sides)) * math.prod(fc(s) for s in sides)
        found.append(total)
    return np.array(found)


def oblique():
    rng = np.random.default_rng(4)
    cell = np.array([[3.1, 0.2, -0.4], [1.0, 3.4, 0.3], [-0.8, 0.9, 3.6]])
    return Atoms([8, 12, 79], rng.uniform(size=(3, 3)) @ cell * 0.9, cell=cell, pbc=True)


EVERY_KIND = [
    SymmetryFunction("G2", 3.4, 8, eta=0.3, rs=0.8), SymmetryFunction("G3", 3.4, 12, kappa=1.3), SymmetryFunction("W2", 3.0, eta=0.1, cutoff_fn="poly5"),
    SymmetryFunction("G4", 3.3, 8, 79, eta=0.05, zeta=3.0, lam=-1.0), SymmetryFunction("G4", 3.3, 12, 8, eta=0.02, rs=0.5, zeta=2.5),
    SymmetryFunction("G5", 3.4, 8, 8, eta=0.01, zeta=1.0), SymmetryFunction("G5", 3.0, 12, 79, eta=0.05, zeta=16.0, cutoff_fn="tanh3"),
    SymmetryFunction("W4", 3.2, eta=0.04, zeta=2.0), SymmetryFunction("W5", 3.2, eta=0.04, zeta=1.0, lam=-1.0),
]  # fmt: skip


@pytest.mark.parametrize("f", EVERY_KIND, ids=str)
def test_every_kind_is_its_sum_over_all_images_of_an_oblique_cell(f):
    atoms = oblique()
    module = SymmetryFunctions(EVERY_KIND, (8, 12, 79))
    G = module.of_element(module(graph_of(atoms, 3.4)), 0)
    expected = brute_force(atoms, f)
    assert expected.any()
    np.testing.assert_allclose(G[:, EVERY_KIND.index(f)], expected, rtol=1e-11, atol=1e-13)


def test_functions_of_one_centre_are_not_given_to_another():
    functions = [SymmetryFunction("G2", 4.0, 1, eta=0.1, centre=8), SymmetryFunction("G2", 4.0, 8, eta=0.4), SymmetryFunction("G4", 4.0, 1, 1, eta=0.1, centre=8)]
    module = SymmetryFunctions(functions, (1, 8))
    assert module.count(1) == 1 and module.count(8) == 3
    atoms = molecule("H2O")
    out = module(graph_of(atoms, 4.0))
    of_hydrogen, of_oxygen = module.of_element(out, 0).numpy(), module.of_element(out, 1).numpy()
    every = SymmetryFunctions([SymmetryFunction(f.kind, f.cutoff, f.neighbour, f.second, f.eta) for f in functions], (1, 8))
    expected = every(graph_of(atoms, 4.0))
    expected = every.of_element(expected, 0).numpy()
    np.testing.assert_allclose(of_oxygen[0], expected[0], rtol=1e-13)
    np.testing.assert_allclose(of_hydrogen[1:, 0], expected[1:, 1], rtol=1e-13)


def test_a_supercell_has_the_same_descriptors():
    atoms = bulk("Li", "bcc", a=3.5, cubic=True)
    atoms.rattle(0.1, seed=1)
    functions = [SymmetryFunction("G2", 6.0, 3, eta=0.1), SymmetryFunction("G4", 6.0, 3, 3, eta=0.01, zeta=2.0), SymmetryFunction("G5", 6.0, 3, 3, eta=0.05)]
    module = SymmetryFunctions(functions, (3,))
    small, large = module(graph_of(atoms, 6.0)), module(graph_of(atoms * (2, 2, 2), 6.0))
    np.testing.assert_allclose(large, small.tile(8, 1), rtol=1e-12)


def test_one_weight_for_each_element_is_the_same_as_channels():
    """With one-hot weights, a weighted radial function is the channel of that element."""
    atoms = molecule("CH3CH2OH")
    elements = (1, 6, 8)
    weighted = SymmetryFunctions([SymmetryFunction("W2", 5.0, eta=0.2, rs=1.0)], elements, n_weights=3)
    channels = SymmetryFunctions([SymmetryFunction("G2", 5.0, z, eta=0.2, rs=1.0) for z in elements], elements)
    graph = graph_of(atoms, 5.0)
    w = weighted.of_element(weighted(graph, weights=torch.eye(3, dtype=torch.float64)), 0)
    np.testing.assert_allclose(w, channels.of_element(channels(graph), 0), rtol=1e-13)


def test_straight_angles_have_finite_derivatives_of_any_order():
    atoms = Atoms("O3", [[0, 0, 0], [1.3, 0, 0], [-1.3, 0, 0]])
    functions = [SymmetryFunction("G5", 4.0, 8, 8, eta=0.1, zeta=z, lam=lam) for z in (1.0, 1.5, 2.0, 7.3) for lam in (1.0, -1.0)]
    graph = graph_of(atoms, 4.0)
    positions = graph.positions.requires_grad_(True)
    out = SymmetryFunctions(functions, (8,))(graph)
    (slope,) = torch.autograd.grad(out.sum(), positions, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), positions, allow_unused=True)
    assert torch.isfinite(slope).all() and torch.isfinite(second).all()


def test_nothing_in_reach_gives_zeros():
    far = Atoms("He2", [[0, 0, 0], [50, 0, 0]])
    module = SymmetryFunctions([SymmetryFunction("G2", 4.0, 2, eta=0.1), SymmetryFunction("G5", 4.0, 2, 2, eta=0.1)], (2,))
    assert module(graph_of(far, 4.0)).tolist() == [[0.0, 0.0]] * 2


@pytest.mark.parametrize("change, message", [
    ({"zeta": 0.5}, "zeta must be 1 or more"), ({"lam": 0.5}, "lam must be 1 or -1"), ({"second": None}, "takes 2 neighbour elements, got 1"),
    ({"cutoff": 0.0}, "cutoff of a symmetry function"), ({"cutoff_fn": "cosin"}, "no cutoff function 'cosin'"), ({"eta": -1.0}, "eta must be 0 or more"),
    ({"cutoff_fn": "tanh3", "inner": 0.2}, "no inner radius"), ({"neighbour": 200}, "not an atomic number"),
])  # fmt: skip
def test_numbers_out_of_range_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        SymmetryFunction(**{"kind": "G4", "cutoff": 4.0, "neighbour": 1, "second": 1, **change})


def test_a_function_of_a_foreign_element_is_refused():
    with pytest.raises(ValueError, match="is of Au, and the elements are H O"):
        SymmetryFunctions([SymmetryFunction("G2", 4.0, 79)], (1, 8))


def test_work_grows_with_neighbours_and_not_with_atoms_squared():
    """No tensor of a pass has more numbers than a few dozens for each triple."""
    atoms = bulk("Li", "bcc", a=3.5, cubic=True) * (4, 4, 4)
    graph = graph_of(atoms, 4.0)
    assert isinstance(graph.edges, Edges)
    functions = [SymmetryFunction("G4", 4.0, 3, 3, eta=0.1 * k, zeta=z) for k in range(4) for z in (1.0, 2.0)]
    n_triples = int((torch.bincount(graph.edges.centres) * (torch.bincount(graph.edges.centres) - 1) // 2).sum())
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        SymmetryFunctions(functions, (3,))(graph)
    assert largest < 12 * n_triples
