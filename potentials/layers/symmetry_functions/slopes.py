r"""Descriptors and their derivatives along every vector to a neighbour, for those who keep them.

An atom's descriptors depend on nothing but the vectors d_e that leave it. The derivative of a radial function is that of its one term; to an
angular one each triple of edges e, e' with distances r, r' and the cosine c between them adds

.. math:: \partial G / \partial d_e \mathrel{+}= \frac{\partial g}{\partial c} \frac{u' - c\,u}{r} + \frac{\partial g}{\partial r} u,
    \qquad u = d_e / r

and the same with e and e' exchanged. Derivatives of g, three numbers for each triple and function, come by forward differentiation of the
equations; one pass serves all functions.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, pair_vectors
from potentials.layers.symmetry_functions import terms
from potentials.layers.symmetry_functions.blocks import AngularBlock, RadialBlock
from potentials.layers.symmetry_functions.module import SymmetryFunctions
from potentials.layers.triples import triples_of


@torch.no_grad()
def slopes(module: SymmetryFunctions, graph: AtomicGraph) -> Tensor:
    """dG_i/dd_e of the centre i of each directed edge e, (n_edges, 3, n) float64, Å^-1, in the order of computation.

    Raises
    ------
    ValueError : weights of neighbours are learned, so that derivatives would not stay what they are.
    """
    if module.n_weights:
        raise ValueError("weights of neighbours are learned: derivatives of such descriptors cannot be kept.")
    edges, n = graph.edges, graph.edges.n_pairs
    r_ij = pair_vectors(graph)
    d = r_ij.norm(dim=1)
    u, r = torch.cat([r_ij, -r_ij]) / torch.cat([d, d])[:, None], torch.cat([d, d])  # (n_edges, 3), (n_edges,)
    e = module.place.index_select(0, graph.numbers)
    e_centre, e_neighbour = (e.index_select(0, x) for x in (edges.centres, edges.neighbours))
    weights = module.atomic_numbers[:, 0].double()
    parts = []
    for block in module.radial:
        parts.append(_radial(block, d[:n], r, u, e_centre, e_neighbour, weights))  # type: ignore[arg-type]
    if len(module.angular):
        near = torch.nonzero(r < module.reach)[:, 0]
        first, second = (near.index_select(0, x) for x in triples_of(edges.centres.index_select(0, near), graph.n_atoms))
        for block in module.angular:
            parts.append(_angular(block, first, second, r, u, e_centre, e_neighbour, weights))  # type: ignore[arg-type]
    return torch.cat(parts, 2)


def _radial(block: RadialBlock, d: Tensor, r: Tensor, u: Tensor, e_centre: Tensor, e_neighbour: Tensor, weights: Tensor) -> Tensor:
    _, by_r = _forward(block.terms, (d,), (torch.ones_like(d),))
    by_r = torch.cat([by_r, by_r])  # (n_edges, n_grid)
    slot = block.slot.index_select(0, e_centre if block.weighted else e_centre * block.n_elements + e_neighbour)
    if block.weighted:
        by_r = by_r * weights.index_select(0, e_neighbour)[:, None]
    out = by_r.new_zeros(len(r), block.n_slots, 3, by_r.shape[1])
    wanted = torch.nonzero(slot >= 0)[:, 0]
    out[wanted, slot[wanted]] = (u[:, :, None] * by_r[:, None, :])[wanted]
    return out.transpose(1, 2).flatten(2)


def _angular(
    block: AngularBlock, first: Tensor, second: Tensor, r: Tensor, u: Tensor, e_centre: Tensor, e_neighbour: Tensor, weights: Tensor
) -> Tensor:
    n_edges, m = len(r), block.n_elements
    of_first = e_centre.index_select(0, first)
    if not block.weighted:
        of_first = (of_first * m + e_neighbour.index_select(0, first)) * m + e_neighbour.index_select(0, second)
    slot = block.slot.index_select(0, of_first)
    a, b = (r.index_select(0, x) for x in (first, second))
    ua, ub = (u.index_select(0, x) for x in (first, second))
    cos = (ua * ub).sum(1)
    keep = (slot >= 0) & (a < block.fc.cutoff) & (b < block.fc.cutoff)
    if block.narrow:
        keep &= terms.third_side(a, b, cos) < block.fc.cutoff
    chosen = torch.nonzero(keep)[:, 0]
    first, second, slot, a, b, cos, ua, ub = (x.index_select(0, chosen) for x in (first, second, slot, a, b, cos, ua, ub))

    def factors(cos: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return block.factors(cos, a, b, block.fc(a) * block.fc(b))

    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    (left, right), (left_c, right_c) = _forward(factors, (cos, a, b), (one, zero, zero))
    _, (left_a, _) = _forward(factors, (cos, a, b), (zero, one, zero))
    _, (left_b, _) = _forward(factors, (cos, a, b), (zero, zero, one))
    if block.weighted:
        g = weights.index_select(0, e_neighbour.index_select(0, first)) * weights.index_select(0, e_neighbour.index_select(0, second))
        right, right_c = right * g[:, None], right_c * g[:, None]
    by_c = (left_c[:, :, None] * right[:, None, :] + left[:, :, None] * right_c[:, None, :]).flatten(1)  # (n_triples, width)
    out = by_c.new_zeros(3, n_edges * block.n_slots, by_c.shape[1])
    for e, r_e, u_e, u_other, left_r in ((first, a, ua, ub, left_a), (second, b, ub, ua, left_b)):
        rows = e * block.n_slots + slot
        by_r = out.new_zeros(out.shape[1:]).index_add(0, rows, (left_r[:, :, None] * right[:, None, :]).flatten(1))
        turn = (u_other - cos[:, None] * u_e) / r_e[:, None]
        for x in range(3):
            out[x].index_add_(0, rows, turn[:, x, None] * by_c)
            out[x] += by_r * u[:, x].repeat_interleave(block.n_slots)[:, None]
    return out.view(3, n_edges, -1).transpose(0, 1)


def _forward(f: Callable[..., Any], at: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> Any:
    """f, and its derivative along a direction."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, about itself
        return torch.func.jvp(f, at, along)
