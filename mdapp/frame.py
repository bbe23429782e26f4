"""One moment of a simulation, in ASE units (Å, eV, eV/Å, amu, momenta in amu Å per ASE time unit)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

OF_ALL = ("dipole",)  # vectors (3,) among the extras that belong to the whole system


@dataclass(frozen=True)
class Frame:
    """What is known of a system at one step. Arrays are the frame's own: nobody changes them later."""

    step: int
    time_fs: float
    numbers: np.ndarray  # (n_atoms,) atomic numbers
    masses: np.ndarray  # (n_atoms,) amu, as integrated
    positions: np.ndarray  # (n_atoms, 3)
    momenta: np.ndarray  # (n_atoms, 3)
    forces: np.ndarray  # (n_atoms, 3), of the potential, not altered by constraints
    cell: np.ndarray  # (3, 3), rows; zero where there is no cell
    pbc: np.ndarray  # (3,) bool
    potential_energy: float
    kinetic_energy: float  # of `momenta`
    temperature_K: float  # kinetic, with the degrees of freedom that the run really has
    conserved_energy: float  # the quantity that the ensemble conserves (total energy less the heat it exchanged)
    stress: np.ndarray | None = None  # (6,) Voigt xx yy zz yz xz xy, of the potential, positive under tension
    pressure: float | None = None  # kinetic part included, eV/Å³, positive under compression
    spread: float | None = None  # disagreement of a committee, eV/Å
    extras: dict[str, np.ndarray] = field(default_factory=dict)  # further results of the potential: by atom, such as charges, or of the whole (`OF_ALL`)

    @property
    def velocities(self) -> np.ndarray:
        return self.momenta / self.masses[:, None]

    @property
    def total_energy(self) -> float:
        return self.potential_energy + self.kinetic_energy


def named(numbers: np.ndarray, atoms: Sequence[int] | np.ndarray, most: int = 3) -> str:
    """Atoms in words, as in "H12 and C3": symbol and index, counted from 0. `numbers` is (n_atoms,), atomic numbers."""
    from ase.data import chemical_symbols

    words = [f"{chemical_symbols[numbers[i]]}{i}" for i in list(atoms)[:most]]
    if len(atoms) > most:
        return f"{', '.join(words)} and {len(atoms) - most} more"
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)
