"""Forces straight from features, without an energy: three ways that promise different things.

=========  ===============================================================  ============================================
free       f_i = MLP(h_i), for features that know directions                nothing: rotations are learnt from examples
pair       f_i = sum_j a_ij u_ij, a_ij = a_ji from the features of both     turns exactly; net force zero, in free space net torque too
vector     f_i = sum_c w_c(h_i) v_ic, less the mean over the structure      turns exactly; net force zero
=========  ===============================================================  ============================================

None of them is a gradient. S. Bigi, M. Langer, M. Ceriotti, arXiv:2412.11569, say what that costs.
"""
from __future__ import annotations

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_atoms
from potentials.layers.message_passing import PairFeatures, TwoDense, activation_of
from potentials.layers.mlp import dense


class FreeForces(torch.nn.Module):
    """Three numbers of each atom's features. An atom without neighbours feels no force."""

    def __init__(self, n_features: int, n_invariant: int, activation: str):
        super().__init__()
        self.network = TwoDense(n_features, n_features, 3, activation)

    def forward(self, h: Tensor, v: Tensor | None, pairs: PairFeatures, graph: AtomicGraph) -> Tensor:
        near = pairs.summed(pairs.fc)  # (n_atoms, 1), 0 for a lone atom
        return self.network(h) * (near / (0.1 + near))


class PairForces(torch.nn.Module):
    """Central forces between pairs, each of a size that hangs on the surroundings of both atoms."""

    def __init__(self, n_features: int, n_invariant: int, activation: str):
        super().__init__()
        self.product, self.total = dense(n_features, n_features, bias=False), dense(n_features, n_features, bias=False)
        self.pairs = dense(n_invariant, 2 * n_features)
        self.activation = activation_of(activation)
        self.last = dense(n_features, 1, bias=False)

    def forward(self, h: Tensor, v: Tensor | None, pairs: PairFeatures, graph: AtomicGraph) -> Tensor:
        at_i, at_j, total = h.index_select(0, pairs.i), h.index_select(0, pairs.j), self.total(h)
        added, gate = self.pairs(pairs.invariant).chunk(2, dim=1)
        s = self.product(at_i * at_j) + (total.index_select(0, pairs.i) + total.index_select(0, pairs.j)) + added
        a = self.last(self.activation(s) * gate)  # (n_pairs, 1), the same for j -> i
        along = (a * pairs.fc).double() * pairs.u.double()  # in float64, so that what is equal and opposite sums to zero
        return pairs.summed_both(along, -along)


class VectorForces(torch.nn.Module):
    """A weighted sum of each atom's vectors; what the whole structure would gain is taken off each atom alike."""

    def __init__(self, n_features: int, n_invariant: int, activation: str):
        super().__init__()
        self.weights = TwoDense(n_features, n_features, n_features, activation)

    def forward(self, h: Tensor, v: Tensor | None, pairs: PairFeatures, graph: AtomicGraph) -> Tensor:
        assert v is not None, "the vector head needs vectors"
        f = torch.einsum("nf,nxf->nx", self.weights(h), v).double()
        mean = sum_over_atoms(f, graph) / sum_over_atoms(torch.ones_like(f[:, :1]), graph).clamp(min=1)
        return f - mean.index_select(0, graph.structure)


FORCE_HEADS: dict[str, type[torch.nn.Module]] = {"free": FreeForces, "pair": PairForces, "vector": VectorForces}
