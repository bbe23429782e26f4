"""Do forces explain energies? Between two near frames the energy changes by minus the work of the forces.

.. math:: E_2 - E_1 \\approx -\\tfrac12 (F_1 + F_2) \\cdot (x_2 - x_1)

exact for a harmonic well at any distance, with an error of third order else. Steps of a trajectory are compared as they are;
frames drawn at random are superposed (W. Kabsch, Acta Cryst. A 32, 922 (1976)) on the nearest one of the sample. The ratio of the
two sides is 1; -1 says that gradients were taken for forces; 23.06 that energies in kcal/mol stand beside forces in eV/Å.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.spatial import cKDTree

from potentials.data.cleaning.finding import Finding, counted, finding
from potentials.data.cleaning.geometry import nearest_image, ordered_distances
from potentials.data.cleaning.robust import grouped, spread
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable
from potentials.data.labelled import LabelledStructure
from potentials.data.units import BOHR, ENERGIES, HARTREE

ENOUGH = 20  # pairs of frames for a ratio
LEAST = 0.3  # eV; smaller jumps of one energy are left to the trapezium rule's error
SHARP = 0.5  # left of the energy differences after the ratio is taken out, at most, so that the ratio means something
NEAR = 0.6  # Å; pairs further apart after superposition say nothing
NEAREST_PART = 0.3  # of the candidate pairs: the nearest ones
_KCAL, _KJ = 1 / ENERGIES["kcal/mol"], 1 / ENERGIES["kJ/mol"]
EXPLAINED = {
    _KCAL: "energies in kcal/mol beside forces in eV/Å", 1 / _KCAL: "forces in kcal/mol/Å beside energies in eV",
    _KJ: "energies in kJ/mol beside forces in eV/Å", 1 / _KJ: "forces in kJ/mol/Å beside energies in eV",
    HARTREE / BOHR: "forces in hartree/bohr beside energies in eV", BOHR / HARTREE: "energies or lengths scaled against forces by bohr/hartree",
    1 / HARTREE: "energies in hartree beside forces in eV/Å", HARTREE: "forces in hartree/Å beside energies in eV",
    1 / BOHR: "forces in eV/bohr taken for eV/Å", BOHR: "positions in bohr taken for Å, or forces converted twice",
    _KCAL / _KJ: "energies in kcal/mol beside forces in kJ/mol/Å", _KJ / _KCAL: "energies in kJ/mol beside forces in kcal/mol/Å",
    1000.0: "energies in meV beside forces in eV/Å", 0.001: "forces in meV/Å beside energies in eV",
}  # fmt: skip


def forces_and_energies(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """The ratio of energy steps to work, file by file; then single frames on whose both sides energy and work disagree."""
    suspected = np.zeros(len(table), dtype=bool)
    for file, name in enumerate(table.files):
        ratio, left, n = ratio_of_file(table, file)
        if n < ENOUGH or left > SHARP:
            continue
        if 1 / settings.work_ratio < ratio < settings.work_ratio:
            suspected |= _off_on_both_sides(table, file, settings)
            continue
        yield Finding("forces against energies", f"{name}: between near frames energies change by {ratio:.3g} times minus the work of the forces, "
                      f"where 1 is right ({counted(n, 'pair')}): {explanation(ratio)}.", threshold=settings.work_ratio, files=(file,))
    off = np.abs(table.step_energy - table.step_work)
    yield from finding("energy against work", "{n} with an energy that the forces deny, coming from the frame before and going to the next.",
                       suspected, np.nan_to_num(off), settings.work_sigmas, "eV")


def ratio_of_file(table: FrameTable, file: int) -> tuple[float, float, int]:
    """Energy differences over work (1 is right), the part of them that is left unexplained, and the number of pairs."""
    steps = (table.file == file) & np.isfinite(table.step_work)
    dE, W = table.step_energy[steps], table.step_work[steps]
    if len(dE) < ENOUGH:
        pairs = [differences(frames) for (f, _), frames in table.samples.items() if f == file and len(frames) > 3]
        dE, W = (np.concatenate([p[k] for p in pairs]) if pairs else np.zeros(0) for k in (0, 1))
    if len(dE) < ENOUGH or not np.abs(W).any() or not np.abs(dE).any():
        return 1.0, np.inf, 0
    ratio = _slope(dE, W)
    return ratio, float(np.median(np.abs(dE - ratio * W)) / np.median(np.abs(dE))) if np.median(np.abs(dE)) > 0 else np.inf, len(dE)


def differences(frames: Sequence[LabelledStructure]) -> tuple[np.ndarray, np.ndarray]:
    """Energy differences and minus the work of the forces, (n_pairs,) each, eV, of frames and their nearest ones after superposition.

    Frames of one composition whose atoms stand in the same order; periodic ones are compared where their cells are the same.
    """
    first = frames[0]
    same = [s for s in frames if np.array_equal(s.numbers, first.numbers) and np.array_equal(s.pbc, first.pbc)]
    if first.pbc.any():
        same = [s for s in same if np.abs(s.cell - first.cell).max() < 1e-6]
    if len(same) < 4:
        return np.zeros(0), np.zeros(0)
    x, F = np.array([s.positions for s in same]), np.array([s.forces for s in same])
    E = np.array([float(s.energy) for s in same])  # type: ignore[arg-type]
    a, b = _near_pairs(np.array([ordered_distances(s) for s in same], dtype=np.float64))
    if first.pbc.any():
        dx = nearest_image((x[b] - x[a]).reshape(-1, 3), first.cell, first.pbc).reshape(len(a), -1, 3)
        F_b = F[b]
    else:
        R = rotations(x[b], x[a])  # turns b onto a
        centred = x - x.mean(axis=1, keepdims=True)
        dx = centred[b] @ R - centred[a]
        F_b = F[b] @ R
    W = -0.5 * ((F[a] + F_b) * dx).sum(axis=(1, 2))
    apart = np.sqrt((dx**2).sum(axis=2).mean(axis=1))
    taken = (apart > 1e-4) & (apart < NEAR) & (apart <= np.quantile(apart, NEAREST_PART))
    return (E[b] - E[a])[taken], W[taken]


def _near_pairs(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each point with its nearest ones, every pair once."""
    _, near = cKDTree(points).query(points, k=min(4, len(points)))
    i, j = np.repeat(np.arange(len(points)), near.shape[1] - 1), near[:, 1:].ravel()
    pairs = np.unique(np.sort(np.column_stack([i, j])[i != j], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def rotations(x: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(n, 3, 3) proper rotations R for which (x - centre) @ R lies best on `onto`, (n, n_atoms, 3) each."""
    x, onto = x - x.mean(axis=1, keepdims=True), onto - onto.mean(axis=1, keepdims=True)
    U, _, Vt = np.linalg.svd(np.swapaxes(x, 1, 2) @ onto)
    Vt[:, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
    return U @ Vt


def explanation(ratio: float) -> str:
    """What a ratio of energy steps to work may mean."""
    if ratio < 0:
        return "the sign is wrong, as where gradients are taken for forces" if 0.5 < -ratio < 2 else "the sign is wrong and so is a unit"
    for known, text in EXPLAINED.items():
        if abs(np.log(ratio / known)) < 0.12:
            return text
    return "no pair of usual units explains that; look at the labels"


def _slope(dE: np.ndarray, W: np.ndarray) -> float:
    """The slope through the origin that makes sum |dE - slope W| least: a weighted median of the single ratios."""
    keep = np.abs(W) > 0
    ratio, weight = dE[keep] / W[keep], np.abs(W[keep])
    order = np.argsort(ratio)
    total = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(total, total[-1] / 2)])


def _off_on_both_sides(table: FrameTable, file: int, settings: CleaningSettings) -> np.ndarray:
    """Frames with an energy that steps up and back again with no work done, by more than the usual error of the trapezium rule."""
    off = table.step_energy - table.step_work  # of the step that ends in each frame
    wrong = np.zeros(len(table), dtype=bool)
    for frames in grouped(table.file, (table.file == file) & np.isfinite(off)).values():
        limit = max(settings.work_sigmas * spread(off[frames]), 3 * settings.energy_floor * float(np.median(table.n_atoms[frames])), LEAST)
        after = np.zeros(len(table))
        after[:-1] = np.where(np.isfinite(off[1:]) & (table.file[1:] == file), off[1:], 0.0)
        jumps = np.nan_to_num(np.where(table.file == file, off, 0.0))
        work = np.nan_to_num(np.abs(table.step_work))
        work_after = np.append(work[1:], 0.0)
        wrong |= (np.abs(jumps) > np.maximum(limit, work)) & (np.abs(after) > np.maximum(limit, work_after)) & (np.sign(jumps) != np.sign(after))
    return wrong
