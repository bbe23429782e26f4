"""So3krates' attention with its derivative written out: the fast twin of `EuclideanAttention`, for evaluation.

Both branches are carried side by side in arrays of width 2F, and everything that has one row a pair lives in one
operation with an explicit backward, so that a step calls a third of the tensor operations and keeps a third of the
arrays of the plain path. Weights are joined once and frozen: it gives forces, and no gradient of the weights.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from potentials.graph import AtomicGraph
from potentials.layers.attention import EuclideanAttention, Filter, HeadProjection
from potentials.layers.mlp import ACTIVATIONS
from potentials.potential import Potential


def fuse_attention(potential: Potential) -> Potential:
    """Give each attention block of a potential its fused twin, in place; blocks that have none stay as they are."""
    for module in potential.modules():
        if type(module) is EuclideanAttention and _has_twin(module):
            module.__class__ = FusedAttention
            module.joined = _join(module)
    return potential


def _has_twin(block: EuclideanAttention) -> bool:
    return all(f.activation is ACTIVATIONS["silu"] for branch in (block.filter_x, block.filter_ev) for f in (branch.radial, branch.spherical))


@dataclass(frozen=True)
class Joined:
    """Weights of both branches, side by side, and constants. F features, K radial functions, D degrees, H heads, M components."""

    F: int
    n_heads: int
    radial_1: tuple[Tensor, Tensor]  # (K, 2F), (2F,)
    radial_2: tuple[Tensor, Tensor]  # (F, F) of each branch
    spherical_1: tuple[Tensor, Tensor]  # (D, 2 F//4), (2 F//4,)
    spherical_2: tuple[Tensor, Tensor]  # (F//4, F) of each branch
    bias_2: tuple[Tensor, Tensor]  # (F,) of each branch, radial and spherical together
    qkv: Tensor  # (F, 5F): queries of both branches, keys of both, values
    heads: Tensor  # (2F, H + D), 1 where a feature belongs to a head or degree
    heads_x: Tensor  # (F, H), the part of `heads` of the invariant branch
    scale: Tensor  # (2, 1, H + D), 1/norm of each branch, with the parity of degrees for reversed pairs
    members: Tensor  # (M, D), 1 where a component belongs to a degree


class FusedAttention(EuclideanAttention):
    """`EuclideanAttention` by the same weights and signature."""

    joined: Joined

    def forward(self, x: Tensor, invariants: Tensor, rbf: Tensor, Y: Tensor, phi: Tensor, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        F = self.joined.F
        q, k, v = (x @ self.joined.qkv).split([2 * F, 2 * F, F], dim=1)
        return _PairAttention.apply(self.qk_activation(q), self.qk_activation(k), v, rbf, invariants, phi, Y, graph, self.joined)  # type: ignore[no-any-return]


class _PairAttention(torch.autograd.Function):
    """Filters, coefficients, messages and their sums over neighbours."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, rbf: Tensor, inv: Tensor, phi: Tensor, Y: Tensor, graph: AtomicGraph, c: Joined):
        F, H, n_pairs, n_atoms = c.F, c.n_heads, phi.shape[0], q.shape[0]
        i, j = graph.edges.centres, graph.edges.neighbours
        silu = torch.nn.functional.silu
        pre_r = torch.addmm(c.radial_1[1], rbf, c.radial_1[0])  # (n_pairs, 2F)
        pre_s = torch.addmm(c.spherical_1[1], inv, c.spherical_1[0])  # (n_pairs, 2 F//4)
        R, S = silu(pre_r).chunk(2, dim=1), silu(pre_s).chunk(2, dim=1)
        w = torch.cat([torch.addmm(c.bias_2[b], R[b], c.radial_2[b]).addmm_(S[b], c.spherical_2[b]) for b in (0, 1)], dim=1)  # (n_pairs, 2F)
        q_i, k_j, v_j = q.index_select(0, i), k.index_select(0, j), v.index_select(0, j)
        qk = q_i * k_j  # (n_edges, 2F)
        bare = ((qk.view(2, n_pairs, 2 * F) * w).view(-1, 2 * F) @ c.heads).view(2, n_pairs, -1) * c.scale  # (2, n_pairs, H + D)
        alpha = (bare * phi[:, None]).view(2 * n_pairs, -1)
        alpha_x, alpha_ev = alpha[:, :H] @ c.heads_x.T, alpha[:, H:] @ c.members.T  # (n_edges, F), (n_edges, M)
        dx = v.new_zeros(n_atoms, F).index_add_(0, i, alpha_x * v_j)
        dev = v.new_zeros(n_atoms, Y.shape[1]).index_add_(0, i, (alpha_ev.view(2, n_pairs, -1) * Y).view(2 * n_pairs, -1))
        ctx.save_for_backward(q_i, k_j, v_j, qk, w, bare, alpha_x, alpha_ev, phi, Y, pre_r, pre_s, i, j)
        ctx.c, ctx.n_atoms = c, n_atoms
        return dx, dev

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_dx: Tensor, g_dev: Tensor):
        c: Joined = ctx.c
        q_i, k_j, v_j, qk, w, bare, alpha_x, alpha_ev, phi, Y, pre_r, pre_s, i, j = ctx.saved_tensors
        F, n_pairs, n_atoms = c.F, phi.shape[0], ctx.n_atoms

        def summed(rows: Tensor, index: Tensor) -> Tensor:
            return rows.new_zeros(n_atoms, rows.shape[1]).index_add_(0, index, rows)

        g_messages, g_ev = g_dx.index_select(0, i), g_dev.index_select(0, i).view(2, n_pairs, -1)
        g_v = summed(alpha_x * g_messages, j)
        g_alpha = torch.cat([(g_messages * v_j) @ c.heads_x, (g_ev * Y).view(2 * n_pairs, -1) @ c.members], dim=1).view(2, n_pairs, -1)
        g_Y = (alpha_ev.view(2, n_pairs, -1) * g_ev).sum(0)
        g_phi = (g_alpha * bare).sum(dim=(0, 2))
        g_qkw = (g_alpha * (phi[:, None] * c.scale)).view(2 * n_pairs, -1) @ c.heads.T  # (n_edges, 2F)
        g_w = (g_qkw * qk).view(2, n_pairs, 2 * F).sum(0)  # (n_pairs, 2F)
        g_qk = (g_qkw.view(2, n_pairs, 2 * F) * w).view(-1, 2 * F)
        g_q, g_k = summed(g_qk * k_j, i), summed(g_qk * q_i, j)
        g_w_b = g_w.chunk(2, dim=1)
        g_R = torch.cat([g_w_b[b] @ c.radial_2[b].T for b in (0, 1)], dim=1)
        g_S = torch.cat([g_w_b[b] @ c.spherical_2[b].T for b in (0, 1)], dim=1)
        g_rbf = torch.ops.aten.silu_backward(g_R, pre_r) @ c.radial_1[0].T
        g_inv = torch.ops.aten.silu_backward(g_S, pre_s) @ c.spherical_1[0].T
        return g_q, g_k, g_v, g_rbf, g_inv, g_phi, g_Y, None, None


def _join(block: EuclideanAttention) -> Joined:
    branches: tuple[Filter, Filter] = (block.filter_x, block.filter_ev)
    F = block.filter_x.radial.last.out_features
    H, D = block.n_heads, block.n_degrees
    weight = block.value_x.weight.detach()

    def first(name: str) -> tuple[Tensor, Tensor]:
        layers = [getattr(f, name).first for f in branches]
        return torch.cat([layer.weight.detach().T for layer in layers], dim=1).contiguous(), torch.cat([layer.bias.detach() for layer in layers])

    def last(name: str) -> tuple[Tensor, Tensor]:
        x, ev = (getattr(f, name).last.weight.detach().T.contiguous() for f in branches)
        return x, ev

    heads = weight.new_zeros(2 * F, H + D)
    for h in range(H):
        heads[h * F // H : (h + 1) * F // H, h] = 1
    for l in range(D):
        heads[F + l * F // D : F + (l + 1) * F // D, H + l] = 1
    scale = torch.cat([weight.new_full((2, 1, H), 1 / block.norms[0]), block.parity.to(weight) / block.norms[1]], dim=2)
    return Joined(
        F=F,
        n_heads=H,
        radial_1=first("radial"),
        radial_2=last("radial"),
        spherical_1=first("spherical"),
        spherical_2=last("spherical"),
        bias_2=(_bias(block.filter_x), _bias(block.filter_ev)),
        qkv=torch.cat([_dense(p) for p in (block.query_x, block.query_ev, block.key_x, block.key_ev, block.value_x)], dim=1).contiguous(),
        heads=heads,
        heads_x=heads[:F, :H].contiguous(),
        scale=scale,
        members=block.contraction.membership.to(weight),
    )


def _bias(f: Filter) -> Tensor:
    return f.radial.last.bias.detach() + f.spherical.last.bias.detach()


def _dense(projection: HeadProjection) -> Tensor:
    """The matrices of all heads as one, (F, F), for x @ W."""
    return torch.block_diag(*(w.T for w in projection.weight.detach()))
