"""What the layers of a network need to know of its pairs, made once for all of them."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, pair_vectors
from potentials.layers.cutoffs import Cutoff


@dataclass(frozen=True)
class Geometry:
    """Of each pair once; the reversed pair has the same, with harmonics of odd degree turned round."""

    d: Tensor  # (n_pairs,) distances, Å
    phi: Tensor  # (n_pairs,) cutoff function
    rbf: Tensor  # (n_pairs, K) radial basis
    Y: Tensor  # (n_pairs, M) spherical harmonics, from the pair's centre to its neighbour


def geometry_of(
    graph: AtomicGraph, cutoff_fn: Cutoff, cutoff: float, radial_basis: Callable[[Tensor], Tensor], harmonics: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> Geometry:
    """Geometry of the pairs within `cutoff` (Å); vectors are formed in float64 and rounded to `dtype` after."""
    r_ij = pair_vectors(graph)  # (n_pairs, 3) float64
    d = r_ij.norm(dim=1)
    u, d = (r_ij / d[:, None]).to(dtype), d.to(dtype)
    return Geometry(d=d, phi=cutoff_fn(d, cutoff), rbf=radial_basis(d), Y=harmonics(u))
