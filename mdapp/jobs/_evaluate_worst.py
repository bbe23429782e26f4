"""The frames on which a potential is worst, kept with labels and predictions so that they can be looked at and labelled again."""
from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

    from potentials.data.labelled import LabelledStructure


@dataclass(frozen=True)
class Bad:
    """A frame with its errors; NaN where there is no label."""

    data: str  # the file
    number: int  # of the frame in the file, from 0
    labelled: LabelledStructure
    energy: float  # predicted, eV
    forces: np.ndarray | None  # predicted, (n_atoms, 3) eV/Å
    energy_error_eV_atom: float
    force_error_eV_A: float  # largest |F - F*| of an atom
    atom: int | None  # that atom, from 0

    @property
    def row(self) -> dict[str, Any]:
        """Plain data for JSON and CSV."""
        errors = {"energy_error_meV_atom": 1000 * self.energy_error_eV_atom, "largest_force_error_meV_A": 1000 * self.force_error_eV_A}
        row = {"data": self.data, "frame": self.number, "molecule": self.labelled.molecule, "source": self.labelled.source, "atoms": len(self.labelled.numbers)}
        return {**row, **{name: value for name, value in errors.items() if np.isfinite(value)}, **({} if self.atom is None else {"atom": self.atom})}


class Worst:
    """The `size` frames with the largest energy errors per atom, and those with the largest force errors."""

    def __init__(self, size: int):
        self.size = size
        self._energy: list[tuple[float, int, Bad]] = []
        self._forces: list[tuple[float, int, Bad]] = []
        self._count = 0  # breaks ties

    def add(self, bad: Bad) -> None:
        """Consider a frame."""
        self._count += 1
        for heap, size in ((self._energy, abs(bad.energy_error_eV_atom)), (self._forces, bad.force_error_eV_A)):
            if np.isfinite(size) and self.size:
                push = heapq.heappush if len(heap) < self.size else heapq.heappushpop
                push(heap, (float(size), -self._count, bad))

    @property
    def by_energy(self) -> list[Bad]:
        """The worst first."""
        return [bad for *_, bad in sorted(self._energy, reverse=True)]

    @property
    def by_forces(self) -> list[Bad]:
        """The worst first."""
        return [bad for *_, bad in sorted(self._forces, reverse=True)]


def each_once(lists: Iterable[Iterable[Bad]]) -> list[Bad]:
    """Frames of several lists, each once, in the order in which they first come."""
    return list({(bad.data, bad.number): bad for bads in lists for bad in bads}.values())


def write_worst(path: Path, bads: list[Bad]) -> None:
    """Extended xyz: labels as REF_energy, REF_forces and REF_stress, predictions as predicted_energy and predicted_forces; eV and Å."""
    from ase.io import write

    write(path, [_atoms(bad) for bad in bads], format="extxyz")


def _atoms(bad: Bad) -> Atoms:
    from ase import Atoms
    from ase.stress import full_3x3_to_voigt_6_stress

    s = bad.labelled
    atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc)
    atoms.info.update(molecule=s.molecule, data=bad.data, frame=bad.number, charge=s.charge, multiplicity=s.multiplicity, predicted_energy=bad.energy)
    if s.energy is not None:
        atoms.info.update(REF_energy=s.energy, energy_error_meV_atom=1000 * bad.energy_error_eV_atom)
    if s.stress is not None:
        atoms.info["REF_stress"] = full_3x3_to_voigt_6_stress(s.stress)
    if s.forces is not None:
        atoms.arrays["REF_forces"] = s.forces
    if bad.forces is not None:
        atoms.arrays["predicted_forces"] = bad.forces
        atoms.info["largest_force_error_meV_A"] = 1000 * bad.force_error_eV_A
    return atoms
