"""Which frames of a file are wanted, whatever its format; how many fell to which wish is counted."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.data import atomic_numbers

from potentials.data.labelled import LabelledStructure, is_isolated_atom


@dataclass(frozen=True)
class FilterConfig:
    """Wishes about frames. A frame is taken when it meets all; None or empty: no wish."""

    elements: tuple[str, ...] = ()  # symbols; frames with any other element fall
    charge: float | tuple[float, ...] | None = None  # e; the total charges that are taken
    max_force_eV_A: float | None = None  # the largest force on an atom, eV/Å
    max_atoms: int | None = None
    molecules: tuple[str, ...] = ()  # names, * for any text and ? for any letter; one must fit
    not_molecules: tuple[str, ...] = ()  # none may fit
    subsets: tuple[str, ...] = ()  # parts of a collection (SPICE: "*Dipeptides*"); one must fit
    every: int = 1  # of the file's frames, counted before all else
    hold_out: int | None = None  # the frames that `every` of this number would take are left out: those of a test set
    limit: int | None = None  # at most so many frames of a file, its first

    def __post_init__(self):
        unknown = [symbol for symbol in self.elements if symbol not in atomic_numbers or symbol == "X"]
        if unknown:
            raise ValueError(f"elements names no element with {', '.join(map(repr, unknown))}; use symbols such as 'C'.")
        if self.every < 1:
            raise ValueError(f"every must be 1 or more, got {self.every}.")
        if self.hold_out is not None and self.hold_out < 2:
            raise ValueError(f"hold_out must be 2 or more, got {self.hold_out}.")
        for name in ("limit", "max_atoms", "max_force_eV_A"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}.")


def filtered(structures: Iterable[LabelledStructure], wish: FilterConfig, fallen: Counter[str]) -> Iterator[LabelledStructure]:
    """The frames that meet all wishes, in order; `fallen` counts the others by the first wish that they fail.

    Isolated atoms are references, not frames to learn from: they pass, and count for nothing.
    """
    taken = index = 0
    for s in structures:
        if is_isolated_atom(s):
            yield s
            continue
        index += 1
        if (index - 1) % wish.every:
            fallen["every"] += 1
            continue
        if wish.hold_out is not None and (index - 1) % wish.hold_out == 0:
            fallen["hold_out"] += 1
            continue
        reason = why_not(s, wish)
        if reason is not None:
            fallen[reason] += 1
            continue
        yield s
        taken += 1
        if wish.limit is not None and taken >= wish.limit:
            return


def why_not(s: LabelledStructure, wish: FilterConfig) -> str | None:
    """The first wish that a frame fails, by its name in FilterConfig."""
    if wish.elements and not set(np.unique(s.numbers)) <= {atomic_numbers[symbol] for symbol in wish.elements}:
        return "elements"
    if wish.charge is not None and not any(abs(s.charge - q) < 1e-6 for q in np.atleast_1d(wish.charge)):
        return "charge"
    if wish.max_atoms is not None and len(s.numbers) > wish.max_atoms:
        return "max_atoms"
    if wish.molecules and not _fits(s.molecule, wish.molecules):
        return "molecules"
    if wish.not_molecules and _fits(s.molecule, wish.not_molecules):
        return "not_molecules"
    if wish.subsets and not _fits(s.subset, wish.subsets):
        return "subsets"
    if wish.max_force_eV_A is not None and s.forces is not None and np.linalg.norm(s.forces, axis=1).max() > wish.max_force_eV_A:
        return "max_force_eV_A"
    return None


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(_compiled(pattern).fullmatch(name) for pattern in patterns)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """`*` is any text and `?` any letter; brackets mean themselves: SMILES are full of them."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
