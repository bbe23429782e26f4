"""What a search is asked, with what it hops, where it stands and how it ended."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdapp.minima.completeness import Completeness
from mdapp.minima.integrity import Kept
from mdapp.minima.mixture import Mixture
from mdapp.minima.moves._base import Move
from mdapp.relax.pool import RelaxationPool


@dataclass(frozen=True)
class SearchOptions:
    """How to search, and when to stop. Without any limit it goes on until it is told to stop."""

    walkers: int = 16
    seed: int = 0
    threshold_eV: float = 0.2  # rise in energy that a walker takes, at first
    window_eV: float | None = None  # minima this far above the lowest are kept, but no walker goes there and no move is praised for them
    random_start: bool = False  # every walker begins with the pieces of the cluster thrown anew
    hops: int | None = None  # relaxations, starts and refused ones included
    minima: int | None = None
    seconds: float | None = None  # of all sessions together
    complete: float | None = None  # 0 to 1: both the coverage and the share of the minima expected
    restart_after: int | None = None  # hops in which a walk of a random start has found nothing lower; then it begins at another


@dataclass(frozen=True)
class Progress:
    """Where a search stands."""

    hops: int
    minima: int
    new_per_hundred: float  # new minima in a hundred hops, of late
    lowest_eV: float
    completeness: Completeness
    evaluations: int
    refused: Mapping[str, int]  # hops that came to nothing, by fate
    seconds: float  # of all sessions
    left_s: float | None  # None: cannot be told
    lowest_at: int  # hops until the lowest was found


@dataclass(frozen=True)
class SearchResult:
    """How a search ended."""

    progress: Progress
    reason: str  # "hops", "minima", "time", "complete" or "stopped"
    mixture: Mixture


@dataclass(frozen=True)
class Setup:
    """With what a search hops, and where its hops are written down."""

    moves: Mapping[str, Move] | Sequence[str] = ("minima-hopping", "dihedral", "basin-hopping", "quench")  # those that mean nothing to the molecule are left out
    pool: RelaxationPool | None = None  # relaxes; L-BFGS in internal coordinates to 0.01 eV/Å when not given
    kept: Kept = Kept()  # what must stay as in the first start; what does not is refused and counted
    journal: Path | None = None  # file of all hops; a search goes on from what is there
