r"""Message passing on invariant features of atoms, with directions or vectors beside them where a head wants them.

One pass, with h_i the features of an atom (after a norm), R the radial basis, b the type of a bond and f_c the cutoff function:

.. math::
    m_{ij} = \sigma\!\big(W (h_i \odot h_j) + U [R, b]_{ij}\big) \odot V [R, b]_{ij}\, f_c(d_{ij}), \qquad
    h_i \leftarrow h_i + \mathrm{MLP}\Big(\sum_j m_{ij} / \sqrt{\bar n}\Big)

The product h_i h_j is the same for i -> j and j -> i, so a message is made once a pair. With `directed`, terms linear in R(d) times the direction are
added to both linear maps: they turn their sign with the pair, and an atom's features then know where its neighbours are, but no longer turn with the
system (GNNforMD's way; Gilmer et al., ICML 2017, and arXiv:2112.03383). With `vectors`, an atom has vectors v_i (3, F) beside its features, after PaiNN
(Schütt et al., arXiv:2102.03150): v_i += sum_j (phi_1 v_j + phi_2 u_ij), and their invariants go back into the features.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.graph import AtomicGraph
from potentials.layers.mlp import ACTIVATIONS, Activation, dense

N_DIRECTED = 8  # radial functions that multiply directions
N_BOND_TYPES = 3


@dataclass(frozen=True)
class PairFeatures:
    """What messages know of each pair, made once for all passes; the reversed pair has the same with u turned round."""

    i: Tensor  # (n_pairs,)
    j: Tensor  # (n_pairs,)
    fc: Tensor  # (n_pairs, 1) cutoff function
    invariant: Tensor  # (n_pairs, K), or (n_pairs, K + 3) with types of bonds
    u: Tensor  # (n_pairs, 3) from i to j, length 1
    n_atoms: int

    def summed(self, values: Tensor) -> Tensor:
        """Sum over the neighbours of each atom of what a pair has in both directions: (n_pairs, ...) -> (n_atoms, ...)."""
        return self.summed_both(values, values)

    def summed_both(self, of_i: Tensor, of_j: Tensor) -> Tensor:
        """The same where i -> j and j -> i differ."""
        zeros = of_i.new_zeros((self.n_atoms, *of_i.shape[1:]))
        return zeros.index_add(0, self.i, of_i).index_add(0, self.j, of_j)

    @property
    def directed(self) -> Tensor:
        """R_k u for the first radial functions, (n_pairs, 3 N_DIRECTED): odd in the direction."""
        return (self.invariant[:, :N_DIRECTED, None] * self.u[:, None]).flatten(1)


class PReLU(torch.nn.Module):
    """One trained slope for what is below 0."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.full((1,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.prelu(x, self.slope)


def activation_of(name: str) -> Activation:
    """A function by its name; PReLU comes with a weight of its own."""
    return PReLU() if name == "prelu" else ACTIVATIONS[name]


class TwoDense(torch.nn.Module):
    """Dense, activation, dense."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, activation: str, zero_last: bool = False):
        super().__init__()
        self.first, self.activation, self.last = dense(n_in, n_hidden), activation_of(activation), dense(n_hidden, n_out, zero=zero_last)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))


class RootMeanSquareNorm(torch.nn.Module):
    """Features of one atom divided by their root mean square; no atom sees another."""

    def __init__(self, n_features: int, centred: bool = False):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(n_features))
        self.centred = centred

    def forward(self, h: Tensor, graph: AtomicGraph) -> Tensor:
        if self.centred:
            h = h - h.mean(dim=1, keepdim=True)
        return self.scale * h * torch.rsqrt(h.square().mean(dim=1, keepdim=True) + 1e-5)


class StructureNorm(torch.nn.Module):
    """GraphNorm: features centred and scaled over the atoms of each structure (Cai et al., ICML 2021), never over a batch.

    It ties atoms at any distance to each other, and hides what all atoms of a structure have in common: in a substance of one kind of atom the
    given charge, epsilon and sigma vanish. Here for comparison.
    """

    def __init__(self, n_features: int):
        super().__init__()
        self.alpha, self.gamma = (torch.nn.Parameter(torch.ones(n_features)) for _ in range(2))
        self.beta = torch.nn.Parameter(torch.zeros(n_features))

    def forward(self, h: Tensor, graph: AtomicGraph) -> Tensor:
        zeros = h.new_zeros(graph.n_structures, h.shape[1])
        counts = h.new_zeros(graph.n_structures, 1).index_add(0, graph.structure, torch.ones_like(h[:, :1])).clamp(min=1)
        mean = zeros.index_add(0, graph.structure, h) / counts
        h = h - self.alpha * mean.index_select(0, graph.structure)
        variance = zeros.index_add(0, graph.structure, h.square()) / counts
        return self.gamma * h * torch.rsqrt(variance + 1e-5).index_select(0, graph.structure) + self.beta


class NoNorm(torch.nn.Module):
    """Features as they are."""

    def forward(self, h: Tensor, graph: AtomicGraph) -> Tensor:
        return h


def norm_of(name: str, n_features: int) -> torch.nn.Module:
    """A norm by its name: none, rms, layer, structure."""
    if name == "structure":
        return StructureNorm(n_features)
    return NoNorm() if name == "none" else RootMeanSquareNorm(n_features, centred=name == "layer")


class MessagePass(torch.nn.Module):
    """One pass; see the module's head.

    Parameters
    ----------
    n_invariant : numbers that a pair brings along.
    neighbours : mean number of neighbours, by whose root sums are divided.
    """

    def __init__(self, n_features: int, n_invariant: int, neighbours: float, activation: str, norm: str, directed: bool = False, vectors: bool = False):
        super().__init__()
        self.norm = norm_of(norm, n_features)
        self.nodes = dense(n_features, n_features, bias=False)
        self.pairs = dense(n_invariant, 2 * n_features)
        self.directions = dense(3 * N_DIRECTED, 2 * n_features, bias=False) if directed else None
        self.activation = activation_of(activation)
        self.update = TwoDense(2 * n_features if vectors else n_features, n_features, 2 * n_features if vectors else n_features, activation)
        self.phi = dense(n_features, 2 * n_features, bias=False) if vectors else None
        self.mix = dense(n_features, 2 * n_features, bias=False) if vectors else None
        self.root = 1 / math.sqrt(max(neighbours, 1.0))

    def forward(self, h: Tensor, v: Tensor | None, pairs: PairFeatures, graph: AtomicGraph) -> tuple[Tensor, Tensor | None]:
        """Features (n_atoms, F) and vectors (n_atoms, 3, F) after the pass."""
        normed = self.norm(h, graph)
        if isinstance(self.norm, StructureNorm):
            h = normed  # as GNNforMD has it: what is handed on are the normalised features
        s = self.nodes(normed.index_select(0, pairs.i) * normed.index_select(0, pairs.j))
        added, gate = self.pairs(pairs.invariant).chunk(2, dim=1)
        s = s + added
        if self.directions is not None:
            ds, dgate = self.directions(pairs.directed).chunk(2, dim=1)
            summed = pairs.summed_both(self._message(s + ds, gate + dgate, pairs.fc), self._message(s - ds, gate - dgate, pairs.fc))
            return h + self.update(summed), v
        m = self._message(s, gate, pairs.fc)
        if self.phi is None or self.mix is None:
            return h + self.update(pairs.summed(m)), v
        phi_1, phi_2 = self.phi(m)[:, None].chunk(2, dim=2)  # (n_pairs, 1, F)
        along = phi_2 * pairs.u[:, :, None]
        if v is None:  # the first pass: no atom has vectors yet
            v = pairs.summed_both(along, -along)
        else:
            v = v + pairs.summed_both(phi_1 * v.index_select(0, pairs.j) + along, phi_1 * v.index_select(0, pairs.i) - along)
        a, b = self.mix(v).chunk(2, dim=2)
        dh, factor = self.update(torch.cat([pairs.summed(m), (a * b).sum(1)], dim=1)).chunk(2, dim=1)
        return h + dh, v + a * factor[:, None]

    def _message(self, s: Tensor, gate: Tensor, fc: Tensor) -> Tensor:
        return self.activation(s) * gate * (fc * self.root)
