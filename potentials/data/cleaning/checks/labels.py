"""Labels that are missing or are not numbers, charges, and elements that hardly occur."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase.data import chemical_symbols

from potentials.data.cleaning.finding import Finding, finding
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable

NOT_FINITE = "not finite"


def labels(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Not finite, without energy, without forces, charged, rare elements."""
    yield from finding(NOT_FINITE, "{n} with a position or a label that is not a finite number.",
                       ~table.finite, np.full(len(table), np.nan), np.nan, doubtless=np.ones(len(table), dtype=bool))
    no_energy, no_forces = table.finite & ~np.isfinite(table.energy), table.finite & ~np.isfinite(table.largest_force)
    yield from finding("no energy", "{n} without an energy.", no_energy, np.full(len(table), np.nan), np.nan, note=True)
    if not (no_forces.all() or (table.n_atoms[no_forces] == 1).all()):
        yield from finding("no forces", "{n} without forces, beside others that have them.", no_forces, np.full(len(table), np.nan), np.nan, note=True)
    charged = table.charge != 0
    mixed = ", beside neutral ones: a potential that knows no total charge cannot tell them apart." if not charged.all() else ": all of them."
    yield from finding("charged", "{n} with a total charge" + mixed, charged, table.charge, 0.0, "e", note=True)
    yield from rare_elements(table, settings)


def rare_elements(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Elements in too few frames to be learned."""
    if len(table) <= 100:
        return
    for column, z in enumerate(table.elements):
        has = (table.compositions[:, column] > 0)[table.composition]
        if has.sum() < settings.rare_element and (table.n_atoms[has] > 1).any():
            yield from finding("rare element", f"{{n}} with {chemical_symbols[z]}, which no potential learns from so few.",
                               has, np.full(len(table), float(has.sum())), settings.rare_element, "frames")


def strangers(table: FrameTable, allowed: tuple[int, ...]) -> Iterable[Finding]:
    """Frames with elements other than those asked for."""
    outside = [k for k, z in enumerate(table.elements) if z not in allowed]
    count = table.compositions[:, outside].sum(axis=1)[table.composition]
    names = ", ".join(chemical_symbols[table.elements[k]] for k in outside)
    yield from finding("other elements", f"{{n}} with elements that were not asked for: {names}.", count > 0, count, 0.0, "atoms")
