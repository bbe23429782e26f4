"""What a move is: from a minimum to positions that another minimum may lie below.

A move is a generator: it yields `Evaluate(positions)`, is sent the energy and the forces there, and returns the positions to relax (None where it found
none). So the driver can evaluate the wishes of all walkers in one batch. Moves do not relax, compare or accept; what they learn is one number, their
strength (a temperature, a step, a number of bonds), which is kept by the walker and follows what became of the hops.
"""
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from mdapp.minima.molecule import Molecule

Acceptance = Literal["threshold", "metropolis"]
Fate = Literal["new", "known", "same", "broken", "unconverged", "nowhere"]
# new: a minimum that the library did not hold; known: one that it did; same: back where the hop began; broken: bonds, hands or peptide bonds changed;
# unconverged: the relaxation did not end; nowhere: the move found no positions worth relaxing


@dataclass(frozen=True)
class Evaluate:
    """Asks for energy and forces."""

    positions: np.ndarray  # (n_atoms, 3), Å


Escape = Generator[Evaluate, tuple[float, np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class Here:
    """The minimum that a move leaves."""

    molecule: Molecule
    positions: np.ndarray  # (n_atoms, 3), Å
    energy: float  # eV


class Move(Protocol):
    """A frozen dataclass: the options, with units in their names. It may have a `guess`: the evaluations that a new minimum costs by it, at first sight."""

    name: ClassVar[str]
    acceptance: ClassVar[Acceptance]  # by the walker's falling and rising threshold (Goedecker), or by Metropolis at `temperature_K`

    def fits(self, molecule: Molecule) -> str | None:
        """Why this move means nothing to a molecule; None where it does."""
        ...

    def begin(self) -> float:
        """The strength of the first hop."""
        ...

    def escape(self, here: Here, strength: float, rng: np.random.Generator) -> Escape:
        """A way out of a minimum."""
        ...

    def after(self, strength: float, fate: Fate, accepted: bool) -> float:
        """The strength of the next hop, from what became of the last."""
        ...


def require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value:g}.")


def within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)


def goedecker_feedback(strength: float, fate: Fate, raise_same: float, raise_known: float, lower_new: float) -> float:
    """More kick where a hop led back or to what was known, less where it found something: S. Goedecker, J. Chem. Phys. 120, 9911 (2004), beta 1 to 3.

    A molecule that broke was kicked too hard.
    """
    factor = {"same": raise_same, "known": raise_known, "new": lower_new, "broken": lower_new, "unconverged": 1.0, "nowhere": 1.0}[fate]
    return strength * factor
