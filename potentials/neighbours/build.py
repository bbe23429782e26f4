"""From ASE atoms to a graph."""
from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

from potentials.graph import AtomicGraph, Edges
from potentials.neighbours.search import all_pairs, pairs
from potentials.potential import Potential


def edges_of(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Edges:
    """Pairs within `cutoff` (Å) as tensors; all pairs where it is infinite (not in a cell)."""
    i, j, shifts = all_pairs(len(positions)) if np.isinf(cutoff) else pairs(positions, cell, pbc, cutoff)
    return Edges.of_pairs(torch.from_numpy(i), torch.from_numpy(j), torch.from_numpy(shifts.astype(np.float64)))


def graph_of(atoms: Atoms, cutoff: float, long_range_cutoff: float | None = None) -> AtomicGraph:
    """The graph of one structure; total charge and multiplicity from ``atoms.info`` (0 and 1 when not given)."""
    positions, cell, pbc = atoms.get_positions(), np.asarray(atoms.cell), atoms.pbc
    periodic_cell = np.where(pbc[:, None], cell, 0.0) if pbc.any() else np.zeros((3, 3))
    return AtomicGraph(
        positions=torch.from_numpy(positions.astype(np.float64)),
        numbers=torch.from_numpy(atoms.numbers.astype(np.int64)),
        structure=torch.zeros(len(atoms), dtype=torch.int64),
        cell=torch.from_numpy(np.array(cell if pbc.all() else periodic_cell, dtype=np.float64))[None],
        edges=edges_of(positions, cell, pbc, cutoff),
        charge=torch.tensor([float(atoms.info.get("charge", 0.0))], dtype=torch.float64),
        unpaired=torch.tensor([float(atoms.info.get("multiplicity", 1)) - 1.0], dtype=torch.float64),
        long_range=None if long_range_cutoff is None else edges_of(positions, cell, pbc, long_range_cutoff),
        long_range_cutoff=None if long_range_cutoff is None else (float(long_range_cutoff),),
    )


def graph_for(atoms: Atoms, potential: Potential) -> AtomicGraph:
    """The graph that a potential wants to see of one structure."""
    return graph_of(atoms, potential.cutoff, potential.far_cutoff(bool(atoms.pbc.any())))
