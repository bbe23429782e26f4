"""When, why and where a run failed, and how far its bonds went: the units of the published stability benchmarks."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ase.data import chemical_symbols

if TYPE_CHECKING:
    from mdapp.jobs._start import Start
    from mdapp.simulation import Outcome

MOST_ATOMS = 20


def failure_of(outcome: Outcome, start: Start) -> dict[str, Any] | None:
    """When and why a guard ended the run, and at which atoms; None where none did."""
    event = outcome.cause
    if event is None:
        return None
    v = event.verdict
    return {"step": event.step, "time_ps": event.time_fs / 1000, "monitor": v.monitor, "reason": v.reason, "value": v.value, "limit": v.limit,
            "atoms": atoms_in_words(v.atoms[:MOST_ATOMS], start)}


def atoms_in_words(atoms: Sequence[int], start: Start) -> list[dict[str, Any]]:
    """Index (from 0, in the input's order), element and, where residues are known, a name as in "ALA3:CA"."""
    found = []
    for k in atoms:
        entry = {"index": int(k), "element": chemical_symbols[start.original.numbers[k]]}
        atom = start.topology.atom(int(k))
        if atom.residue.name not in ("UNL", "UNK", "MOL", "LIG", ""):
            entry["name"] = f"{atom.residue.name}{atom.residue.resSeq}:{atom.name}"
        found.append(entry)
    return found


def watched(watches: Sequence[Any], start: Start) -> dict[str, Any]:
    """What watches have to tell at the end of a run, by name; where it names atoms, these in words."""
    found: dict[str, Any] = {}
    for watch in watches:
        found.update(getattr(watch, "summary", dict)())
    for entry in found.values():
        if isinstance(entry, dict) and "atoms" in entry:
            entry["atoms"] = atoms_in_words(entry["atoms"], start)
    return found
