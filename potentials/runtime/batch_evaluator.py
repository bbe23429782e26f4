"""Many structures at once, each of which moves by itself: relaxations, walkers, replicas.

Every structure keeps a neighbour list with a skin of its own under the name that it comes with, so structures may come and go
between calls. A call joins them to batches of about the same number of pairs: as many as stay in the caches of a CPU, all of
them on a GPU. The plain twin is `Evaluator`, structure after structure.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from potentials.derivatives import energy_forces_stress
from potentials.graph import AtomicGraph, Edges
from potentials.neighbours import all_pairs, pairs
from potentials.neighbours.skin import Reference, still_valid
from potentials.potential import Potential
from potentials.runtime.compiled_batches import CompiledBatches
from potentials.runtime.evaluator import System

EnergyForces = Callable[[AtomicGraph], tuple[Tensor, Tensor]]

CPU_PAIRS = 4000  # of a batch: 16 alanine dipeptides; more no longer fit the caches of a core
GPU_PAIRS = 400_000


@dataclass(frozen=True)
class Item:
    """A structure of a batch."""

    key: Hashable  # its name from call to call; the neighbour list is kept under it
    system: System
    positions: np.ndarray  # (n_atoms, 3), Å
    cell: np.ndarray | None = None  # (3, 3), Å; None without one


class BatchEvaluator:
    """Energies and forces of many structures with one potential.

    Parameters
    ----------
    potential : its parameters are frozen here.
    skin : Å, added to the cutoff when pairs are searched.
    compiled : evaluate by compiled code (CPU, no long-range terms): a minute at the first call.
    batch_pairs : pairs evaluated together; chosen for the device when not given.
    """

    def __init__(
        self, potential: Potential, device: torch.device | str = "cpu", skin: float = 0.5, compiled: bool = False, batch_pairs: int | None = None
    ):
        self.device = torch.device(device)
        self.potential = potential.to(self.device).eval().requires_grad_(False)
        self.skin = skin
        self.batch_pairs = batch_pairs or (CPU_PAIRS if self.device.type == "cpu" else GPU_PAIRS)
        self.evaluations = 0  # structures evaluated so far
        self._evaluate: EnergyForces = CompiledBatches(potential) if compiled else self._plain
        self._lists: dict[Hashable, tuple[System, list[_List]]] = {}

    def __call__(self, items: Sequence[Item]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Energies (n_items,), eV, and forces, one (n_atoms, 3) array an item, eV/Å, in the order of `items`."""
        lists = [self._list(item) for item in items]
        energies = np.empty(len(items))
        forces: list[np.ndarray] = [np.empty(0)] * len(items)
        for chosen in self._batches([found[0].n_pairs for found in lists]):
            energy, f = self._evaluate(self._joined([items[k] for k in chosen], [lists[k] for k in chosen]).to(self.device))
            energies[chosen] = energy.detach().cpu().numpy()
            ends = np.cumsum([len(items[k].positions) for k in chosen])
            for k, part in zip(chosen, np.split(f.detach().double().cpu().numpy(), ends[:-1])):
                forces[k] = part
        self.evaluations += len(items)
        return energies, forces

    def forget(self, key: Hashable) -> None:
        """Drop the list of a structure that will not come again."""
        self._lists.pop(key, None)

    def _plain(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        r = energy_forces_stress(self.potential, graph)
        assert r.forces is not None
        return r.energy, r.forces

    def _list(self, item: Item) -> list[_List]:
        kept = self._lists.get(item.key)
        if kept is None or not kept[0].same(item.system):
            far = self.potential.far_cutoff(bool(item.system.pbc.any()))
            kept = item.system, [_List(self.potential.cutoff)] + ([_List(far)] if far is not None else [])
            self._lists[item.key] = kept
        for one in kept[1]:
            one.update(item, self.skin)
        return kept[1]

    def _batches(self, n_pairs: Sequence[int]) -> Iterator[list[int]]:
        """Numbers of items, in order, in batches that do not exceed the number of pairs (a single item may)."""
        current: list[int] = []
        total = 0
        for k, n in enumerate(n_pairs):
            if current and total + n > self.batch_pairs:
                yield current
                current, total = [], 0
            current.append(k)
            total += n
        if current:
            yield current

    def _joined(self, items: Sequence[Item], lists: Sequence[list[_List]]) -> AtomicGraph:
        counts = [len(item.positions) for item in items]
        before = np.cumsum([0, *counts[:-1]])
        positions = np.concatenate([item.positions for item in items]).astype(np.float64, copy=False)
        cells = np.stack([_cell_of(item) for item in items])
        tensor = torch.from_numpy
        near, far = [found[0] for found in lists], [found[1] for found in lists if len(found) > 1]
        return AtomicGraph(
            positions=tensor(positions),
            numbers=tensor(np.concatenate([item.system.numbers for item in items]).astype(np.int64)),
            structure=tensor(np.repeat(np.arange(len(items)), counts)),
            cell=tensor(cells),
            edges=_edges(near, before, positions, cells),
            charge=torch.tensor([item.system.charge for item in items], dtype=torch.float64),
            unpaired=torch.tensor([item.system.unpaired for item in items], dtype=torch.float64),
            long_range=_edges(far, before, positions, cells) if far else None,
            long_range_cutoff=tuple(one.cutoff for one in far) if far else None,
        )


class _List:
    """Pairs of one structure within one cutoff, searched with a skin when they may have become incomplete."""

    def __init__(self, cutoff: float):
        self.cutoff = cutoff
        self.reference: Reference | None = None
        self.i = self.j = np.zeros(0, dtype=np.int64)
        self.shifts = np.zeros((0, 3))

    @property
    def n_pairs(self) -> int:
        return len(self.i)

    def update(self, item: Item, skin: float) -> None:
        cell = _cell_of(item)
        if self.reference is not None and still_valid(self.reference, item.positions, cell, self.cutoff, skin):
            return
        if np.isinf(self.cutoff):
            self.i, self.j, shifts = all_pairs(len(item.positions))
        else:
            self.i, self.j, shifts = pairs(item.positions, cell, item.system.pbc, self.cutoff + skin)
        self.shifts = np.asarray(shifts, dtype=np.float64)
        self.reference = Reference(np.array(item.positions), cell, np.array(item.system.pbc))


def _cell_of(item: Item) -> np.ndarray:
    if item.cell is None or not item.system.pbc.any():
        return np.zeros((3, 3))
    return np.array(item.cell, dtype=np.float64) if item.system.pbc.all() else np.where(item.system.pbc[:, None], item.cell, 0.0)


def _edges(lists: Sequence[_List], before: np.ndarray, positions: np.ndarray, cells: np.ndarray) -> Edges:
    """The pairs of all structures that are within the cutoff now, as edges of the joined graph."""
    counts = [one.n_pairs for one in lists]
    offset = np.repeat(before, counts)
    i, j = np.concatenate([one.i for one in lists]) + offset, np.concatenate([one.j for one in lists]) + offset
    shifts = np.concatenate([one.shifts for one in lists])
    cutoff = np.repeat([one.cutoff for one in lists], counts)
    r = positions[j] - positions[i]
    if cells.any():
        r = r + np.einsum("ea,eab->eb", shifts, np.repeat(cells, counts, axis=0))
    near = np.flatnonzero(np.einsum("ea,ea->e", r, r) < cutoff**2)
    return Edges.of_pairs(torch.from_numpy(i[near]), torch.from_numpy(j[near]), torch.from_numpy(shifts[near]))
