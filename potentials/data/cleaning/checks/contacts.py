"""Atoms too close: nearer than chemistry or any reference method allows, in covalent radii (Cordero et al., Dalton Trans. 2008, 2832)."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from potentials.data.cleaning.finding import Finding, finding
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable


def contacts(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Shortest distance of a frame over the sum of the two covalent radii."""
    close = np.isfinite(table.shortest) & (table.shortest < settings.too_close)
    shortest = float(table.shortest_A[close].min()) if close.any() else 0.0
    yield from finding("too close", f"{{n}} with two atoms closer than {settings.too_close:g} of the sum of their covalent radii; the shortest distance is {shortest:.2f} Å.",
                       close, table.shortest, settings.too_close, "radii", doubtless=table.shortest < settings.overlap)
