"""Statistics that a few wrong labels do not move: medians, and a fit of energies by element."""
from __future__ import annotations

import numpy as np

from potentials.data.cleaning.table import FrameTable


def spread(values: np.ndarray) -> float:
    """Robust standard deviation, 1.4826 times the median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")


def fit_by_element(table: FrameTable, chosen: np.ndarray) -> tuple[np.ndarray, bool]:
    r"""Energies of elements that explain the median energy per atom of most compositions.

    .. math:: \min_{E_Z} \sum_c w_c \rho\Big( \mathrm{median}_{k \in c} \frac{E_k}{n_k} - \sum_Z \frac{n_{cZ}}{n_c} E_Z \Big)

    with Tukey's biweight for :math:`\rho`, reached by reweighting, and w_c the number of frames of a composition, to its square root.

    Parameters
    ----------
    chosen : (n_frames,) bool, frames with an energy.

    Returns
    -------
    (n_elements,) eV, and whether there are more compositions than elements among them, so that a residual means something.
    """
    groups = grouped(table.composition, chosen)
    X = np.array([table.compositions[c] / table.compositions[c].sum() for c in groups])  # (n_groups, n_elements)
    y = np.array([np.median(table.energy[k] / table.n_atoms[k]) for k in groups.values()])
    weight = np.sqrt([len(k) for k in groups.values()])
    robust = np.ones(len(y))
    present = X.any(axis=0)
    E = np.zeros(len(table.elements))
    for _ in range(30):
        w = np.sqrt(weight * robust)
        E[present] = np.linalg.lstsq(X[:, present] * w[:, None], y * w, rcond=1e-10)[0]
        off = y - X @ E
        scale = max(spread(off), 1e-6 * float(np.abs(y).max()) + 1e-9)
        now = np.clip(1 - (off / (6 * scale)) ** 2, 1e-6, None) ** 2
        if np.allclose(now, robust, atol=1e-4):
            break
        robust = now
    return E, len(y) >= present.sum() + 5


def grouped(codes: np.ndarray, chosen: np.ndarray) -> dict[int, np.ndarray]:
    """Frames of each code among the chosen ones, (n,) ascending."""
    frames = np.flatnonzero(chosen)
    order = frames[np.argsort(codes[frames], kind="stable")]
    cuts = np.flatnonzero(np.diff(codes[order])) + 1
    return {int(codes[k[0]]): k for k in np.split(order, cuts) if len(k)}


def residuals(table: FrameTable, E: np.ndarray) -> np.ndarray:
    """(E - sum of the elements' energies) / n_atoms, (n_frames,), eV."""
    return (table.energy - (table.compositions @ E)[table.composition]) / table.n_atoms
