"""Heavier hydrogens: mass moved to them from the atoms that they are bonded to, so that longer steps are stable.

Total mass and all equilibrium averages of positions stay what they were; motions of hydrogens get slower, and so, a little, does diffusion.

K. A. Feenstra, B. Hess and H. J. C. Berendsen, J. Comput. Chem. 20, 786 (1999); C. W. Hopkins et al., J. Chem. Theory Comput. 11, 1864 (2015).
"""
from __future__ import annotations

import numpy as np


def repartitioned(numbers: np.ndarray, masses: np.ndarray, bonds: np.ndarray, hydrogen_amu: float) -> np.ndarray:
    """Masses with each bonded hydrogen at `hydrogen_amu`, the difference taken from its heavy partner.

    Parameters
    ----------
    numbers, masses : (n_atoms,), amu. A hydrogen that is as heavy already (deuterium) stays as it is.
    bonds : (n_bonds, 2).

    Returns
    -------
    (n_atoms,), amu, with the same sum.

    Raises
    ------
    ValueError : no hydrogen is bonded to a heavy atom, or a heavy atom would become lighter than its hydrogens.
    """
    bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    bonds = bonds[(numbers[bonds] == 1).sum(axis=1) == 1]
    if not len(bonds):
        raise ValueError("heavy_hydrogens is given, but no hydrogen is bonded to a heavy atom. Leave it out.")
    hydrogen = np.where(numbers[bonds[:, 0]] == 1, bonds[:, 0], bonds[:, 1])
    partner = bonds.sum(axis=1) - hydrogen
    moved = np.maximum(0.0, hydrogen_amu - masses[hydrogen])
    new = np.array(masses, dtype=float)
    np.add.at(new, hydrogen, moved)
    np.subtract.at(new, partner, moved)
    light = partner[new[partner] < hydrogen_amu]
    if len(light):
        most = min((masses[p] + masses[hydrogen[partner == p]].sum()) / (1 + np.sum(partner == p)) for p in np.unique(light))
        raise ValueError(f"heavy_hydrogens = {hydrogen_amu:g} amu would leave atom {light[0]} with {new[light[0]]:.2f} amu, less than its hydrogens. "
                         f"Take at most {np.floor(100 * most) / 100:.2f}.")
    return new
