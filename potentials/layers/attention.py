"""Attention of So3krates: invariant features and Euclidean variables talk through filters of distance and relative orientation.

No softmax and no tensor product: a coefficient is a product of query, filter and key, and the Euclidean variables are
sums of spherical harmonics weighted with such coefficients.

J. T. Frank, O. T. Unke, K.-R. Müller, S. Chmiela, Nat. Commun. 15, 6539 (2024).
"""
from __future__ import annotations

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_neighbours
from potentials.layers.mlp import ACTIVATIONS, TwoLayers, lecun_normal_
from potentials.layers.spherical import Contraction


class Filter(torch.nn.Module):
    """w_ij = MLP(radial basis of d_ij) + MLP(invariants of the difference of Euclidean variables)."""

    def __init__(self, n_radial: int, n_degrees: int, n_features: int, activation: str):
        super().__init__()
        self.radial = TwoLayers(n_radial, n_features, n_features, activation)
        self.spherical = TwoLayers(n_degrees, n_features // 4, n_features, activation)

    def forward(self, rbf: Tensor, invariants: Tensor) -> Tensor:
        """(n_edges, K), (n_edges, n_degrees) -> (n_edges, n_features)."""
        return self.radial(rbf) + self.spherical(invariants)


class HeadProjection(torch.nn.Module):
    """One square matrix a head, no bias: y[h] = W[h] x[h], with W of shape (heads, out, in)."""

    def __init__(self, n_features: int, n_heads: int, zero: bool = False):
        super().__init__()
        size = n_features // n_heads
        self.weight = torch.nn.Parameter(torch.zeros(n_heads, size, size))
        if not zero:
            for head in self.weight.data:
                lecun_normal_(head, size)

    def forward(self, x: Tensor) -> Tensor:  # (n, heads, size) -> (n, heads, size)
        return torch.matmul(x.transpose(0, 1), self.weight.transpose(1, 2)).transpose(0, 1).contiguous()


class EuclideanAttention(torch.nn.Module):
    """Both branches of a layer: updates of the features x and of the Euclidean variables ev, before any skip.

    Parameters
    ----------
    n_features : F, divisible by `n_heads` and by the number of degrees.
    norms : what coefficients of the invariant and of the Euclidean branch are divided by.
    qk_activation : applied to queries and keys, not to values.
    zero_values : start the value projection at 0, so that the layer begins as the identity.
    """

    def __init__(
        self, n_features: int, n_heads: int, degrees: tuple[int, ...], n_radial: int, activation: str = "silu",
        qk_activation: str = "identity", norms: tuple[float, float] = (1.0, 1.0), zero_values: bool = False,
    ):  # fmt: skip
        super().__init__()
        n_degrees = len(degrees)
        self.n_heads, self.n_degrees = n_heads, n_degrees
        self.filter_x = Filter(n_radial, n_degrees, n_features, activation)
        self.filter_ev = Filter(n_radial, n_degrees, n_features, activation)
        self.query_x = HeadProjection(n_features, n_heads)
        self.key_x = HeadProjection(n_features, n_heads)
        self.value_x = HeadProjection(n_features, n_heads, zero=zero_values)
        self.query_ev = HeadProjection(n_features, n_degrees)
        self.key_ev = HeadProjection(n_features, n_degrees)
        self.qk_activation = ACTIVATIONS[qk_activation]
        self.norms = norms
        self.contraction = Contraction(degrees)
        parity = torch.tensor([[1.0] * n_degrees, [(-1.0) ** l for l in degrees]])[:, None]  # Y_l(-u) = (-1)^l Y_l(u)
        self.register_buffer("parity", parity, persistent=False)  # (2, 1, n_degrees)

    def forward(self, x: Tensor, invariants: Tensor, rbf: Tensor, Y: Tensor, phi: Tensor, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """One attention update.

        Filters are equal for i -> j and j -> i, so they are made once a pair; «(2, n_pairs, ...)» holds both directions.

        Parameters
        ----------
        x : (n_atoms, F); for a pre-norm architecture the normalised features.
        invariants : s(ev_j - ev_i), (n_pairs, n_degrees).
        rbf, Y, phi : radial basis (n_pairs, K), spherical harmonics (n_pairs, M), cutoff function (n_pairs,).

        Returns
        -------
        dx (n_atoms, F) and dev (n_atoms, M).
        """
        n_atoms, n_pairs = x.shape[0], graph.edges.n_pairs
        i, j = graph.edges.centres, graph.edges.neighbours
        x_heads, x_degrees = x.view(n_atoms, self.n_heads, -1), x.view(n_atoms, self.n_degrees, -1)

        def at(y: Tensor, index: Tensor) -> Tensor:  # rows of (n_atoms, heads, size), one an edge: (n_edges, F)
            return y.flatten(1).index_select(0, index)

        w = self.filter_x(rbf, invariants).view(n_pairs, *x_heads.shape[1:])  # (n_pairs, heads, F/heads)
        q, k = self.qk_activation(self.query_x(x_heads)), self.qk_activation(self.key_x(x_heads))
        qk = (at(q, i) * at(k, j)).view(2, *w.shape)
        alpha = (qk * w).sum(-1) * (phi[:, None] / self.norms[0])  # (2, n_pairs, heads)
        messages = alpha.view(2 * n_pairs, self.n_heads, 1) * at(self.value_x(x_heads), j).view(2 * n_pairs, *x_heads.shape[1:])
        dx = sum_over_neighbours(messages.flatten(1), graph)

        w = self.filter_ev(rbf, invariants).view(n_pairs, *x_degrees.shape[1:])  # (n_pairs, degrees, F/degrees)
        q, k = self.qk_activation(self.query_ev(x_degrees)), self.qk_activation(self.key_ev(x_degrees))
        qk = (at(q, i) * at(k, j)).view(2, *w.shape)
        alpha = (qk * w).sum(-1) * (phi[:, None] / self.norms[1]) * self.parity  # (2, n_pairs, degrees)
        dev = sum_over_neighbours((self.contraction.expand(alpha) * Y).flatten(0, 1), graph)
        return dx, dev


def attention_norms(kind: str, n_features: int, n_heads: int, n_degrees: int, avg_num_neighbors: float) -> tuple[float, float]:
    """The divisors of both branches: 1, the root of the head sizes, or the average number of neighbours."""
    if kind == "identity":
        return 1.0, 1.0
    if kind == "sqrt_num_features":
        return (n_features // n_heads) ** 0.5, (n_features // n_degrees) ** 0.5
    if kind == "avg_num_neighbors":
        return avg_num_neighbors, avg_num_neighbors
    raise ValueError(f"message_normalization is '{kind}'; allowed: identity, sqrt_num_features, avg_num_neighbors.")
