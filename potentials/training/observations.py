r"""What a Kalman filter sees of a batch: errors of energies, of some forces and of stresses, and their derivatives by the weights.

Each observation is divided by the potential's energy unit and multiplied by the root of its weight in the loss. Where descriptors are
stored, forces and stress are linear in the slopes of the energy along the descriptors,

.. math:: F_o = \sum_{i,k} L_{o,ik} \frac{\partial E}{\partial G_{ik}},

with an L that holds nothing of the weights. So the backward passes of all observations go through the small networks only, not through
the sums over edges: 20 ms in the place of 260 for 40 components of 54 lithium atoms.
"""
from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from potentials.data.dataset import Batch
from potentials.graph import AtomicGraph, edge_vectors, sum_over_atoms
from potentials.potential import Potential
from potentials.training.config import LossConfig
from potentials.training.kalman import KalmanConfig
from potentials.training.loss import Prediction
from potentials.training.stored_descriptors import DescribedGraph, FixedDescriptors

UPPER = torch.triu_indices(3, 3)  # xx, xy, xz, yy, yz, zz of a symmetric matrix
TWICE = torch.where(UPPER[0] == UPPER[1], 1.0, 2.0).double()  # how often each stands in it


def observe(
    potential: Potential, parameters: list[Tensor], prediction: Prediction, batch: Batch, config: LossConfig, weights: dict[str, float], kalman: KalmanConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Jacobian (n_observations, n_weights) and error (n_observations,), observed - predicted, of a batch.

    Parameters
    ----------
    prediction : of this batch, with a graph to `parameters` where the batch brings no stored descriptors.
    weights : of the terms of the loss, at this moment of the training.
    generator : draws the components of forces.
    """
    unit = float(getattr(potential, "energy_unit", 1.0))
    per = batch.atom_counts if config.energy_per == "atom" else torch.ones_like(batch.atom_counts)
    known = torch.nonzero(torch.isfinite(batch.energy))[:, 0]
    scales, errors = [weights["energy"] ** 0.5 / unit / per[known].double()], [(batch.energy - prediction.energy.detach())[known]]
    chosen = strained = known[:0]
    if config.learns_forces and prediction.forces is not None:
        off = (batch.forces - prediction.forces.detach()).flatten()
        chosen = drawn(off, kalman.forces_per_update, kalman.force_threshold, generator)
        scales.append(torch.full_like(off[chosen], (weights["forces"] * len(batch.energy) / max(len(chosen), 1)) ** 0.5 / unit))
        errors.append(off[chosen])
    if config.stress > 0 and prediction.stress is not None:
        strained = torch.nonzero(torch.isfinite(batch.stress).flatten(1).all(1))[:, 0]
        scales.append(((weights["stress"] / 9) ** 0.5 / unit * TWICE.sqrt()).repeat(len(strained)))
        errors.append((batch.stress - prediction.stress.detach())[strained][:, UPPER[0], UPPER[1]].flatten())
    rows = _through_networks if isinstance(batch.graph, DescribedGraph) else _through_all
    scale = torch.cat(scales)
    return scale[:, None] * rows(potential, parameters, prediction, batch.graph, known, chosen, strained), scale * torch.cat(errors)


def _through_all(potential: Potential, parameters: list[Tensor], p: Prediction, graph: AtomicGraph, known: Tensor, chosen: Tensor, strained: Tensor) -> Tensor:
    """Derivatives of energies, force components and stresses by the weights, back through all that made them."""
    y = [p.energy[known]]
    if len(chosen) and p.forces is not None:
        y.append(p.forces.flatten()[chosen])
    if len(strained) and p.stress is not None:
        y.append(p.stress[strained][:, UPPER[0], UPPER[1]].flatten())
    seen = torch.cat(y)
    return _jacobian(seen, parameters, torch.eye(len(seen), dtype=seen.dtype, device=seen.device))


def _through_networks(potential: Potential, parameters: list[Tensor], p: Prediction, graph: AtomicGraph, known: Tensor, chosen: Tensor, strained: Tensor) -> Tensor:
    """The same from stored descriptors; see the module's head."""
    assert isinstance(graph, DescribedGraph)
    G = graph.G.detach().requires_grad_(True)
    energy = sum_over_atoms(cast(FixedDescriptors, potential).outputs_of_descriptors(G, graph).energies.double(), graph)
    (slope,) = torch.autograd.grad(energy.sum(), G, create_graph=True)  # (n_atoms, K)
    parts = [_jacobian(energy, parameters, torch.eye(len(energy), dtype=energy.dtype)[known].to(energy.device))]
    for one in ([forces_from_slopes(graph, chosen)] if len(chosen) else []) + ([stress_from_slopes(graph, strained)] if len(strained) else []):
        parts.append(_jacobian(slope, parameters, one))
    return torch.cat(parts)


def forces_from_slopes(graph: DescribedGraph, chosen: Tensor) -> Tensor:
    """L of some components of forces, numbered as in the flattened (n_atoms, 3): (n_chosen, n_atoms, K)."""
    atom, axis, n, K = chosen // 3, chosen % 3, graph.n_atoms, graph.G.shape[1]
    centres, neighbours = graph.edges.centres, graph.edges.neighbours
    sign = (centres == atom[:, None]).to(torch.int8) - (neighbours == atom[:, None]).to(torch.int8)  # an image of the atom itself moves with it
    o, e = torch.nonzero(sign, as_tuple=True)
    terms = graph.J[e, axis[o]] * sign[o, e][:, None]
    return terms.new_zeros(len(chosen) * n, K).index_add(0, o * n + centres[e], terms).view(-1, n, K)


def stress_from_slopes(graph: DescribedGraph, structures: Tensor) -> Tensor:
    """L of the six stresses of some structures: (6 n_structures, n_atoms, K), eV/Å³."""
    d, n, K = edge_vectors(graph).to(graph.J.dtype), graph.n_atoms, graph.G.shape[1]
    a, b = UPPER.to(d.device)
    virial = 0.5 * (d[:, a, None] * graph.J[:, b] + d[:, b, None] * graph.J[:, a])  # (n_edges, 6, K)
    of_atom = virial.new_zeros(n, 6, K).index_add(0, graph.edges.centres, virial)
    volume = torch.linalg.det(graph.cell).abs()[structures].to(d.dtype)
    mine = (graph.structure == structures[:, None]).to(d.dtype) / volume[:, None]  # (n_structures, n_atoms)
    return torch.einsum("sn,nxk->sxnk", mine, of_atom).flatten(0, 1)


def _jacobian(y: Tensor, parameters: list[Tensor], along: Tensor) -> Tensor:
    """Derivatives of Σ along_o y by the weights, for each o: (n_o, n_weights), float64."""
    rows = torch.autograd.grad(y, parameters, along.to(y.dtype), is_grads_batched=True, allow_unused=True, retain_graph=True)
    return torch.cat([(p.new_zeros(len(along), p.numel()) if g is None else g.flatten(1)).double() for g, p in zip(rows, parameters)], 1)


def drawn(error: Tensor, n: int, threshold: float, generator: torch.Generator) -> Tensor:
    """Indices of n components with a label (0: all), those first whose error is above `threshold` RMSE."""
    there = torch.nonzero(torch.isfinite(error))[:, 0]
    if n == 0 or len(there) <= n:
        return there
    order = there[torch.randperm(len(there), generator=generator).to(there.device)]
    if threshold > 0:
        size = error[order].abs()
        order = order[torch.argsort((size <= threshold * size.square().mean().sqrt()).to(torch.int8), stable=True)]
    return torch.sort(order[:n])[0]
