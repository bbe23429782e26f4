"""Trajectories in chunks: one door for all observables, whatever the frames come from.

An observable is a tally: it is shown one chunk of frames after another and gives its result at the end, so that a trajectory larger than
memory is read once, and several observables share one reading (`tally_all`). A trajectory is anything that holds frames: an
`mdtraj.Trajectory`, an iterator of those (`mdtraj.iterload`), or an iterable of our `Frame`s (`mdapp.trajectory.read_frames`).
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union

import numpy as np
from ase import units

from mdapp.analysis.whole import make_whole, spanning_tree
from mdapp.frame import Frame

if TYPE_CHECKING:
    import mdtraj

    Trajectory = Union[Iterable[Frame], mdtraj.Trajectory, Iterable[mdtraj.Trajectory], Iterable["Chunk"]]
else:
    Trajectory = Iterable  # mdtraj is not imported for a word

FRAMES = 256  # in a chunk, and
CHUNK_BYTES = 64 << 20  # of positions at most
Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True)
class System:
    """What stays the same along a trajectory, and the first moment of it."""

    numbers: np.ndarray  # (n_atoms,) atomic numbers
    masses: np.ndarray  # (n_atoms,) amu
    positions: np.ndarray  # (n_atoms, 3) Å, of the first frame
    cell: np.ndarray  # (3, 3) rows, Å, of the first frame
    pbc: np.ndarray  # (3,) bool
    given: mdtraj.Topology | None = None  # of the trajectory, with names and bonds

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def bonds(self) -> np.ndarray:
        """(n_bonds, 2), i < j: of the topology where it has any, else of the first frame by distance and valence."""
        if self.given is not None and self.given.n_bonds:
            pairs = np.array([(a.index, b.index) for a, b in self.given.bonds], dtype=np.int64)
            return np.unique(np.sort(pairs, axis=1), axis=0)
        from mdapp.topology import find_bonds

        return find_bonds(self.numbers, self.positions, self.cell, self.pbc)

    @cached_property
    def tree(self) -> np.ndarray:
        return spanning_tree(len(self), self.bonds)

    @cached_property
    def molecules(self) -> np.ndarray:
        """(n_atoms,) label of each atom's molecule."""
        from mdapp.topology import molecules

        return molecules(len(self), self.bonds)

    @cached_property
    def formulas(self) -> tuple[str, ...]:
        """(n_molecules,) Hill formula of each molecule, such as H2O; of a single atom its symbol."""
        from mdapp.analysis.errors import formula

        order = np.argsort(self.molecules, kind="stable")
        members = np.split(self.numbers[order], np.flatnonzero(np.diff(self.molecules[order])) + 1)
        return tuple(formula(numbers) for numbers in members)

    @cached_property
    def topology(self) -> mdtraj.Topology:
        """With residues and names in the atoms' order; found from the bonds where none was given."""
        if self.given is not None:
            return self.given
        from ase import Atoms

        from mdapp.topology import topology_of

        return topology_of(Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc), self.bonds)

    @cached_property
    def ordered(self) -> tuple[mdtraj.Topology, np.ndarray]:
        """The topology residue by residue, as mdtraj's functions want it, and the order (n_atoms,) that leads there."""
        from mdapp.topology import in_residue_order

        return in_residue_order(self.topology)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[z] for z in self.numbers)


@dataclass(frozen=True)
class Chunk:
    """Some successive frames. What a trajectory does not hold is None."""

    system: System
    time_ps: np.ndarray  # (n_frames,)
    positions: np.ndarray  # (n_frames, n_atoms, 3) Å, as they came
    cells: np.ndarray  # (n_frames, 3, 3) rows, Å; zero without a cell
    velocities: np.ndarray | None = None  # (n_frames, n_atoms, 3) Å/fs
    charges: np.ndarray | None = None  # (n_frames, n_atoms) e
    dipole: np.ndarray | None = None  # (n_frames, 3) e Å
    pressure: np.ndarray | None = None  # (n_frames,) eV/Å³, positive under compression

    def __len__(self) -> int:
        return len(self.time_ps)

    @cached_property
    def whole(self) -> np.ndarray:
        """(n_frames, n_atoms, 3) Å, molecules in one piece."""
        if not self.system.pbc.any():
            return self.positions
        return make_whole(self.positions, self.system.tree, self.cells, self.system.pbc)

    @cached_property
    def volume_A3(self) -> np.ndarray:
        """(n_frames,)

        Raises
        ------
        ValueError : not periodic in all three directions.
        """
        if not self.system.pbc.all():
            raise ValueError("The trajectory has no cell that is periodic in all three directions, and one is needed here.")
        return np.abs(np.linalg.det(self.cells))

    @cached_property
    def mdtraj(self) -> mdtraj.Trajectory:
        """Whole molecules as mdtraj has them, in residue order: atom k here is atom `system.ordered[1][k]` of the chunk."""
        import mdtraj

        topology, order = self.system.ordered
        made = mdtraj.Trajectory(0.1 * self.whole[:, order], topology, time=self.time_ps)
        if self.system.pbc.all():
            made.unitcell_vectors = 0.1 * self.cells
        return made


class Tally(Protocol[Result]):
    """What collects an observable."""

    def add(self, chunk: Chunk) -> None: ...

    def result(self) -> Result: ...


def tally(counts: Tally[Result], trajectory: Trajectory) -> Result:
    """Show a whole trajectory to one observable."""
    for chunk in chunks_of(trajectory):
        counts.add(chunk)
    return counts.result()


def tally_all(counts: Sequence[Tally[Any]], trajectory: Trajectory) -> list[Any]:
    """Show a trajectory to several observables in one reading; their results in the same order."""
    for chunk in chunks_of(trajectory):
        for one in counts:
            one.add(chunk)
    return [one.result() for one in counts]


def chunks_of(trajectory: Trajectory) -> Iterator[Chunk]:
    """Frames, `FRAMES` or `CHUNK_BYTES` at a time.

    Raises
    ------
    ValueError : no frames, or a frame with other atoms than the first.
    TypeError : something that holds no frames.
    """
    first, parts = _opened(trajectory)
    if first is None:
        raise ValueError("The trajectory holds no frames.")
    if isinstance(first, Chunk):
        yield from parts
    elif isinstance(first, Frame):
        yield from _of_frames(first, parts)
    elif hasattr(first, "xyz") and hasattr(first, "topology"):
        yield from _of_mdtraj(first, parts)
    else:
        raise TypeError(f"A trajectory is an mdtraj.Trajectory or an iterable of frames, got {type(first).__name__}.")


def _opened(trajectory: Any) -> tuple[Any, Iterator[Any]]:
    if hasattr(trajectory, "xyz") and hasattr(trajectory, "topology"):
        return (trajectory if len(trajectory) else None), iter([trajectory])
    parts = iter([trajectory] if isinstance(trajectory, (Frame, Chunk)) else trajectory)
    first = next(parts, None)
    return first, chain([first], parts)


def _frames_at_once(n_atoms: int) -> int:
    return int(np.clip(CHUNK_BYTES // (24 * max(n_atoms, 1)), 16, FRAMES))


def _of_frames(first: Frame, frames: Iterator[Frame]) -> Iterator[Chunk]:
    system = System(first.numbers, first.masses, first.positions, first.cell, np.array(first.pbc, dtype=bool))
    size, seen = _frames_at_once(len(system)), 0
    while part := list(islice(frames, size)):
        for k, frame in enumerate(part):
            if not np.array_equal(frame.numbers, system.numbers):
                raise ValueError(f"Frame {seen + k} holds other atoms than the first ({len(frame.numbers)} atoms, the first has {len(system)}).")
        seen += len(part)
        moves = np.stack([frame.momenta for frame in part])
        yield Chunk(
            system, np.array([frame.time_fs for frame in part]) / 1000, np.stack([frame.positions for frame in part]), np.stack([frame.cell for frame in part]),
            velocities=moves / system.masses[:, None] * units.fs if np.isfinite(moves).all() else None,
            charges=_extra(part, "charges"), dipole=_extra(part, "dipole"),
            pressure=np.array([f.pressure for f in part], dtype=float) if all(f.pressure is not None for f in part) else None)  # fmt: skip


def _extra(frames: list[Frame], name: str) -> np.ndarray | None:
    """One of the potential's quantities, where every frame has it."""
    if any(name not in frame.extras for frame in frames):
        return None
    values = np.stack([np.asarray(frame.extras[name], dtype=float) for frame in frames])
    return values if np.isfinite(values).all() else None


def _of_mdtraj(first: mdtraj.Trajectory, parts: Iterator[mdtraj.Trajectory]) -> Iterator[Chunk]:
    from ase.data import atomic_masses

    numbers = np.array([atom.element.atomic_number for atom in first.topology._atoms], dtype=np.int64)
    if not (numbers > 0).all():
        raise ValueError("The topology has atoms without element.")
    periodic = first.unitcell_vectors is not None
    cell = 10.0 * first.unitcell_vectors[0] if periodic else np.zeros((3, 3))
    system = System(numbers, atomic_masses[numbers], 10.0 * first.xyz[0].astype(float), cell, np.full(3, periodic), first.topology)
    size = _frames_at_once(len(system))
    for part in parts:
        if part.n_atoms != len(system):
            raise ValueError(f"A part of the trajectory has {part.n_atoms} atoms, the first has {len(system)}.")
        for begin in range(0, part.n_frames, size):
            here = slice(begin, begin + size)
            xyz = 10.0 * part.xyz[here].astype(float)
            cells = 10.0 * part.unitcell_vectors[here].astype(float) if part.unitcell_vectors is not None else np.zeros((len(xyz), 3, 3))
            yield Chunk(system, np.asarray(part.time[here], dtype=float), xyz, cells)
