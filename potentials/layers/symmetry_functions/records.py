"""What a symmetry function is: a kind, the elements that it sees, and its numbers.

A list of such records is the stored form of a descriptor set. Parameters may differ by central element, pair and triple; how records
are computed together is not their business.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ase.data import chemical_symbols

from potentials.layers.symmetry_functions.cutoffs import NAMES

Kind = Literal["G1", "G2", "G3", "G4", "G5", "W2", "W4", "W5", "AEV-R", "AEV-A"]

RADIAL = ("G1", "G2", "G3", "W2", "AEV-R")
ANGULAR = ("G4", "G5", "W4", "W5", "AEV-A")
WEIGHTED = ("W2", "W4", "W5")  # neighbours told apart by a weight, the atomic number or a learned one, and not by a channel


@dataclass(frozen=True)
class SymmetryFunction:
    """One function of an atom's surroundings; see `potentials.layers.symmetry_functions.terms` for the equations."""

    kind: Kind
    cutoff: float  # r_c, Å
    neighbour: int | None = None  # atomic number; None for the weighted kinds
    second: int | None = None  # of the other neighbour of an angular function; order does not matter
    eta: float = 0.0  # Å^-2
    rs: float = 0.0  # R_s, Å
    zeta: float = 1.0  # exponent of the angular part
    lam: float = 1.0  # λ, +1 or -1
    kappa: float = 0.0  # Å^-1, of G3
    theta: float = 0.0  # θ_n of the AEV's angular functions, radians
    cutoff_fn: str = "cosine"
    inner: float = 0.0  # inner radius of the cutoff function as a part of `cutoff`
    centre: int | None = None  # central element; None: any

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cutoff) and self.cutoff > 0):
            raise ValueError(f"cutoff of a symmetry function must be > 0 Å, got {self.cutoff}.")
        if self.cutoff_fn not in NAMES:
            raise ValueError(f"no cutoff function '{self.cutoff_fn}'; known: {', '.join(NAMES)}.")
        if not 0 <= self.inner < 1:
            raise ValueError(f"inner must be at least 0 and below 1, got {self.inner}.")
        if self.inner and self.cutoff_fn.startswith("tanh3"):
            raise ValueError(f"the cutoff function {self.cutoff_fn} has no inner radius; set inner = 0.")
        if not self.eta >= 0:
            raise ValueError(f"eta must be 0 or more, got {self.eta} Å^-2.")
        if self.kind in ANGULAR and not self.zeta >= 1:
            raise ValueError(f"zeta must be 1 or more, got {self.zeta}.")
        if self.kind in ("G4", "G5", "W4", "W5") and self.lam not in (-1.0, 1.0):
            raise ValueError(f"lam must be 1 or -1, got {self.lam}.")
        wanted = 0 if self.kind in WEIGHTED else 1 if self.kind in RADIAL else 2
        given = [z for z in (self.neighbour, self.second) if z is not None]
        if len(given) != wanted or (wanted == 1 and self.second is not None):
            raise ValueError(f"{self.kind} takes {wanted} neighbour elements, got {len(given)}.")
        for z in (*given, *([self.centre] if self.centre is not None else [])):
            if not 0 < z < len(chemical_symbols):
                raise ValueError(f"{z} is not an atomic number.")

    @property
    def pair(self) -> tuple[int, int]:
        """The two neighbour elements of an angular function, the lighter one first."""
        assert self.neighbour is not None and self.second is not None
        return min(self.neighbour, self.second), max(self.neighbour, self.second)

    def __str__(self) -> str:
        words = [self.kind, *(chemical_symbols[z] for z in (self.neighbour, self.second) if z is not None)]
        if self.kind == "G3":
            words.append(f"κ {self.kappa:g}")
        elif self.kind != "G1":
            words.append(f"η {self.eta:g} R_s {self.rs:g}")
        if self.kind in ANGULAR:
            words.append(f"ζ {self.zeta:g} θ {self.theta:g}" if self.kind == "AEV-A" else f"ζ {self.zeta:g} λ {self.lam:+g}")
        return " ".join(words) + f" r_c {self.cutoff:g}"


def largest_cutoff(functions: Iterable[SymmetryFunction]) -> float:
    """The distance up to which a set sees, Å."""
    return max(f.cutoff for f in functions)


def of_centre(functions: Sequence[SymmetryFunction], element: int) -> tuple[SymmetryFunction, ...]:
    """The functions that an atom of this element has, in their order."""
    return tuple(f for f in functions if f.centre is None or f.centre == element)
