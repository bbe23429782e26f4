"""A pair potential that learns in a second: sums of Gaussians of the distance, one set of weights for all elements."""
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.io import write

from potentials.architectures import architectures
from potentials.graph import edge_lengths, sum_over_neighbours
from potentials.layers.energies import ElementEnergies
from potentials.neighbours import graph_of
from potentials.derivatives import energy_forces_stress
from potentials.potential import Potential


@dataclass(frozen=True)
class ToyConfig:
    elements: tuple[int, ...] | None = None
    cutoff: float = 4.0  # Å
    n_basis: int = 8


@architectures.register("toy-pair")
class ToyPair(Potential):
    Config = ToyConfig

    def __init__(self, config):
        super().__init__(config.cutoff, config.elements)
        self.config = config
        self.weights = torch.nn.Parameter(0.1 * torch.randn(config.n_basis, 1))
        self.register_buffer("centres", torch.linspace(0.5, config.cutoff, config.n_basis), persistent=False)
        self.element_energies = ElementEnergies()

    def set_reference_energies(self, energies):
        self.element_energies.set(energies)

    def forward(self, graph):
        r = edge_lengths(graph)[:, None].to(self.weights.dtype)
        smooth = 0.5 * (1 + torch.cos(torch.pi * torch.clamp(r / self.cutoff, max=1)))
        pair = smooth * (torch.exp(-8 * (r - self.centres) ** 2) @ self.weights)
        return 0.5 * sum_over_neighbours(pair[:, 0], graph).double() + self.element_energies(graph.numbers)


def write_toy_data(path, n_frames=24, seed=0, n_molecules=4, **changes):
    """Labels made by a toy of other weights: a potential that the toy can become."""
    generator = torch.Generator().manual_seed(99)
    teacher = ToyPair(ToyConfig()).double()
    teacher.weights.data = 0.5 * torch.randn(8, 1, generator=generator, dtype=torch.float64)
    teacher.set_reference_energies({1: -13.6, 8: -2000.0})
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n_frames):
        n_hydrogens = 2 + k % n_molecules
        grid = np.stack(np.meshgrid(*[np.arange(2) * 1.3] * 3), axis=-1).reshape(-1, 3)[: 2 + n_hydrogens]
        atoms = Atoms(f"O2H{n_hydrogens}", grid + 0.15 * rng.standard_normal((2 + n_hydrogens, 3)))
        found = energy_forces_stress(teacher, graph_of(atoms, teacher.cutoff))
        atoms.info.update(REF_energy=float(found.energy), molecule=str(atoms.symbols), **changes)
        atoms.arrays["REF_forces"] = found.forces.detach().numpy()
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return frames
