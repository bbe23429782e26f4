"""Pairs within a cutoff of a system that moves: searched with a skin, kept while they are complete, picked out at each step.

On the CPU they are picked with numpy: for a small molecule the price is the number of calls, and one of numpy's costs a fifth of one of torch's.
"""
from __future__ import annotations

import numpy as np
import torch

from potentials.graph import AtomicGraph, Edges, pair_vectors
from potentials.neighbours.build import edges_of
from potentials.neighbours.skin import Reference, still_valid


class SkinList:
    """The pairs of one system within one cutoff.

    Parameters
    ----------
    cutoff : Å; infinite for all pairs of an isolated system.
    skin : Å, added to the cutoff when pairs are searched.
    home : where the pairs live.
    whole : hand out all pairs of the list, also those beyond the cutoff, so that their number stays the same between searches.
    """

    def __init__(self, cutoff: float, skin: float, home: torch.device, whole: bool = False):
        self.cutoff, self.skin, self.home, self.whole = cutoff, skin, home, whole
        self.searches = 0  # how often pairs were searched
        self._reference: Reference | None = None
        self._edges: Edges | None = None

    def within(self, frame: AtomicGraph, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> Edges:
        """Pairs within the cutoff; `frame` holds the same positions (Å) and cell as tensors."""
        if self._reference is None or self._edges is None or not still_valid(self._reference, positions, cell, self.cutoff, self.skin):
            self._edges = edges_of(positions, cell, pbc, self.cutoff + self.skin).to(self.home)
            self._reference = Reference(np.array(positions), np.array(cell), np.array(pbc))
            self.searches += 1
        if np.isinf(self.cutoff) or self.whole:
            return self._edges
        if self.home.type == "cpu":
            return _near_on_host(self._edges, np.asarray(positions, dtype=np.float64), frame.cell[0].numpy() if pbc.any() else None, self.cutoff)
        return _near(self._edges, frame, self.cutoff)


def _near(edges: Edges, frame: AtomicGraph, cutoff: float) -> Edges:
    n = edges.n_pairs
    r_ij = pair_vectors(frame, edges)
    near = torch.nonzero((r_ij * r_ij).sum(1) < cutoff**2)[:, 0]
    return Edges.of_pairs(*(x[:n].index_select(0, near) for x in (edges.centres, edges.neighbours, edges.shifts)))


def _near_on_host(edges: Edges, positions: np.ndarray, cell: np.ndarray | None, cutoff: float) -> Edges:
    """The twin of `_near` by numpy; `cell` None where nothing is periodic."""
    n = edges.n_pairs
    i, j, shifts = edges.centres.numpy()[:n], edges.neighbours.numpy()[:n], edges.shifts.numpy()[:n]
    r_ij = positions.take(j, axis=0)
    r_ij -= positions.take(i, axis=0)
    if cell is not None:
        r_ij += shifts @ cell
    near = np.flatnonzero(np.einsum("ea,ea->e", r_ij, r_ij) < cutoff**2)
    m = len(near)
    if m == n:
        return edges
    centres, neighbours, moved = np.empty(2 * m, np.int64), np.empty(2 * m, np.int64), np.zeros((2 * m, 3))
    i.take(near, out=centres[:m])
    j.take(near, out=centres[m:])
    neighbours[:m], neighbours[m:] = centres[m:], centres[:m]
    if cell is not None:
        shifts.take(near, axis=0, out=moved[:m])
        np.negative(moved[:m], out=moved[m:])
    return Edges(torch.from_numpy(centres), torch.from_numpy(neighbours), torch.from_numpy(moved))
