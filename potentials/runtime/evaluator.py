"""One call from positions to energy, forces and stress, for a system that moves: the neighbour list is kept between calls.

Pairs are found with a skin and kept while they are complete; at each call those within the cutoff are picked out, so that
the potential computes nothing on pairs that do not count. A twin that wants arrays of the same size at every step gets all of them.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from potentials.derivatives import Results, energy_forces_stress
from potentials.graph import AtomicGraph, Edges
from potentials.neighbours.skin_list import SkinList
from potentials.potential import Potential

Derive = Callable[..., Results]


@dataclass(frozen=True)
class System:
    """What does not move."""

    numbers: np.ndarray  # (n_atoms,)
    pbc: np.ndarray  # (3,) bool
    charge: float = 0.0
    unpaired: float = 0.0

    def same(self, other: System | None) -> bool:
        return (
            other is not None
            and np.array_equal(self.numbers, other.numbers)
            and np.array_equal(self.pbc, other.pbc)
            and (self.charge, self.unpaired) == (other.charge, other.unpaired)
        )


class Evaluator:
    """Evaluates one potential, call after call.

    Parameters
    ----------
    potential : already on `device` and in its precision; its parameters are frozen here.
    skin : Å, added to the cutoff when pairs are searched.
    derive : energy, forces and stress of a graph; the plain one of `potentials.derivatives`, or a faster twin.
    """

    def __init__(self, potential: Potential, device: torch.device | str = "cpu", skin: float = 0.5, derive: Derive = energy_forces_stress):
        self.potential = potential.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.skin = skin
        self.derive = derive
        self.by_host = getattr(derive, "takes_host_graphs", False)  # graphs stay on the CPU, with all pairs of the list
        self.home = torch.device("cpu") if self.by_host else self.device
        self.calls = 0
        self._system: System | None = None
        self._lists: list[SkinList] = []
        self._searches_before = 0  # of systems before this one

    @property
    def searches(self) -> int:
        """How often pairs were searched."""
        return self._searches_before + sum(pairs.searches for pairs in self._lists)

    def __call__(self, system: System, positions: np.ndarray, cell: np.ndarray, *, stress: bool = False) -> Results:
        """Energy, forces and (on request) stress of one structure; see `potentials.derivatives.Results`."""
        graph = self.graph(system, positions, cell)
        return self.derive(self.potential, graph, stress=stress)

    def graph(self, system: System, positions: np.ndarray, cell: np.ndarray) -> AtomicGraph:
        """The graph of one structure, with pairs from the kept lists."""
        self.calls += 1
        if not system.same(self._system):
            self._start(system)
        r = torch.from_numpy(np.array(positions, dtype=np.float64)).to(self.home)
        h = np.where(system.pbc[:, None], cell, 0.0) if not system.pbc.all() else np.array(cell, dtype=np.float64)
        frame = AtomicGraph(r, self._numbers, self._structure, torch.from_numpy(h)[None].to(self.home), _NO_EDGES, self._charge, self._unpaired)
        found = [pairs.within(frame, positions, cell, system.pbc) for pairs in self._lists]
        return replace(frame, edges=found[0], long_range=found[1] if len(found) > 1 else None, long_range_cutoff=self._far)

    def _start(self, system: System) -> None:
        def constant(values: object, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(values, dtype=dtype, device=self.home)

        self._system = system
        self._numbers = constant(np.asarray(system.numbers, dtype=np.int64), torch.int64)
        self._structure = torch.zeros(len(system.numbers), dtype=torch.int64, device=self.home)
        self._charge, self._unpaired = constant([system.charge], torch.float64), constant([system.unpaired], torch.float64)
        far = self.potential.far_cutoff(bool(system.pbc.any()))
        self._searches_before = self.searches
        cutoffs = [self.potential.cutoff] + ([far] if far is not None else [])
        self._lists = [SkinList(cutoff, self.skin, self.home, whole=self.by_host) for cutoff in cutoffs]
        self._far = None if far is None else (far,)


_NO_EDGES = Edges(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.float64))
