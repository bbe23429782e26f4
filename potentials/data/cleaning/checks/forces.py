"""Absurd forces, and forces on a molecule that do not add up to nothing."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from potentials.data.cleaning.finding import Finding, finding
from potentials.data.cleaning.robust import grouped
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable

ENOUGH = 10  # frames for a median
QUIET = 0.02  # eV/Å; a median net force below this does not tighten the limit further


def largest_forces(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """The largest force of a frame against an absolute limit, and against the median of its file."""
    F = table.largest_force
    absurd = F > settings.largest_force
    limit = np.full(len(table), np.inf)
    for frames in grouped(table.file, np.isfinite(F) & (F > 1e-4)).values():  # zero by symmetry says nothing
        if len(frames) >= ENOUGH:
            limit[frames] = settings.force_ratio * np.median(F[frames])
    stands_out = (F > limit) & (F > 1.0) & ~absurd
    yield from finding("absurd force", f"{{n}} with a force above {settings.largest_force:g} eV/Å.", absurd, F, settings.largest_force, "eV/Å")
    smallest = float(limit[stands_out].min()) if stands_out.any() else float("nan")
    yield from finding("outlying force", f"{{n}} with a largest force more than {settings.force_ratio:g} times that of its file's median frame.",
                       stands_out, F, smallest, "eV/Å")


def net_forces(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """|sum of forces| / sqrt(n_atoms) of isolated molecules: zero but for the grid of the reference method."""
    net = table.net_force / np.sqrt(table.n_atoms)
    isolated = np.isfinite(net) & ~table.periodic & (table.n_atoms > 1)
    limit = np.full(len(table), settings.net_force)
    for frames in grouped(table.file, isolated).values():
        if len(frames) >= ENOUGH:
            limit[frames] = np.clip(settings.net_force_ratio * np.median(net[frames]), QUIET * settings.net_force_ratio / 5, settings.net_force)
    off = isolated & (net > limit)
    yield from finding("net force", "{n} of isolated molecules with forces that do not add up to zero: a wrong label, an atom left out, an outer field or a coarse grid.",
                       off, net, float(limit[off].min()) if off.any() else settings.net_force, "eV/Å")
