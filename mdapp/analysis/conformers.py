"""Relative energies: does a potential rank the frames of a molecule right, whatever its zero of energy?

Frames of one molecule and one composition are compared with each other. With the error e_k = E_k - E*_k of frame k, the error of an energy
difference E_i - E_j is e_i - e_j; its mean over all pairs is Gini's mean difference, which a sort gives without forming the pairs.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np

from mdapp.analysis.errors import FrameTable


@dataclass(frozen=True)
class RelativeEnergies:
    """How well the relative energies of the frames of one molecule agree; None where the frames are too few or all labels alike."""

    frames: int
    span_meV: float  # largest less smallest label
    offset_meV: float  # mean error, which the next two are free of
    mae_meV: float
    rmse_meV: float
    difference_mae_meV: float  # of E_i - E_j, over all pairs
    difference_rmse_meV: float
    spearman: float | None  # rank correlation, 1 is right
    kendall: float | None
    lowest_found: bool  # whether the frame of lowest label is the one of lowest prediction

    @property
    def summary(self) -> dict[str, float | int | bool]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def relative_energies(label: np.ndarray, predicted: np.ndarray) -> RelativeEnergies:
    """Relative energies of two or more frames of one molecule.

    Parameters
    ----------
    label, predicted : (n_frames,) total energies, eV, finite.

    Raises
    ------
    ValueError : fewer than two frames.
    """
    if len(label) < 2:
        raise ValueError(f"Relative energies need at least two frames, got {len(label)}.")
    e = 1000 * (predicted - label)
    n, offset = len(e), float(e.mean())
    ascending = np.sort(e)
    mean_difference = 2 * float(((2 * np.arange(1, n + 1) - n - 1) * (ascending - offset)).sum()) / (n * (n - 1))
    spearman, kendall = _ranks(label, predicted)
    return RelativeEnergies(
        frames=n, span_meV=1000 * float(np.ptp(label)), offset_meV=offset, mae_meV=float(np.abs(e - offset).mean()), rmse_meV=float(e.std()),
        difference_mae_meV=mean_difference, difference_rmse_meV=float(np.sqrt(2) * e.std(ddof=1)), spearman=spearman, kendall=kendall,
        lowest_found=bool(label[np.argmin(predicted)] == label.min()))  # fmt: skip


def conformers(table: FrameTable) -> dict[str, RelativeEnergies]:
    """Relative energies of each molecule that has two or more labelled frames; a name that several compositions share counts for each of them."""
    labelled = np.isfinite(table.energy) & np.isfinite(table.predicted_energy)
    groups: dict[tuple[str, str], list[int]] = {}
    for k in np.flatnonzero(labelled):
        groups.setdefault((table.molecule[k], table.composition[k]), []).append(int(k))
    compositions = Counter(name for name, _ in groups)
    found = {}
    for (name, composition), frames in groups.items():
        if len(frames) > 1:
            shown = name if compositions[name] == 1 else f"{name} ({composition})"
            found[shown] = relative_energies(table.energy[frames], table.predicted_energy[frames])
    return dict(sorted(found.items()))


def together(found: dict[str, RelativeEnergies]) -> dict[str, float | int]:
    """All molecules in a few numbers: means over frames, the median and the least of the rank correlations. Empty where there is none."""
    if not found:
        return {}
    rows = list(found.values())
    frames = np.array([r.frames for r in rows])

    def mean(values: list[float]) -> float:
        return float(np.average(values, weights=frames))

    summary: dict[str, float | int] = {
        "molecules": len(rows), "frames": int(frames.sum()),
        "relative_energy_mae_meV": mean([r.mae_meV for r in rows]), "relative_energy_rmse_meV": mean([r.rmse_meV**2 for r in rows]) ** 0.5,
        "energy_difference_mae_meV": mean([r.difference_mae_meV for r in rows]),
        "energy_difference_rmse_meV": mean([r.difference_rmse_meV**2 for r in rows]) ** 0.5,
        "lowest_found": sum(r.lowest_found for r in rows),
    }  # fmt: skip
    for name in ("spearman", "kendall"):
        values = [v for v in (getattr(r, name) for r in rows) if v is not None]
        if values:
            summary |= {f"{name}_median": float(np.median(values)), f"{name}_least": float(min(values))}
    return summary


def _ranks(label: np.ndarray, predicted: np.ndarray) -> tuple[float | None, float | None]:
    """Spearman's and Kendall's rank correlation; None for fewer than three frames or where all labels are alike. Equal predictions count as no rank at all."""
    from scipy.stats import kendalltau, spearmanr

    if len(label) < 3 or np.ptp(label) == 0:
        return None, None
    if np.ptp(predicted) == 0:
        return 0.0, 0.0
    return float(spearmanr(label, predicted).statistic), float(kendalltau(label, predicted).statistic)
