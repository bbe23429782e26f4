"""Electrostatic energy of damped charges with all their periodic images: the sum over erf(d/sigma)/d that a cutoff breaks off.

With screening length sigma, Ewald's split 1/d = erf(d/sigma)/d + erfc(d/sigma)/d has the damped interaction itself as its smooth part. So the energy of the
same model in an infinite crystal is the reciprocal sum alone, less each charge's interaction with itself:

    E = k_e 2 pi / V  sum_{k != 0} exp(-k^2 sigma^2 / 4) / k^2  |S(k)|^2  -  k_e / (sqrt(pi) sigma)  sum_i q_i^2  -  k_e pi sigma^2 Q^2 / (2 V)

with S(k) = sum_i q_i exp(i k r_i). The last term belongs to the uniform background that neutralises a charged cell: full Coulomb of point charges in
that background, less the short-ranged pair sum of erfc(d/sigma)/d. The medium around the crystal is a conductor. Cost: n_atoms times number of k, in float64.

P. P. Ewald, Ann. Phys. 369, 253 (1921); M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids (2017), Eq. 6.4.
"""
from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from potentials.graph import AtomicGraph
from potentials.layers.pairs import FarPairs
from potentials.layers.repulsion import COULOMB

CHUNK = 1 << 22  # atoms times k-vectors at a time


class DampedEwald(torch.nn.Module):
    """Takes the place of `DampedCoulomb` for structures that are periodic along all three vectors.

    Parameters
    ----------
    sigma : Å, the damping length of the model.
    accuracy : reciprocal vectors are left out where exp(-k^2 sigma^2 / 4) is below this.
    """

    capturable = traceable = False  # its wave vectors are counted anew for each cell, so neither a CUDA graph nor compiled code can hold it

    def __init__(self, sigma: float, accuracy: float = 1e-12):
        super().__init__()
        self.sigma, self.accuracy = sigma, accuracy

    def forward(self, charges: Tensor, pairs: FarPairs | None, graph: AtomicGraph) -> Tensor:
        """Energies of atoms (n_atoms,), eV, float64, from charges (n_atoms,), e; the pairs are not used.

        Raises
        ------
        ValueError : a structure without a three-dimensional cell.
        """
        q = charges.double()
        energies = []
        for n in range(graph.n_structures):
            mine = slice(None) if graph.n_structures == 1 else torch.nonzero(graph.structure == n)[:, 0]
            energies.append(self.energies(q[mine], graph.positions[mine], graph.cell[n]))
        return torch.cat(energies)

    def energies(self, q: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        """Energies of the atoms of one structure, (n,): charges (n,), positions (n, 3), cell (3, 3)."""
        k, weight, volume = self._waves(cell)
        potential = torch.zeros_like(q)
        for _, w, cos, sin in _phases(positions, k, weight):
            potential = potential + cos @ (w * (q @ cos)) + sin @ (w * (q @ sin))
        own = 2 / (math.sqrt(math.pi) * self.sigma) * q + math.pi * self.sigma**2 / volume * q.sum()
        return 0.5 * COULOMB * q * (potential - own)

    def forces(self, q: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        """Forces on charges that do not change, (n, 3), eV/Å: minus the gradient of the sum of `energies`, written out."""
        k, weight, _ = self._waves(cell)
        field = torch.zeros_like(positions)
        for part, w, cos, sin in _phases(positions, k, weight):
            field = field + (sin * (w * (q @ cos)) - cos * (w * (q @ sin))) @ part
        return COULOMB * q[:, None] * field

    def _waves(self, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reciprocal vectors (n_k, 3), half of all, since -k has the same term; their weights (n_k,) in 1/Å; the volume.

        Raises
        ------
        ValueError : a structure without a three-dimensional cell.
        """
        volume = torch.linalg.det(cell).abs()
        if not bool(volume > 0):
            raise ValueError("Ewald summation needs a structure that is periodic along all three vectors; take electrostatics by pairs.")
        k = 2 * math.pi * self.whole_vectors(cell) @ torch.linalg.inv(cell).T
        k2 = (k * k).sum(1)
        return k, 8 * math.pi / volume * torch.exp(-k2 * self.sigma**2 / 4) / k2, volume

    @torch.no_grad()
    def whole_vectors(self, cell: Tensor) -> Tensor:
        """Whole numbers of reciprocal vectors within the accuracy, one of each pair k, -k, (n_k, 3)."""
        k_max = 2 / self.sigma * math.sqrt(-math.log(self.accuracy))
        reach = [math.ceil(k_max * float(length) / (2 * math.pi)) for length in cell.norm(dim=1)]
        n = torch.cartesian_prod(*(torch.arange(-r, r + 1, device=cell.device, dtype=cell.dtype) for r in reach))
        upper = (n[:, 0] > 0) | ((n[:, 0] == 0) & ((n[:, 1] > 0) | ((n[:, 1] == 0) & (n[:, 2] > 0))))
        n = n[upper]
        return n[(2 * math.pi * n @ torch.linalg.inv(cell).T).norm(dim=1) <= k_max]


def _phases(positions: Tensor, k: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Some waves at a time, (n_k, 3) and their weights (n_k,), with cosine and sine of their phase at each atom, (n, n_k)."""
    for part, w in zip(*(x.split(max(1, CHUNK // len(positions))) for x in (k, weight)), strict=True):
        phase = positions @ part.T
        yield part, w, torch.cos(phase), torch.sin(phase)
