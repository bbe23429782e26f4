"""Labelled structures as flat arrays with their neighbour lists, and batches of them as graphs.

Pairs are found once, when a structure enters, and kept as small integers: 35 000 molecules of 28 atoms take about
0.1 GB. A batch is cut out of the flat arrays, which may lie in memory or in files (`potentials.data.storage`).
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from potentials.data.labelled import DataError, LabelledStructure
from potentials.data.names import Names
from potentials.data.pairlists import Lists, PairCollector, PairLists, ranges, starts
from potentials.graph import AtomicGraph, Edges

__all__ = ["Batch", "Dataset", "PairLists", "batches", "build_dataset", "split"]

_SOME = 1 << 20  # values that are looked at together where all would be too many


@dataclass(frozen=True)
class Batch:
    """Structures as one graph, with their labels."""

    graph: AtomicGraph
    energy: Tensor  # (n_structures,) float64, eV; this and the labels below are NaN where there is none
    forces: Tensor  # (n_atoms, 3) float64, eV/Å
    stress: Tensor  # (n_structures, 3, 3) float64, eV/Å³
    charges: Tensor  # (n_atoms,) float64, e
    dipole: Tensor  # (n_structures, 3) float64, e Å
    atom_counts: Tensor  # (n_structures,) int64
    head_weights: Tensor | None = None  # (n_structures, n_heads) float64, how often each head of a shallow ensemble learns from a frame
    head: Tensor | None = None  # (n_structures,) int64, the head whose forces are learnt from a frame now

    def to(self, device: torch.device | str) -> Batch:
        labels = (self.energy, self.forces, self.stress, self.charges, self.dipole, self.atom_counts)
        return Batch(self.graph.to(device), *(t.to(device) for t in labels), *(None if t is None else t.to(device) for t in (self.head_weights, self.head)))


@dataclass(frozen=True)
class Dataset:
    """Frames with labels and pairs, as flat arrays; the atoms of frame k are ``start[k]:start[k + 1]``."""

    start: np.ndarray  # (n_frames + 1,)
    numbers: np.ndarray  # (n_atoms,) int16
    positions: np.ndarray  # (n_atoms, 3) float64, Å
    energy: np.ndarray  # (n_frames,) float64, eV; this and the labels below are NaN where there is none
    forces: np.ndarray  # (n_atoms, 3) float32, eV/Å
    stress: np.ndarray  # (n_frames, 3, 3), eV/Å³
    charges: np.ndarray  # (n_atoms,) float32, partial charges, e
    dipole: np.ndarray  # (n_frames, 3), e Å
    cell: np.ndarray  # (n_frames, 3, 3), Å; zero along directions that are not periodic
    charge: np.ndarray  # (n_frames,), e
    unpaired: np.ndarray  # (n_frames,), unpaired electrons, multiplicity - 1
    molecules: Names  # (n_frames,)
    pairs: Lists
    long_range: Lists | None

    def __len__(self) -> int:
        return len(self.energy)

    @cached_property
    def atom_counts(self) -> np.ndarray:
        """Atoms of each frame, (n_frames,)."""
        return np.diff(self.start)

    @cached_property
    def edge_counts(self) -> np.ndarray:
        """Directed edges of each frame, (n_frames,)."""
        return 2 * np.diff(self.pairs.start)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        found: set[int] = set()
        for k in range(0, len(self.numbers), _SOME):
            found.update(np.unique(self.numbers[k : k + _SOME]).tolist())
        return tuple(sorted(found))

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The frames of these indices as one graph with labels."""
        indices = np.asarray(indices, dtype=np.int64)
        atoms = ranges(self.start, indices)
        counts = self.atom_counts[indices]
        before = np.cumsum(counts) - counts  # (n_structures,), atoms of the batch before each structure
        tensor = torch.from_numpy
        graph = AtomicGraph(
            positions=tensor(self.positions[atoms]),
            numbers=tensor(self.numbers[atoms].astype(np.int64)),
            structure=tensor(np.repeat(np.arange(len(indices)), counts)),
            cell=tensor(self.cell[indices]),
            edges=_edges(self.pairs, indices, before),
            charge=tensor(self.charge[indices]),
            unpaired=tensor(self.unpaired[indices]),
            long_range=None if self.long_range is None else _edges(self.long_range, indices, before),
            long_range_cutoff=None if self.long_range is None else (self.long_range.cutoff,) * len(indices),
        )
        forces = tensor(self.forces[atoms].astype(np.float64))
        charges = tensor(self.charges[atoms].astype(np.float64))
        return Batch(graph, tensor(self.energy[indices]), forces, tensor(self.stress[indices]), charges, tensor(self.dipole[indices]), tensor(counts))


def build_dataset(structures: Iterable[LabelledStructure], cutoff: float, long_range_cutoff: float | None = None) -> Dataset:
    """Labelled structures with their pairs within `cutoff` (and `long_range_cutoff`), Å.

    Raises
    ------
    DataError : no structures at all.
    """
    names = ("numbers", "positions", "energy", "forces", "stress", "charges", "dipole", "cell", "charge", "unpaired", "molecules")
    columns: dict[str, list] = {name: [] for name in names}
    near, far = PairCollector(cutoff), None if long_range_cutoff is None else PairCollector(long_range_cutoff)
    for s in structures:
        columns["numbers"].append(s.numbers.astype(np.int16))
        columns["positions"].append(s.positions)
        columns["energy"].append(np.nan if s.energy is None else s.energy)
        columns["forces"].append(np.full(s.positions.shape, np.nan, np.float32) if s.forces is None else s.forces.astype(np.float32))
        columns["stress"].append(np.full((3, 3), np.nan) if s.stress is None else s.stress)
        columns["charges"].append(np.full(len(s.numbers), np.nan, np.float32) if s.charges is None else s.charges.astype(np.float32))
        columns["dipole"].append(np.full(3, np.nan) if s.dipole is None else s.dipole)
        columns["cell"].append(np.where(s.pbc[:, None], s.cell, 0.0))
        columns["charge"].append(s.charge)
        columns["unpaired"].append(s.multiplicity - 1)
        columns["molecules"].append(s.molecule)
        near.add(s.positions, s.cell, s.pbc)
        if far is not None:
            far.add(s.positions, s.cell, s.pbc)
    if not columns["energy"]:
        raise DataError("No labelled structures: nothing to train on or to evaluate.")
    return Dataset(
        start=starts([len(numbers) for numbers in columns["numbers"]]),
        numbers=np.concatenate(columns["numbers"]),
        positions=np.concatenate(columns["positions"]),
        energy=np.array(columns["energy"], dtype=np.float64),
        forces=np.concatenate(columns["forces"]),
        stress=np.stack(columns["stress"]),
        charges=np.concatenate(columns["charges"]),
        dipole=np.stack(columns["dipole"]),
        cell=np.stack(columns["cell"]),
        charge=np.array(columns["charge"], dtype=np.float64),
        unpaired=np.array(columns["unpaired"], dtype=np.float64),
        molecules=Names.of(columns["molecules"]),
        pairs=near.finished(),
        long_range=None if far is None else far.finished(),
    )


def batches(
    dataset: Dataset,
    indices: np.ndarray,
    batch_size: int | None,
    batch_edges: int | None = None,
    rng: np.random.Generator | None = None,
    batch_atoms: int | None = None,
) -> Iterator[np.ndarray]:
    """Indices of one batch after another; nothing of the frames is read but their numbers of atoms and edges.

    Parameters
    ----------
    indices : (n,) frames to draw from, each once.
    batch_size : largest number of structures of a batch; None for no such limit.
    batch_edges : largest number of directed edges of a batch; a single frame with more is a batch of its own.
    rng : shuffles; in the given order when None.
    batch_atoms : largest number of atoms of a batch; a single frame with more is a batch of its own.
    """
    if batch_size is None and batch_edges is None and batch_atoms is None:
        raise ValueError("Give batch_size (structures), batch_atoms (atoms) or batch_edges (edges), or several of them.")
    order = np.asarray(indices if rng is None else rng.permutation(indices), dtype=np.int64)
    most = len(order) if batch_size is None else batch_size
    limits = [(dataset.edge_counts, batch_edges), (dataset.atom_counts, batch_atoms)]
    sums = [(starts(counts[order]), limit) for counts, limit in limits if limit is not None]  # what lies before each frame
    begin = 0
    while begin < len(order):
        end = min([begin + most, len(order)] + [int(np.searchsorted(before, before[begin] + limit, "right")) - 1 for before, limit in sums])
        end = max(end, begin + 1)
        yield order[begin:end]
        begin = end


def split(dataset: Dataset, fraction: float, seed: int, by: str = "frame") -> tuple[np.ndarray, np.ndarray]:
    """Indices (training, validation), ascending, drawn with `seed`.

    Parameters
    ----------
    fraction : part of the frames that go to validation.
    by : "frame"; "molecule": whole molecules go over until the fraction is reached, so that none is on both sides; or "block": of each molecule
        the last frames in their order, so that a trajectory is cut once and no frame is validated on the neighbour of a training frame.

    Raises
    ------
    DataError : one of the two sides would be empty.
    """
    rng = np.random.default_rng(seed)
    n_frames, n_validation = len(dataset), round(fraction * len(dataset))
    if by == "frame":
        validation = np.sort(rng.permutation(n_frames)[:n_validation])
    elif by == "block":
        of_molecule = dataset.molecules.unique()[1]
        blocks = [np.flatnonzero(of_molecule == k) for k in range(of_molecule.max() + 1)]
        validation = np.sort(np.concatenate([block[len(block) - round(fraction * len(block)) :] for block in blocks]))
    else:
        names, molecule = dataset.molecules.unique()
        chosen, taken = np.zeros(len(names), dtype=bool), 0
        frames_of = np.bincount(molecule)
        for k in rng.permutation(len(names)):
            if taken >= n_validation:
                break
            chosen[k], taken = True, taken + frames_of[k]
        validation = np.flatnonzero(chosen[molecule])
    training = np.setdiff1d(np.arange(n_frames), validation)
    if not len(validation) or not len(training):
        raise DataError(
            f"A validation fraction of {fraction} of {n_frames} frames of {len(dataset.molecules.unique()[0])} molecules, split by {by}, leaves "
            f"{len(training)} for training and {len(validation)} for validation. Give more data, another fraction, or a validation file."
        )
    return training, validation


def _edges(lists: Lists, indices: np.ndarray, atoms_before: np.ndarray) -> Edges:
    i, j, shifts = lists.of(indices)
    offset = np.repeat(atoms_before, lists.start[indices + 1] - lists.start[indices])
    shifts = np.zeros((len(i), 3)) if shifts is None else shifts.astype(np.float64)
    return Edges.of_pairs(*(torch.from_numpy(x) for x in (i + offset, j + offset, shifts)))
