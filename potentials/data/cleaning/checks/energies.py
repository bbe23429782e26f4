"""Energies that the composition, the frame's own forces and its like do not explain.

Energies per atom are compared within one composition first, where the element energies cancel; then the medians of
compositions with a robust fit by element. A frame with larger forces than the median one may lie higher: up to what soft
springs of those forces store more, it is believed; so are cells under stress.
"""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from potentials.data.cleaning.finding import Finding, counted, finding
from potentials.data.cleaning.robust import fit_by_element, grouped, residuals, spread
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable

ENOUGH = 10  # frames of one composition for a median and a spread of their own
SOFT = 3.0  # eV/Å², a soft mean force constant: what forces can explain, they do
STRAINED = 1.4  # times the forces of the lower cluster: the upper one is hotter or strained, and lies high for that
UNIFORM = 1e-3  # of volumes that are one
CELLS = 0.5  # eV/atom that cells of several volumes may differ by where there is no stress to tell
FEWEST = 3  # frames of a level of theory that is one


def energies(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Frames off their composition's median, and compositions off the fit by element."""
    chosen = usable(table)
    if not chosen.any():
        return
    per_atom = np.where(chosen, table.energy / table.n_atoms, np.nan)
    explained = strained(table)
    off = np.zeros(len(table))
    limit = np.full(len(table), np.inf)
    for frames in grouped(_by_level(table), chosen).values():
        if len(frames) >= ENOUGH:
            x = per_atom[frames]
            off[frames] = x - np.median(x)
            limit[frames] = max(settings.energy_sigmas * spread(x), settings.energy_floor)
            limit[frames] += np.where(off[frames] > 0, np.maximum(explained[frames] - np.median(explained[frames]), 0), 0)
            if np.ptp(table.volume[frames]) > UNIFORM * np.median(table.volume[frames]) and np.isnan(table.strain[frames]).any():
                limit[frames] += CELLS  # nobody says what the cells store
    wrong = np.abs(off) > limit
    smallest = float(limit[wrong].min()) if wrong.any() else float("nan")
    yield from finding("energy off", f"{{n}} with an energy more than {settings.energy_sigmas:g} robust standard deviations off the median of its composition, "
                       "which its forces do not explain.", wrong, np.abs(off), smallest, "eV/atom")
    for level in range(len(table.levels)):
        yield from _formulas(table, chosen & ~wrong & (table.level == level), settings)
    if len(table.files) > 1 and len(np.unique(table.composition[chosen])) > 1 and not fit_by_element(table, chosen)[1]:
        yield Finding("undetermined", "There are too few compositions to tell whether energies of different molecules are of one level of theory; "
                      "isolated atoms or a molecule in all files would tell.", note=True)


def levels(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Energies of one molecule in two clusters with a wide gap between them: two levels of theory, or two zeros of energy.

    Frames of one bond graph are compared, so that isomers are told apart; periodic ones have none, and those of one
    composition are compared. Levels that were named apart are a suspicion of their own.
    """
    if len(table.levels) > 1:
        names = ", ".join(f"'{name}'" for name in table.levels)
        yield Finding("mixed levels", f"The files are labelled at {len(table.levels)} levels of theory ({names}): their energies have no common zero. Train on one of them.",
                      files=tuple(int(f) for f in np.unique(table.file)))
    chosen = usable(table)
    kind = _by_level(table) * 1_000_003 ^ table.bonds
    found: list[tuple[int, float, np.ndarray]] = []
    for frames in grouped(kind, chosen).values():
        order = frames[np.argsort(table.energy[frames], kind="stable")]
        for cut, gap in _gaps(table.energy[order], settings):
            low, high = order[:cut], order[cut:]
            if np.median(np.nan_to_num(table.rms_force[high])) > STRAINED * np.median(np.nan_to_num(table.rms_force[low])):
                continue
            found.append((len(frames), gap, low if len(low) < len(high) else high))
    if not found:
        return
    few = np.zeros(len(table), dtype=bool)
    jump = np.zeros(len(table))
    for _, gap, minority in found:
        few[minority] = True
        jump[minority] = np.maximum(jump[minority], gap)
    files = sorted({table.files[f] for f in np.unique(table.file[few])})
    all_files = sorted({table.files[f] for f in np.unique(table.file)})
    where = f" They are in {', '.join(files)}." if len(files) < len(all_files) else ""
    yield from finding("mixed levels", f"{{n}} in the smaller of two clusters of energies of the same molecules, {jump[few].min():.3g} eV or more apart with nothing between: "
                       f"levels of theory or zeros of energy are mixed.{where}", few, jump, settings.level_gap_eV, "eV")


def usable(table: FrameTable) -> np.ndarray:
    """(n_frames,) bool, labelled frames of more than a lone atom: a free atom is no reference for bound ones."""
    return table.labelled & table.finite & ((table.n_atoms > 1) | table.periodic)


def strained(table: FrameTable) -> np.ndarray:
    """Energy that forces and stress can explain, (n_frames,), eV/atom: that of soft springs and of a soft elastic body."""
    return np.nan_to_num(3 * table.rms_force**2 / (2 * SOFT)) + np.nan_to_num(table.strain)


def element_energies(table: FrameTable) -> tuple[np.ndarray, np.ndarray, bool]:
    """Energies by element (n_elements,), residuals (n_frames,), eV/atom, and whether compositions outnumber elements."""
    chosen = usable(table)
    if not chosen.any():
        return np.zeros(len(table.elements)), np.full(len(table), np.nan), False
    E, telling = fit_by_element(table, chosen)
    return E, np.where(chosen, residuals(table, E), np.nan), telling


def _by_level(table: FrameTable) -> np.ndarray:
    """(n_frames,) one code a composition and named level of theory."""
    return table.composition.astype(np.int64) * len(table.levels) + table.level


def _formulas(table: FrameTable, chosen: np.ndarray, settings: CleaningSettings) -> Iterable[Finding]:
    if (chosen & (table.charge == 0)).any():
        chosen = chosen & (table.charge == 0)  # an electron more or less is no matter of elements
    if not chosen.any():
        return
    E, telling = fit_by_element(table, chosen)
    if not telling:
        return
    off = residuals(table, E)
    explained = strained(table)
    groups = grouped(table.composition, chosen)
    medians = {c: float(np.median(off[k])) for c, k in groups.items()}
    usual = float(np.median(explained[chosen]))
    scale = max(spread(np.array(list(medians.values()))), settings.energy_floor)
    centre = float(np.median(list(medians.values())))
    limit = settings.formula_sigmas * scale
    wrong = np.zeros(len(table), dtype=bool)
    for c, k in groups.items():
        wrong[k] = abs(medians[c] - centre) > limit + max(0.0, float(np.median(explained[k])) - usual)
    compositions = len(np.unique(table.composition[wrong]))
    yield from finding("composition off", f"{{n}} of {counted(compositions, 'composition')} with energies more than {settings.formula_sigmas:g} robust standard deviations off "
                       "the linear fit by element: another level of theory, charge or spin, or a wrong label.", wrong, np.abs(off - centre), limit, "eV/atom")


def _gaps(energy: np.ndarray, settings: CleaningSettings) -> Iterable[tuple[int, float]]:
    """Where sorted energies jump by far more than they spread on either side: (frames below, size), the widest jump only."""
    if len(energy) < 2 * FEWEST:
        return
    jumps = np.diff(energy)
    cut = int(np.argmax(jumps)) + 1
    gap = float(jumps[cut - 1])
    low, high = energy[:cut], energy[cut:]
    if min(len(low), len(high)) < FEWEST or gap < settings.level_gap_eV:
        return
    widest = max(float(np.quantile(x, 0.9) - np.quantile(x, 0.1)) / 2.56 for x in (low, high))
    if gap > settings.level_gap * max(widest, 1e-3):
        yield cut, gap
