r"""Descriptors that are computed once: an epoch is then a few matrix products.

Symmetry functions do not change while the networks behind them learn, so G and its derivatives along the vectors to the neighbours are
kept for every frame:

.. math:: J_{e,k} = \partial G_{i(e),k} / \partial d_e, \qquad
    \partial E / \partial d_e = \sum_k (\partial E_{i(e)} / \partial G_{i(e),k}) J_{e,k}

for each directed edge e from its centre i(e), from which forces and stress follow as sums over edges.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from potentials.data.dataset import Batch, Dataset
from potentials.data.pairlists import ranges
from potentials.derivatives import energies_of_heads
from potentials.graph import AtomicGraph, Edges, edge_vectors, sum_over_atoms
from potentials.potential import Outputs, Potential
from potentials.training.config import TrainConfig
from potentials.training.evaluate import Predict
from potentials.training.loss import Prediction
from potentials.training.prepare import Part
from potentials.training.state import TrainingError

MOST_BYTES = 4 * 2**30  # that are taken without being asked for
EDGES_AT_ONCE = 20_000


class FixedDescriptors(Protocol):
    """A potential whose descriptors do not change in training."""

    def fixed_descriptors(self, graph: AtomicGraph) -> Tensor:
        """(n_atoms, K), those of each atom in its element's order, filled up with zeros."""

    def fixed_slopes(self, graph: AtomicGraph) -> Tensor:
        """(n_edges, 3, K), their derivatives along the vector of each edge that leaves the atom, Å^-1."""

    def outputs_of_descriptors(self, G: Tensor, graph: AtomicGraph) -> Outputs:
        """What `outputs` gives, from these descriptors; nothing of the graph but its atoms is looked at."""

    @property
    def n_descriptors(self) -> int:
        """K, the most that an element has."""


@dataclass(frozen=True)
class DescribedGraph(AtomicGraph):
    """A graph that brings its descriptors."""

    G: Tensor = torch.empty(0)  # (n_atoms, K)
    J: Tensor = torch.empty(0)  # (n_edges, 3, K), Å^-1

    def to(self, device: torch.device | str) -> DescribedGraph:
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return DescribedGraph(**{name: value.to(device) if isinstance(value, (Tensor, Edges)) else value for name, value in moved.items()})


@dataclass(frozen=True)
class DescribedDataset(Dataset):
    """Frames with the descriptors of their atoms."""

    G: Tensor = torch.empty(0)  # (n_atoms, K)
    J: tuple[Tensor, Tensor] = ()  # type: ignore[assignment]  # (n_pairs, 3, K) each: of the first atom of each pair, and of the second

    def batch(self, indices: np.ndarray) -> Batch:  # type: ignore[override]
        plain = super().batch(indices)
        indices = np.asarray(indices, dtype=np.int64)
        atoms, pairs = (torch.from_numpy(ranges(start, indices)) for start in (self.start, self.pairs.start))
        J = torch.cat([side.index_select(0, pairs) for side in self.J])
        graph = DescribedGraph(**{f.name: getattr(plain.graph, f.name) for f in fields(AtomicGraph)}, G=self.G.index_select(0, atoms), J=J)
        return replace(plain, graph=graph)


def plain(dataset: Dataset) -> Dataset:
    """The same frames without descriptors."""
    return Dataset(**{f.name: getattr(dataset, f.name) for f in fields(Dataset)}) if isinstance(dataset, DescribedDataset) else dataset


def with_descriptors(
    config: TrainConfig, potential: Potential, training: Part, validation: Part, predictor: Callable[..., Predict], tell: Callable[[str], None]
) -> tuple[Part, Part, Callable[..., Predict]]:
    """The data with stored descriptors and a maker of predictions that uses them, where the config and the potential have it so.

    Raises
    ------
    TrainingError : they are asked for, but they change in training.
    """
    can = hasattr(potential, "fixed_descriptors")
    if config.stored_descriptors and (not can or config.rotations):
        name = "rotations turns the structures" if can else f"those of {config.potential.name} change in training"
        raise TrainingError(f"stored_descriptors = true, but {name}. Leave it out.")
    parts = {id(part.dataset): part.dataset for part in (training, validation)}
    if not can or config.rotations or config.stored_descriptors is False:
        return training, validation, predictor
    needed = sum(bytes_needed(potential, d) for d in parts.values())
    if needed > MOST_BYTES and not config.stored_descriptors:
        tell(f"Descriptors would take {needed / 2**30:.1f} GiB and are computed at every step; stored_descriptors = true keeps them.")
        return training, validation, predictor
    made = {key: described(potential, d) for key, d in parts.items()}
    tell(f"Descriptors and their derivatives are kept in {needed / 2**20:.0f} MiB.")
    return replace(training, dataset=made[id(training.dataset)]), replace(validation, dataset=made[id(validation.dataset)]), stored_predictor(predictor)


def bytes_needed(potential: Potential, dataset: Dataset) -> int:
    """Memory that the descriptors of a data set take."""
    size = torch.finfo(next(potential.parameters()).dtype).bits // 8
    return size * cast(FixedDescriptors, potential).n_descriptors * (len(dataset.numbers) + 3 * int(dataset.edge_counts.sum()))


def described(potential: Potential, dataset: Dataset) -> DescribedDataset:
    """The data set with the descriptors of this potential."""
    fixed, dtype = cast(FixedDescriptors, potential), next(potential.parameters()).dtype
    device = next(potential.parameters()).device
    K, n_pairs = fixed.n_descriptors, int(dataset.pairs.start[-1])
    G = torch.zeros(len(dataset.numbers), K, dtype=dtype)
    J = tuple(torch.zeros(n_pairs, 3, K, dtype=dtype) for _ in range(2))
    for first, last in _chunks(dataset):
        graph = dataset.batch(np.arange(first, last)).graph.to(device)
        with torch.no_grad():
            values, slopes = fixed.fixed_descriptors(graph), fixed.fixed_slopes(graph).to(dtype)
        atoms, pairs = slice(dataset.start[first], dataset.start[last]), slice(dataset.pairs.start[first], dataset.pairs.start[last])
        G[atoms] = values.cpu()
        half = graph.edges.n_pairs
        J[0][pairs], J[1][pairs] = slopes[:half].cpu(), slopes[half:].cpu()
    return DescribedDataset(**{f.name: getattr(dataset, f.name) for f in fields(Dataset)}, G=G, J=J)  # type: ignore[arg-type]


def stored_predictor(predictor: Callable[..., Predict]) -> Callable[..., Predict]:
    """A maker of predictions that uses the descriptors of a graph that brings them, and is `predictor` for any other."""

    def made(potential: Potential, *, forces: bool = True, stress: bool = False, create_graph: bool = False) -> Predict:
        plain = predictor(potential, forces=forces, stress=stress, create_graph=create_graph)

        def predict(graph: AtomicGraph, head: Tensor | None = None, all_heads: bool = False) -> Prediction:
            if not isinstance(graph, DescribedGraph) or all_heads:
                return plain(graph) if head is None and not all_heads else plain(graph, head, all_heads)
            return from_descriptors(potential, graph, forces=forces, stress=stress, create_graph=create_graph, head=head)

        return predict

    return made


def from_descriptors(
    potential: Potential, graph: DescribedGraph, *, forces: bool, stress: bool, create_graph: bool, head: Tensor | None = None
) -> Prediction:
    """Energy, forces and stress by the chain rule over stored derivatives; `head` as for `potentials.derivatives.energy_forces_stress`."""
    fixed, f, sigma = cast(FixedDescriptors, potential), None, None
    with torch.set_grad_enabled(forces or stress or create_graph):
        G = graph.G.detach().requires_grad_(forces or stress)
        outputs = fixed.outputs_of_descriptors(G, graph)
        energy = sum_over_atoms(outputs.energies.double(), graph)
        of_heads = None if outputs.head_energies is None else energies_of_heads(outputs, graph)
        if forces or stress:
            whole = energy if head is None or of_heads is None else of_heads.gather(1, head[:, None])
            (g,) = torch.autograd.grad(whole.sum(), G, create_graph=create_graph)
            along = torch.bmm(graph.J, g.index_select(0, graph.edges.centres)[:, :, None])[:, :, 0].double()  # (n_edges, 3) dE/dd_e
            f = torch.zeros_like(graph.positions).index_add(0, graph.edges.centres, along).index_add(0, graph.edges.neighbours, -along)
            if stress:
                of_edge = graph.structure.index_select(0, graph.edges.centres)
                virial = torch.zeros_like(graph.cell).index_add(0, of_edge, edge_vectors(graph)[:, :, None] * along[:, None, :])
                sigma = 0.5 * (virial + virial.transpose(1, 2)) / torch.linalg.det(graph.cell).abs()[:, None, None]
    if not create_graph:
        energy, f, sigma, of_heads = (None if x is None else x.detach() for x in (energy, f, sigma, of_heads))  # type: ignore[assignment]
    return Prediction(energy, f, sigma, head_energy=of_heads)


def _chunks(dataset: Dataset) -> Iterator[tuple[int, int]]:
    """First and last frame (exclusive) of some frames with not too many edges."""
    first, edges = 0, 0
    for k, count in enumerate(dataset.edge_counts):
        if edges and edges + count > EDGES_AT_ONCE:
            yield first, k
            first, edges = k, 0
        edges += count
    yield first, len(dataset)
