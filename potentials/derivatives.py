"""Forces and stress: minus the gradient of the energy, once for all potentials.

The energy of a structure is the float64 sum of its atoms' energies. Stress is (1/V) dE/d(strain) under
r -> r (1 + strain), cell -> cell (1 + strain), with the symmetric part of the strain: positive under tension.
A potential that is not conservative says its forces itself; its stress, where it has an energy too, is the slope of that energy.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_atoms, with_geometry
from potentials.potential import Outputs, Potential


@dataclass(frozen=True)
class Results:
    """Energies, forces and stress of a batch."""

    energy: Tensor  # (n_structures,) float64, eV
    energies: Tensor  # (n_atoms,) eV
    forces: Tensor | None  # (n_atoms, 3) float64, eV/Å
    stress: Tensor | None  # (n_structures, 3, 3), eV/Å^3
    outputs: Outputs


def energy_forces_stress(
    potential: Potential, graph: AtomicGraph, *, forces: bool = True, stress: bool = False, create_graph: bool = False, head: Tensor | None = None
) -> Results:
    """Evaluate a potential and its derivatives.

    Parameters
    ----------
    stress : also the stress; every structure needs a cell with a volume.
    create_graph : keep what is needed to differentiate the forces again (training).
    head : (n_structures,) int64, whose energy forces and stress of each structure are slopes of, for a potential with several heads; their mean's when not given.

    Raises
    ------
    ValueError : the stress of a potential that provides none.
    """
    if stress and not potential.provides_stress:
        raise ValueError(f"{_named(potential)} provides {' and '.join(potential.provides)}, and no stress.")
    if not stress and not (forces and potential.conservative):
        with torch.set_grad_enabled(create_graph):
            outputs = potential.outputs(graph)
            given = _given_forces(potential, outputs) if forces else None
            return Results(sum_over_atoms(outputs.energies.double(), graph), outputs.energies, given, None, outputs)
    with torch.enable_grad():
        positions = graph.positions.detach().requires_grad_(True)
        inputs, cell, at = [positions], graph.cell, positions
        if stress:
            strain = torch.zeros_like(graph.cell).requires_grad_(True)
            inputs.append(strain)
            deformation = torch.eye(3, dtype=strain.dtype, device=strain.device) + 0.5 * (strain + strain.transpose(1, 2))
            at = torch.einsum("na,nab->nb", positions, deformation.index_select(0, graph.structure))
            cell = graph.cell @ deformation
        outputs = potential.outputs(with_geometry(graph, at, cell))
        energy = sum_over_atoms(outputs.energies.double(), graph)
        if outputs.energies.requires_grad:
            whole = energy if head is None else energies_of_heads(outputs, graph).gather(1, head[:, None])
            gradients = torch.autograd.grad(whole.sum(), inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True)
        else:  # no pair within the cutoff
            gradients = tuple(torch.zeros_like(x) for x in inputs)
    f = -gradients[0] if potential.conservative else _given_forces(potential, outputs)
    sigma = None
    if stress:
        volume = torch.linalg.det(graph.cell).abs()
        sigma = gradients[1] / volume[:, None, None]
    if not create_graph:
        energy, f, outputs = energy.detach(), f.detach(), _detached(outputs)
    return Results(energy, outputs.energies, f, sigma, outputs)


def energies_of_heads(outputs: Outputs, graph: AtomicGraph) -> Tensor:
    """What each head of a shallow ensemble says of each structure, (n_structures, n_heads) float64, eV."""
    assert outputs.head_energies is not None, "a potential with several heads gives their energies"
    return sum_over_atoms(outputs.head_energies.double(), graph)


def forces_of_heads(potential: Potential, graph: AtomicGraph, *, create_graph: bool = False) -> tuple[Outputs, Tensor, Tensor]:
    """What each head of a shallow ensemble says: outputs, energies (n_structures, n_heads) in eV, forces (n_heads, n_atoms, 3) in eV/Å.

    One pass forward, and one backward in which the gradients of all heads go together.
    """
    with torch.enable_grad():
        positions = graph.positions.detach().requires_grad_(True)
        outputs = potential.outputs(with_geometry(graph, positions, graph.cell))
        energies = energies_of_heads(outputs, graph)
        n_heads = energies.shape[1]
        gradients = torch.zeros((n_heads, *positions.shape), dtype=positions.dtype, device=positions.device)
        if energies.requires_grad:
            each = torch.eye(n_heads, dtype=energies.dtype, device=energies.device)[:, None, :].expand(-1, len(energies), -1)
            (gradients,) = torch.autograd.grad(energies, positions, each, is_grads_batched=True, create_graph=create_graph)
    if create_graph:
        return outputs, energies, -gradients
    return _detached(outputs), energies.detach(), -gradients.detach()


def _given_forces(potential: Potential, outputs: Outputs) -> Tensor:
    if outputs.forces is None:
        raise ValueError(f"{_named(potential)} says that it is not conservative, but gives no forces in its outputs.")
    return outputs.forces.double()


def _named(potential: Potential) -> str:
    return str(getattr(type(potential), "name", type(potential).__name__))


def _detached(outputs: Outputs) -> Outputs:
    def cut(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.detach()

    terms = {name: e.detach() for name, e in outputs.terms.items()}
    return Outputs(
        outputs.energies.detach(), terms, cut(outputs.charges), cut(outputs.hirshfeld_ratios), cut(outputs.extrapolation), cut(outputs.forces),
        cut(outputs.features), cut(outputs.head_energies),
    )
