"""What is written down of a minimum: how it was reached, where it was placed, and what counts as the same."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdapp.minima.identity import RMSD_MAX, Mirror

MOVE_BYTES = 48  # longest name of a move that is stored whole


@dataclass(frozen=True)
class Origin:
    """How a minimum was reached."""

    move: str  # the move's name, "start" for what was given
    parent: int | None = None  # minimum that the move began at
    walker: int = 0
    evaluation: int = 0  # of the potential, counted over the search


@dataclass(frozen=True)
class Placed:
    """Where a structure belongs."""

    index: int  # of the minimum, old or new
    is_new: bool
    distance: float  # Å: from the stored minimum; for a new one from the nearest that was superposed, inf where none was


@dataclass(frozen=True)
class Sameness:
    """When two structures are one minimum."""

    rmsd_max: float = RMSD_MAX  # Å
    energy_window_eV: float = 0.005  # either side; wider than the energy error of a relaxation, narrower than levels are apart
    mirror: Mirror = "auto"  # see mdapp.minima.identity

    def __post_init__(self):
        if not 0 < self.rmsd_max < np.inf:
            raise ValueError(f"rmsd_max must be > 0 Å, got {self.rmsd_max:g}.")
        if not 0 < self.energy_window_eV < np.inf:
            raise ValueError(f"energy_window_eV must be > 0, got {self.energy_window_eV:g}.")
        if self.mirror not in ("auto", "one", "distinct"):
            raise ValueError(f"mirror must be auto, one or distinct, got '{self.mirror}'.")

    def __str__(self) -> str:
        return f"rmsd_max {self.rmsd_max:g} Å, energy window {self.energy_window_eV:g} eV, mirror images {self.mirror}"


def columns_of(origins: Sequence[Origin]) -> dict[str, np.ndarray]:
    """Origins as columns of a file; -1 for no parent."""
    return {
        "parent": np.array([-1 if o.parent is None else o.parent for o in origins], dtype=np.int64),
        "walker": np.array([o.walker for o in origins], dtype=np.int64),
        "evaluation": np.array([o.evaluation for o in origins], dtype=np.int64),
        "move": np.array([stored_move(o.move) for o in origins], dtype=f"S{MOVE_BYTES}"),
    }


def origins_of(columns: Mapping[str, np.ndarray]) -> list[Origin]:
    """Origins back from their columns (n,)."""
    return [Origin(move.decode("utf-8", "replace"), None if parent < 0 else parent, walker, evaluation)
            for move, parent, walker, evaluation in zip(*(columns[name].tolist() for name in ("move", "parent", "walker", "evaluation")))]


def stored_move(move: str) -> bytes:
    """A move's name as it is stored: UTF-8, cut at a whole letter."""
    return move.encode("utf-8")[:MOVE_BYTES].decode("utf-8", "ignore").encode("utf-8")
