"""One pass over labelled frames: a row of numbers for each, so that checks need the files no more.

A row takes about 0.3 kB, whatever the size of the structure. A few whole frames of each composition are kept aside, drawn
by a seed, for what needs positions: whether forces explain energies.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from potentials.data.cleaning.geometry import N_DISTANCES, N_SUMS, Geometry, measure, nearest_image
from potentials.data.labelled import LabelledStructure, not_finite

FORCE_EDGES = np.logspace(-6, 6, 241)  # eV/Å, bins of the histogram of |F|
SAMPLE = 600  # frames kept of each composition of a file, and fewer where they are large:
SAMPLE_ATOMS = 12_000  # of one composition
SAMPLED_COMPOSITIONS = 40  # of a file
STIFF = 0.1  # eV/Å³ (16 GPa), a soft elastic modulus
STEP = 0.3  # Å; consecutive frames nearer than this (root mean square) are a step of a trajectory
_COLUMNS = ("file", "index", "molecule", "composition", "n_atoms", "energy", "largest_force", "rms_force", "net_force", "charge", "periodic", "level",
            "held_out", "finite", "shortest", "shortest_A", "nearest", "bonds", "strain", "volume", "step_energy", "step_work")  # fmt: skip


@dataclass(frozen=True)
class FrameTable:
    """Columns over all frames, in the order they came in. Labels that a frame has not are NaN."""

    files: tuple[str, ...]
    molecules: tuple[str, ...]
    levels: tuple[str, ...]  # of theory, as they were named; one without a name where they were not
    elements: np.ndarray  # (n_elements,) atomic numbers, ascending
    compositions: np.ndarray  # (n_compositions, n_elements) atoms of each element
    file: np.ndarray  # (n_frames,) which of `files`
    index: np.ndarray  # (n_frames,) number of the frame in its file, from 0
    molecule: np.ndarray  # (n_frames,) which of `molecules`
    composition: np.ndarray  # (n_frames,) which of `compositions`
    n_atoms: np.ndarray  # (n_frames,)
    energy: np.ndarray  # (n_frames,) eV
    largest_force: np.ndarray  # (n_frames,) eV/Å, of an atom
    rms_force: np.ndarray  # (n_frames,) eV/Å, by component
    net_force: np.ndarray  # (n_frames,) eV/Å, |sum over atoms|
    charge: np.ndarray  # (n_frames,) e
    periodic: np.ndarray  # (n_frames,) bool
    level: np.ndarray  # (n_frames,) which of `levels`
    held_out: np.ndarray  # (n_frames,) bool, of a validation file
    finite: np.ndarray  # (n_frames,) bool, positions and labels are numbers
    shortest: np.ndarray  # (n_frames,), see `geometry.Geometry`; so the next three and the fingerprints
    shortest_A: np.ndarray
    nearest: np.ndarray
    bonds: np.ndarray
    strain: np.ndarray  # (n_frames,) eV/atom, V |stress|² / (2 n STIFF): what a strained cell stores at most; NaN without stress
    volume: np.ndarray  # (n_frames,) Å³; NaN where not all three directions are periodic
    step_energy: np.ndarray  # (n_frames,) eV, energy minus that of the frame before, where that is a small step away
    step_work: np.ndarray  # (n_frames,) eV, minus the work of the forces on that step, by the trapezium rule
    distances: np.ndarray  # (n_frames, N_DISTANCES + 6) float32, Å
    sums: np.ndarray  # (n_frames, N_SUMS)
    force_counts: np.ndarray  # (n_bins,) atoms by |F|, bins FORCE_EDGES
    samples: dict[tuple[int, int], list[LabelledStructure]] = field(default_factory=dict)  # by file and composition

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def labelled(self) -> np.ndarray:
        """(n_frames,) bool, frames with an energy."""
        return np.isfinite(self.energy)

    def place(self, k: int) -> str:
        """'frame 17 of train.xyz'."""
        return f"frame {self.index[k]} of {self.files[self.file[k]]}"


class Collector:
    """Takes frames one at a time and makes the table of them."""

    def __init__(self, seed: int = 0):
        self._columns: dict[str, list] = {name: [] for name in _COLUMNS}
        self._distances: list[np.ndarray] = []
        self._sums: list[np.ndarray] = []
        self._files: dict[str, int] = {}
        self._molecules: dict[str, int] = {}
        self._compositions: dict[bytes, int] = {}
        self._counts = np.zeros(len(FORCE_EDGES) - 1, dtype=np.int64)
        self._samples: dict[tuple[int, int], list[LabelledStructure]] = {}
        self._seen: dict[tuple[int, int], int] = {}
        self._rng = np.random.default_rng(seed)
        self._before: LabelledStructure | None = None
        self._levels: dict[str, int] = {}
        self._at = (0, -1, 0, False)  # file, index in it, level of theory, held out
        self._before_file = -1

    def reading(self, path: Any, frames: Iterable[LabelledStructure], *, level: str = "", held_out: bool = False) -> Iterator[LabelledStructure]:
        """The frames of a file, counted as they pass; those that come back to `add` are rows of this file."""
        file = self._files.setdefault(str(path), len(self._files))
        theory = self._levels.setdefault(level, len(self._levels))
        for index, s in enumerate(frames):
            self._at = (file, index, theory, held_out)
            yield s

    def watching(self, frames: Iterable[LabelledStructure]) -> Iterator[LabelledStructure]:
        """The same frames, each entered in the table as it passes."""
        for s in frames:
            self.add(s)
            yield s

    def add(self, s: LabelledStructure) -> None:
        """Enter one frame."""
        file, index, level, held_out = self._at
        n = len(s.numbers)
        finite = not not_finite(s)
        forces = s.forces if s.forces is not None and finite else None
        norms = np.zeros(0) if forces is None else np.sqrt(np.einsum("ij,ij->i", forces, forces))
        energy = np.nan if s.energy is None or not finite else float(s.energy)
        g = measure(s) if finite else _NOTHING
        counts = np.bincount(s.numbers, minlength=120).astype(np.int32)
        composition = self._compositions.setdefault(counts.tobytes(), len(self._compositions))
        step_energy, step_work = self._step(s, file) if finite else (np.nan, np.nan)
        volume = abs(float(np.linalg.det(s.cell))) if s.pbc.all() else np.nan
        strain = np.nan if s.stress is None or not finite else volume * float((s.stress**2).sum()) / (2 * n * STIFF)
        row = (file, index, self._molecules.setdefault(s.molecule, len(self._molecules)), composition, n, energy,
               norms.max() if len(norms) else np.nan, np.sqrt((norms**2).mean() / 3) if len(norms) else np.nan,
               np.nan if forces is None else float(np.linalg.norm(forces.sum(axis=0))), s.charge, bool(s.pbc.any()), level, held_out, finite,
               g.shortest, g.shortest_A, g.nearest, g.bonds, strain, volume, step_energy, step_work)  # fmt: skip
        for name, value in zip(_COLUMNS, row):
            self._columns[name].append(value)
        self._distances.append(g.distances)
        self._sums.append(g.sums)
        if len(norms):
            bins = np.searchsorted(FORCE_EDGES, norms, side="right") - 1
            self._counts += np.bincount(np.clip(bins, 0, len(self._counts) - 1), minlength=len(self._counts))
        if finite and forces is not None and np.isfinite(energy) and n > 1:
            self._keep(s, (file, composition))
        self._before = s if finite else None
        self._before_file = file

    def table(self) -> FrameTable:
        """The table of what came in."""
        compositions = np.array([np.frombuffer(key, dtype=np.int32) for key in self._compositions]).reshape(-1, 120)
        elements = np.flatnonzero(compositions.any(axis=0))
        kinds = {"bonds": np.int64, "periodic": bool, "held_out": bool, "finite": bool, "file": np.int32, "level": np.int32, "index": np.int64, "molecule": np.int32,
                 "composition": np.int32, "n_atoms": np.int32}  # fmt: skip
        columns = {name: np.array(values, dtype=kinds.get(name, np.float64)) for name, values in self._columns.items()}
        width, n_sums = len(_NOTHING.distances), len(_NOTHING.sums)
        return FrameTable(
            tuple(self._files), tuple(self._molecules), tuple(self._levels) or ("",), elements, compositions[:, elements], **columns,
            distances=np.array(self._distances, dtype=np.float32).reshape(-1, width), sums=np.array(self._sums).reshape(-1, n_sums),
            force_counts=self._counts.copy(), samples=dict(self._samples),
        )  # fmt: skip

    def _keep(self, s: LabelledStructure, key: tuple[int, int]) -> None:
        """A sample of each composition in which every frame has the same chance (reservoir sampling)."""
        kept = self._samples.get(key)
        if kept is None:
            if sum(file == key[0] for file, _ in self._samples) >= SAMPLED_COMPOSITIONS:
                return
            kept = self._samples[key] = []
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        size = max(8, min(SAMPLE, SAMPLE_ATOMS // len(s.numbers)))
        if len(kept) < size:
            kept.append(s)
        elif (place := int(self._rng.integers(seen))) < size:
            kept[place] = s

    def _step(self, s: LabelledStructure, file: int) -> tuple[float, float]:
        """Energy and minus the work of the forces from the frame before to this one; NaN where that is not a small step."""
        b = self._before
        if b is None or self._before_file != file or len(b.numbers) != len(s.numbers) or b.forces is None or s.forces is None:
            return np.nan, np.nan
        if b.energy is None or s.energy is None or len(s.numbers) == 1:
            return np.nan, np.nan
        dx = s.positions - b.positions
        if s.pbc.any():
            if np.abs(s.cell - b.cell).max() > 1e-6:  # a strain does work too
                return np.nan, np.nan
            dx = nearest_image(dx, s.cell, s.pbc)
        if not 1e-4 < np.sqrt((dx**2).sum(axis=1).mean()) < STEP or not np.array_equal(b.numbers, s.numbers):
            return np.nan, np.nan
        return float(s.energy - b.energy), float(-0.5 * ((s.forces + b.forces) * dx).sum())


def collect(paths_and_frames: Iterable[tuple[Any, Iterable[LabelledStructure]]], seed: int = 0) -> FrameTable:
    """The table of several files' frames, read one at a time."""
    collector = Collector(seed)
    for path, frames in paths_and_frames:
        for s in collector.reading(path, frames):
            collector.add(s)
    return collector.table()


_NOTHING = Geometry(np.nan, np.nan, np.nan, 0, np.full(N_DISTANCES + 6, np.nan, dtype=np.float32), np.full(N_SUMS, np.nan))
