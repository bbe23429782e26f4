"""Thresholds of the checks of labelled data: what is suspected, and what is beyond doubt."""
from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class CleaningSettings:
    """One number a decision. The defaults leave published sets in peace: thermal frames, distorted ones, strained cells."""

    exact_copy: float = 1e-4  # Å; distances between atoms differ by less (root mean square): the same geometry
    near_copy: float = 0.02  # Å; so near, two frames say the same; MD frames 1 fs apart are
    correlated: float = 0.1  # part of the frames that are near copies, from which on it is a suspicion
    contradiction: float = 1e-3  # eV/atom; the same geometry with energies further apart
    too_close: float = 0.6  # of the sum of covalent radii; the shortest real bonds stand at 0.77
    overlap: float = 0.3  # the same; no reference method gives a sound label there
    largest_force: float = 100.0  # eV/Å on one atom
    force_ratio: float = 20.0  # largest force of a frame over the median of such over its file
    net_force: float = 0.3  # eV/Å; |sum of forces| / sqrt(n_atoms) of an isolated molecule
    net_force_ratio: float = 15.0  # of a net force over the median of its file; quiet labels make a small one stand out
    energy_sigmas: float = 15.0  # robust standard deviations of the energy per atom within one composition
    energy_floor: float = 0.01  # eV/atom; deviations below this are never suspected
    formula_sigmas: float = 12.0  # the same for a composition's median against all others, after the fit by element
    level_gap: float = 8.0  # an energy gap between frames of one molecule, over the spread on both its sides
    level_gap_eV: float = 0.5  # eV; smaller gaps are conformers
    work_ratio: float = 1.35  # energy steps over the work of the forces, or its inverse; beyond: units, signs
    work_sigmas: float = 15.0  # an energy step off the work of the forces, in robust standard deviations
    unit_lengths: float = 1.5  # median nearest distance over the sum of covalent radii, or its inverse
    rms_force: float = 10.0  # eV/Å by component over a whole file: no thermal sample in eV/Å has it
    rare_element: int = 5  # an element that fewer frames than this contain, in a set of more than 100

    def __post_init__(self):
        for f in fields(self):
            if not getattr(self, f.name) > 0:
                raise ValueError(f"{f.name} must be > 0, got {getattr(self, f.name)}.")
        if not self.overlap <= self.too_close:
            raise ValueError(f"overlap must be at most too_close, got {self.overlap} and {self.too_close}.")
        if not self.exact_copy <= self.near_copy:
            raise ValueError(f"exact_copy must be at most near_copy, got {self.exact_copy} and {self.near_copy}.")
