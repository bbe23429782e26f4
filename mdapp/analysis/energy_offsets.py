r"""Are the energies adrift? The part of the energy error that other reference energies of the elements would take away.

.. math:: E_k - E^*_k = \sum_Z n_{kZ} \Delta_Z + \text{rest}

A rest that is much smaller than the error says that the potential has the right shape and the wrong zero: the reference energies of the elements, or the
level of theory of the labels, are others. Trained on forces alone, a potential looks like that.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdapp.analysis.errors import FrameTable


@dataclass(frozen=True)
class EnergyOffsets:
    """What is left of the energy error once each element's reference energy is moved."""

    rest_mae_meV_atom: float
    rest_rmse_meV_atom: float
    by_element_meV: dict[str, float]  # the moves, by symbol; empty where the compositions do not determine them one by one


def energy_offsets(table: FrameTable) -> EnergyOffsets | None:
    """The least-squares moves of reference energies over all labelled frames, weighted as errors per atom; None without labels."""
    known = np.isfinite(table.energy) & np.isfinite(table.predicted_energy)
    if not known.any():
        return None
    n = table.n_atoms[known]
    off = 1000 * (table.predicted_energy[known] - table.energy[known]) / n  # meV/atom
    names, which = np.unique(table.composition[known].astype(str), return_inverse=True)
    symbols, counts = _counts(list(names))
    fractions = counts[which] / n[:, None]
    moves, _, rank, _ = np.linalg.lstsq(fractions, off, rcond=1e-10)
    rest = off - fractions @ moves
    determined = dict(zip(symbols, moves.tolist())) if rank == len(symbols) else {}
    return EnergyOffsets(float(np.abs(rest).mean()), float(np.sqrt(np.mean(rest**2))), determined)


def _counts(formulas: list[str]) -> tuple[list[str], np.ndarray]:
    """Elements in the alphabet's order, and how many atoms of each a formula has, (n_formulas, n_elements)."""
    from ase.formula import Formula

    counted = [Formula(f).count() for f in formulas]
    symbols = sorted({symbol for one in counted for symbol in one})
    return symbols, np.array([[one.get(symbol, 0) for symbol in symbols] for one in counted], dtype=float)
