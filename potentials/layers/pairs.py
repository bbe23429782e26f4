"""Distances of the long-range pairs, each pair once, with the cutoff that each of them lives under."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, pair_vectors


@dataclass(frozen=True)
class FarPairs:
    """Long-range pairs of a graph. A structure without a cutoff has all its pairs here."""

    i: Tensor  # (n_pairs,)
    j: Tensor  # (n_pairs,)
    d: Tensor  # (n_pairs,), Å
    cutoff: Tensor  # (n_pairs,), Å; 1 where there is none
    has_cutoff: Tensor  # (n_pairs,) bool
    all_pairs: bool  # no pair of the batch has a cutoff


def far_pairs(graph: AtomicGraph, dtype: torch.dtype) -> FarPairs:
    """The long-range pairs of a graph in the precision of a network.

    Raises
    ------
    ValueError : the graph was built without long-range pairs.
    """
    if graph.long_range is None or graph.long_range_cutoff is None:
        raise ValueError("This potential has long-range terms, but the graph has no long-range pairs; build it with graph_for(atoms, potential).")
    n = graph.long_range.n_pairs
    i, j = graph.long_range.centres[:n], graph.long_range.neighbours[:n]
    d = pair_vectors(graph, graph.long_range).norm(dim=1).to(dtype)
    cutoffs = graph.long_range_cutoff
    if all(math.isinf(R) for R in cutoffs):
        return FarPairs(i, j, d, torch.ones_like(d), torch.zeros_like(d, dtype=torch.bool), True)
    if len(set(cutoffs)) == 1:
        return FarPairs(i, j, d, torch.full_like(d, cutoffs[0]), torch.ones_like(d, dtype=torch.bool), False)
    R = d.new_tensor([1.0 if math.isinf(R) else R for R in cutoffs])
    finite = torch.tensor([not math.isinf(R) for R in cutoffs], device=d.device)
    structure = graph.structure.index_select(0, i)
    return FarPairs(i, j, d, R.index_select(0, structure), finite.index_select(0, structure), False)
