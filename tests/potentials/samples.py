"""Small potentials and structures that the tests of this wing share."""
import numpy as np
import torch
from ase import Atoms

from potentials.architectures import architectures
from potentials.layers.symmetry_functions.grids import Grid
from potentials.potential import Potential

SMALL = {
    "so3krates": dict(
        num_layers=2, num_features=16, num_heads=2, degrees=(1, 2), num_radial_basis_fn=8, energy_regression_dim=16, output_is_zero_at_init=False
    ),
    "so3krates-original": dict(n_layer=2, F=16, n_heads=2, degrees=(1, 2), n_rbf=8),
    "lennard-jones": {},
    "behler-parrinello": dict(elements=(1, 6, 8, 18), cutoff=5.0, grid=Grid(n_radial=3, n_angular=1, zetas=(1.0,)), hidden=(6,)),
    "behler-parrinello-embedded": dict(elements=(1, 6, 8, 18), cutoff=5.0, grid=Grid(n_radial=3, n_angular=1, weighted=True), n_channels=2, hidden=(6,)),
    "message-passing": dict(num_features=8, num_layers=2, num_radial_basis_fn=8, avg_num_neighbors=6.0),
}


def house_names() -> list[str]:
    """Architectures of the house, whatever other tests have registered in this process."""
    return [name for name in architectures.names() if architectures.get(name).__module__.startswith("potentials.architectures.")]


def small(name: str = "so3krates", seed: int = 0, **options: object) -> Potential:
    """A small member of an architecture with random weights of that seed, in float64."""
    architecture = architectures.get(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        potential = architecture(architecture.Config(**{**SMALL[name], **options})).double()
        with torch.no_grad():  # biases and scales of fresh networks are 0 and 1: nothing may hide behind them
            for parameter in potential.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return potential.eval()


def water(seed: int = 0, spread: float = 0.05) -> Atoms:
    """Two water molecules, a little out of shape."""
    one = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
    positions = np.concatenate([one, one + (0.3, 0.2, 2.9)])
    return Atoms("OH2OH2", positions + spread * np.random.default_rng(seed).normal(size=positions.shape))


def argon(seed: int = 0, n: int = 2, periodic: bool = True) -> Atoms:
    """A slightly disordered fcc crystal of argon in a sheared cell, 4 n^3 atoms."""
    a = 5.3
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    grid = np.array([(x, y, z) for x in range(n) for y in range(n) for z in range(n)])
    scaled = (grid[:, None] + basis[None]).reshape(-1, 3) / n
    cell = n * a * np.array([[1, 0, 0], [0.12, 0.98, 0], [-0.05, 0.08, 1.03]])
    positions = scaled @ cell + 0.15 * np.random.default_rng(seed).normal(size=scaled.shape)
    return Atoms(f"Ar{len(scaled)}", positions, cell=cell, pbc=periodic)
