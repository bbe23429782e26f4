"""A walker: where it stands, what it is about to try, how its thresholds follow what it finds.

All that a walker knows follows from its hops, which the journal keeps; so a search that was killed is put together again from its journal, and a hop that
was under way begins anew with the same random numbers.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import units

from mdapp.minima.moves._base import Fate, Move

START = "start"  # the move that only relaxes
SCATTER = "scatter"  # the one that makes random starts
SAME = 1e-6  # eV
LOWER, RAISE = 0.98, 1.0 / 0.98  # alpha 1 and 2 of Goedecker 2004: half of the hops are taken in the long run
STREAMS = {"move": 0, "accept": 1, "choose": 2}


@dataclass(frozen=True)
class Hop:
    """One hop, done: a line of the journal."""

    walker: int
    number: int  # of this walker's hops, from 0
    move: str
    parent: int | None  # the minimum that it left, by its number in the library
    found: int | None  # the minimum that it found; None where it found none
    energy: float | None  # eV, of what was found
    fate: Fate
    accepted: bool
    evaluations: int
    strength: float  # of the move, in its own unit
    why: str = ""  # what was wrong, in words

    def plain(self) -> dict[str, Any]:
        return {"walker": self.walker, "number": self.number, "move": self.move, "parent": self.parent, "found": self.found, "energy_eV": self.energy,
                "fate": self.fate, "accepted": self.accepted, "evaluations": self.evaluations, "strength": self.strength,
                **({"why": self.why} if self.why else {})}

    @staticmethod
    def of(line: Mapping[str, Any]) -> Hop:
        """
        Raises
        ------
        KeyError, TypeError, ValueError : a line that is none of a hop.
        """
        number = lambda key: None if line[key] is None else int(line[key])
        return Hop(int(line["walker"]), int(line["number"]), str(line["move"]), number("parent"), number("found"),
                   None if line["energy_eV"] is None else float(line["energy_eV"]), line["fate"], bool(line["accepted"]), int(line["evaluations"]),
                   float(line["strength"]), str(line.get("why", "")))


@dataclass
class Walker:
    """One walk over minima."""

    index: int
    threshold: float  # eV, highest rise that is taken
    hops: int = 0  # done
    at: int | None = None  # the minimum where it stands, by its number in the library
    energy: float = math.nan  # eV, of that minimum
    strengths: dict[str, float] = field(default_factory=dict)
    origin: tuple[int, float] | None = None  # number and energy of the minimum that it began at
    lowest: float = math.inf  # eV, of what it has found since it was last thrown
    idle: int = 0  # hops since then

    def strength(self, name: str, move: Move | None) -> float:
        """The strength of this walker's next hop by a move."""
        return self.strengths.get(name, 0.0 if move is None else move.begin())

    def takes(self, move: Move | None, energy: float, rng: np.random.Generator) -> bool:
        """Whether to go along to a minimum of that energy."""
        if self.at is None or move is None:
            return True
        rise = energy - self.energy
        if move.acceptance == "metropolis":
            kT = units.kB * getattr(move, "temperature_K", 300.0)
            return bool(rise <= 0 or rng.random() < math.exp(-rise / kT))
        return bool(rise < self.threshold)

    def absorb(self, hop: Hop, move: Move | None) -> None:
        """Follow what became of a hop, now or when the journal is read."""
        self.hops = hop.number + 1
        if move is not None:
            self.strengths[hop.move] = move.after(self.strength(hop.move, move), hop.fate, hop.accepted)
            if hop.fate in ("new", "known") and move.acceptance == "threshold":
                self.threshold *= LOWER if hop.accepted else RAISE
        thrown = hop.move == SCATTER and hop.accepted
        if hop.energy is not None and (thrown or hop.energy < self.lowest - SAME):
            self.lowest, self.idle = hop.energy, 0
        else:
            self.idle += 1
        if hop.accepted and hop.found is not None and hop.energy is not None:
            self.at, self.energy = hop.found, hop.energy
            self.origin = self.origin or (hop.found, hop.energy)


def stream(seed: int, walker: int, number: int, purpose: str) -> np.random.Generator:
    """The random numbers of one hop of one walker, the same whenever it is made."""
    return np.random.default_rng([seed, walker, number, STREAMS[purpose]])
