"""Descriptors that are computed once give what computing them every time gives."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from potentials.architectures.behler_parrinello import BehlerParrinello, Config
from potentials.architectures.behler_parrinello_embedded import EmbeddedBehlerParrinello
from potentials.architectures.behler_parrinello_embedded import Config as EmbeddedConfig
from potentials.data.dataset import build_dataset
from potentials.data.labelled import LabelledStructure
from potentials.layers.symmetry_functions import SymmetryFunction, SymmetryFunctions
from potentials.layers.symmetry_functions.grids import Grid
from potentials.layers.symmetry_functions.slopes import slopes
from potentials.neighbours import graph_of
from potentials.training.evaluate import plain_predictor
from potentials.training.stored_descriptors import DescribedGraph, described, stored_predictor

SETS = {
    "channels": Config(elements=(1, 8), cutoff=3.5, hidden=(5, 4), grid=Grid(n_radial=3, n_angular=2)),
    "wide, inner radius": Config(elements=(1, 8), cutoff=3.5, hidden=(5,), cutoff_fn="poly5", inner=0.2, grid=Grid(n_radial=3, n_angular=1, wide=True)),
    "weighted": Config(elements=(1, 8), cutoff=3.5, hidden=(5,), grid=Grid(n_radial=3, n_angular=1, weighted=True)),
    "other functions for each element, G3 and vectors": Config(elements=(1, 8), hidden=(4,), functions=(
        SymmetryFunction("G3", 3.0, 8, kappa=1.3, centre=1), SymmetryFunction("G2", 3.5, 1, eta=0.4, rs=1.0),
        SymmetryFunction("G4", 3.0, 1, 8, eta=0.1, zeta=1.7, centre=8), SymmetryFunction("AEV-A", 2.8, 1, 1, eta=2.0, rs=1.2, zeta=4.0, theta=0.6, centre=8),
        SymmetryFunction("AEV-R", 3.4, 8, eta=3.0, rs=1.5, centre=8),
    )),
}  # fmt: skip


def frames():
    """Oblique cells smaller than the cutoff, and a free molecule."""
    rng = np.random.default_rng(3)
    for n, cell in ((3, [[3.1, 0, 0], [0.7, 2.9, 0], [0.2, -0.4, 3.3]]), (5, [[4.6, 0, 0], [0, 4.9, 0.3], [0.8, 0, 5.1]]), (4, None)):
        pbc = np.array([cell is not None] * 3)
        yield LabelledStructure(
            numbers=np.array([8, 1, 1, 8, 1][:n]), positions=rng.uniform(0, 4, (n, 3)), cell=np.array(cell or np.zeros((3, 3)), float), pbc=pbc,
            energy=-10.0 * n, forces=rng.normal(size=(n, 3)), stress=None, charge=0.0, molecule="m", source="made",
        )  # fmt: skip


def trained_on(config, dataset):
    torch.manual_seed(0)
    potential = BehlerParrinello(config).double()
    potential.set_reference_energies({1: -1.0, 8: -5.0})
    potential.fit_to([dataset.batch(np.arange(len(dataset)))])
    return potential


@pytest.mark.parametrize("name", SETS)
def test_energy_forces_and_their_gradients_are_those_of_the_plain_way(name):
    dataset = build_dataset(frames(), 3.5)
    potential = trained_on(SETS[name], dataset)
    chosen, found = np.array([2, 0, 1]), []
    for predict, data in ((plain_predictor, dataset), (stored_predictor(plain_predictor), described(potential, dataset))):
        batch = data.batch(chosen)
        prediction = predict(potential, forces=True, stress=False, create_graph=True)(batch.graph)
        value = prediction.energy.square().sum() + prediction.forces.square().sum()
        found.append([prediction.energy, prediction.forces, *torch.autograd.grad(value, list(potential.parameters()), allow_unused=True, materialize_grads=True)])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_stress_is_that_of_the_plain_way():
    dataset = build_dataset(list(frames())[:2], 3.5)
    potential = trained_on(SETS["channels"], dataset)
    a, b = (make(potential, forces=True, stress=True)(data.batch([0, 1]).graph).stress
            for make, data in ((plain_predictor, dataset), (stored_predictor(plain_predictor), described(potential, dataset))))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_slopes_are_derivatives_along_single_vectors(weighted):
    # an atom of a free molecule is the neighbour of a centre by one edge only, so moving it moves that vector alone
    atoms = Atoms("OH2", [[0, 0, 0], [0.9, 0.2, 0], [-0.3, 1.0, 0.4]])
    f = [SymmetryFunction("W2", 4.0, eta=0.5), SymmetryFunction("W4", 4.0, eta=0.1, zeta=2.0)] if weighted else [
        SymmetryFunction("G2", 4.0, 1, eta=0.5), SymmetryFunction("G5", 4.0, 1, 1, eta=0.1, zeta=2.0)]  # fmt: skip
    module, graph = SymmetryFunctions(f, (1, 8)), graph_of(atoms, 4.0)
    J, first = slopes(module, graph), module(graph)
    h = 1e-5
    for e in range(len(graph.edges)):
        i, j = int(graph.edges.centres[e]), int(graph.edges.neighbours[e])
        if i != 0:
            continue
        for x in range(3):
            moved = [replace(graph, positions=graph.positions.index_put((torch.tensor(j), torch.tensor(x)), graph.positions[j, x] + s * h)) for s in (1, -1)]
            difference = (module(moved[0])[0] - module(moved[1])[0]) / (2 * h)
            torch.testing.assert_close(J[e, x], difference, rtol=0, atol=1e-8)
    assert first.shape[1] == J.shape[2]


def test_learned_weights_of_neighbours_cannot_be_kept():
    potential = EmbeddedBehlerParrinello(EmbeddedConfig(elements=(1, 8), cutoff=3.5))
    with pytest.raises(ValueError, match="weights of neighbours are learned"):
        slopes(potential.descriptors, graph_of(Atoms("OH", [[0, 0, 0], [0.9, 0, 0]]), 3.5))
    assert not hasattr(potential, "fixed_descriptors")


def test_a_described_graph_stays_one_on_its_way_to_a_device():
    dataset = build_dataset(frames(), 3.5)
    batch = described(trained_on(SETS["channels"], dataset), dataset).batch([1]).to("cpu")
    assert isinstance(batch.graph, DescribedGraph) and batch.graph.J.shape[:2] == (len(batch.graph.edges), 3)
