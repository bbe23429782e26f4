"""Dispersion between quantum Drude oscillators whose size follows from Hirshfeld ratios (vdW-QDO), damped at short range.

Free-atom polarisabilities and C6 coefficients: X. Chu and A. Dalgarno, J. Chem. Phys. 121, 4083 (2004), from ASE's table.
The formula: A. Khabibrakhmanov, D. V. Fedorov, A. Tkatchenko, J. Chem. Theory Comput. 19, 7895 (2023);
A. Kabylda et al., J. Am. Chem. Soc. 147, 33723 (2025) (SO3LR).
"""
from __future__ import annotations

import torch
from ase.calculators.vdwcorrection import vdWDB_Chu04jcp
from ase.data import atomic_numbers
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_neighbours
from potentials.layers.constants import WithConstants
from potentials.layers.cutoffs import switch
from potentials.layers.embedding import N_NUMBERS
from potentials.layers.pairs import FarPairs
from potentials.layers.repulsion import BOHR

HARTREE = 27.211386024367243  # eV
FINE_STRUCTURE = 0.007297352566206496


class Dispersion(WithConstants):
    """E_i = 1/2 sum_j -[C6/(D^6+p^6) + C8/(D^8+p^8) + C10/(D^10+p^10)] with D in bohr and p from the atoms' van der Waals radii.

    Parameters
    ----------
    scale : of the damping radius.
    width : Å; under a cutoff R the energy is switched off from R - width to R.
    """

    def __init__(self, scale: float, width: float = 2.0):
        super().__init__()
        self.scale, self.width = scale, width
        free = torch.zeros(N_NUMBERS, 2, dtype=torch.float64)
        for symbol, values in vdWDB_Chu04jcp.items():
            free[atomic_numbers[symbol]] = torch.tensor(values, dtype=torch.float64)
        self.constant("free", free)  # (N_NUMBERS, 2): polarisability, bohr^3, and C6, hartree bohr^6

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers with tabulated free atoms."""
        return tuple(int(z) for z in torch.nonzero(self.free[:, 0] > 0)[:, 0])

    def forward(self, ratios: Tensor, pairs: FarPairs, graph: AtomicGraph) -> Tensor:
        """Energies of atoms (n_atoms,), eV, from Hirshfeld ratios (n_atoms,)."""
        free = self.free.to(ratios.dtype).index_select(0, graph.numbers)
        alpha, C6 = free[:, 0] * ratios, free[:, 1] * ratios**2  # (n_atoms,)
        alpha_i, alpha_j = alpha.index_select(0, pairs.i), alpha.index_select(0, pairs.j)
        C6_i, C6_j = C6.index_select(0, pairs.i), C6.index_select(0, pairs.j)
        alpha_ij = 0.5 * (alpha_i + alpha_j)
        C6_ij = 2 * C6_i * C6_j * alpha_i * alpha_j / (alpha_i**2 * C6_j + alpha_j**2 * C6_i)
        root = alpha_ij ** (1 / 7)
        R_vdw = FINE_STRUCTURE ** (-4 / 21) * root
        s = -0.00433008 + R_vdw * (0.24428889 + R_vdw * (0.04125273 - 0.00078893 * R_vdw))
        gamma = 0.5 / s**2
        C8, C10 = 5 / gamma * C6_ij, 245 / (8 * gamma**2) * C6_ij
        p2 = (2 * 2.54 * self.scale * root) ** 2
        D2 = (pairs.d / BOHR) ** 2
        D6, p6 = D2**3, p2**3
        energy = -(C6_ij / (D6 + p6) + C8 / (D6 * D2 + p6 * p2) + C10 / (D6 * D2**2 + p6 * p2**2))
        if not pairs.all_pairs:
            inside = switch(pairs.d - pairs.cutoff, -self.width, 0.0)
            energy = energy * torch.where(pairs.has_cutoff, inside, 1.0)
        half = 0.5 * HARTREE * energy
        return sum_over_neighbours(torch.cat([half, half]), graph, graph.long_range)
