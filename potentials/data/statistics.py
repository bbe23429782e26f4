"""What a potential is told about its training data before it learns: energies of atoms, numbers of neighbours, scale.

Frames are looked at some thousands at a time, in float64: a million of them need no more memory than ten thousand. Least
squares go over a triangular factor that takes up the rows piece by piece, so that they are as well conditioned as if all
rows were there at once (normal equations would square the condition number).

G. H. Golub and C. F. Van Loan, Matrix Computations (2013), 6.5.2 (updating a QR factorisation by rows).
"""
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from potentials.data.dataset import Dataset
from potentials.data.labelled import DataError
from potentials.data.pairlists import ranges

log = logging.getLogger(__name__)

_TOGETHER = 8192  # frames that are looked at at a time


@dataclass(frozen=True)
class Statistics:
    """Of the training frames only."""

    reference_energies: dict[int, float]  # eV by atomic number
    mean_neighbours: float  # pairs per atom within the cutoff
    energy_spread: float  # standard deviation of (E - sum of reference energies) / n_atoms, eV; NaN without energies
    force_rms: float  # root mean square of a force component, eV/Å; NaN without forces


def statistics(dataset: Dataset, indices: np.ndarray, reference_energies: dict[int, float] | None = None) -> Statistics:
    """Statistics of the frames of `indices`; reference energies are fitted to them where none are given."""
    energies = fit_reference_energies(dataset, indices) if reference_energies is None else reference_energies
    missing = [chemical_symbols[z] for z in elements_of(dataset, indices) if z not in energies]
    if missing:
        raise DataError(f"No reference energy for {', '.join(missing)}, which the training data contain. Give one, or let all be fitted.")
    residuals, squares, n_forces = [], 0.0, 0
    for some in pieces(indices):
        residual = residual_per_atom(dataset, some, energies)
        residuals.append(residual[np.isfinite(residual)])
        forces = dataset.forces[ranges(dataset.start, some)].astype(np.float64)
        forces = forces[np.isfinite(forces)]
        squares, n_forces = squares + float(np.square(forces).sum()), n_forces + forces.size
    residual = np.concatenate(residuals)
    return Statistics(
        reference_energies=energies,
        mean_neighbours=float(dataset.edge_counts[indices].sum() / dataset.atom_counts[indices].sum()),
        energy_spread=float(np.std(residual)) if residual.size else float("nan"),
        force_rms=float(np.sqrt(squares / n_forces)) if n_forces else float("nan"),
    )


def fit_reference_energies(dataset: Dataset, indices: np.ndarray) -> dict[int, float]:
    r"""Energies of elements that explain the total energies best, eV by atomic number.

    .. math:: \min_{E_Z} \sum_k \Big( E_k - \sum_Z n_{kZ} E_Z \Big)^2 / n_k^2

    Where compositions do not determine them (one molecule only, say), the smallest ones that fit as well are taken: any
    other choice would give the same sums for these compositions. Frames without an energy do not count.
    """
    elements = elements_of(dataset, indices)
    factor = np.zeros((0, len(elements) + 1))  # R of the rows so far, [composition, energy] by atom
    for some in pieces(indices):
        counts = _counts(dataset, some, elements)
        n = dataset.atom_counts[some].astype(np.float64)
        rows = np.column_stack([counts, dataset.energy[some]]) / n[:, None]
        factor = np.linalg.qr(np.concatenate([factor, rows[np.isfinite(rows[:, -1])]]), mode="r")
    E, _, rank, _ = np.linalg.lstsq(factor[:, :-1], factor[:, -1], rcond=1e-10)
    symbols = ", ".join(chemical_symbols[z] for z in elements)
    if not len(factor):
        log.warning("No training frame has an energy: the reference energies of %s are 0, and energies mean nothing.", symbols)
    elif rank < len(elements):
        log.warning("Compositions do not determine the reference energies of %s one by one (rank %d of %d): "
                    "only sums for compositions like the training data's mean something.", symbols, rank, len(elements))  # fmt: skip
    return {z: float(e) for z, e in zip(elements, E)}


def elements_of(dataset: Dataset, indices: np.ndarray) -> tuple[int, ...]:
    """Atomic numbers that occur in these frames, ascending."""
    found = np.zeros(max(dataset.elements) + 1, dtype=bool)
    for some in pieces(indices):
        found[dataset.numbers[ranges(dataset.start, some)]] = True
    return tuple(int(z) for z in np.flatnonzero(found))


def composition(dataset: Dataset, indices: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Elements of these frames, ascending, and how many atoms of each a frame has, (n_frames, n_elements) float64."""
    elements = elements_of(dataset, indices)
    counts = [_counts(dataset, some, elements) for some in pieces(indices)]
    return elements, np.concatenate(counts) if counts else np.zeros((0, len(elements)))


def residual_per_atom(dataset: Dataset, indices: np.ndarray, reference_energies: dict[int, float]) -> np.ndarray:
    """(E - sum of reference energies) / n_atoms, (n_frames,), eV; NaN without an energy."""
    elements, counts = composition(dataset, indices)
    return (dataset.energy[indices] - counts @ np.array([reference_energies[z] for z in elements])) / counts.sum(axis=1)


def _counts(dataset: Dataset, indices: np.ndarray, elements: tuple[int, ...]) -> np.ndarray:
    """Atoms of each element in each frame, (n_frames, n_elements) float64."""
    column = np.zeros(max(elements, default=0) + 1, dtype=np.int64)
    column[list(elements)] = np.arange(len(elements))
    row = np.repeat(np.arange(len(indices)), dataset.atom_counts[indices])
    cells = row * len(elements) + column[dataset.numbers[ranges(dataset.start, indices)]]
    return np.bincount(cells, minlength=len(indices) * len(elements)).reshape(len(indices), len(elements)).astype(np.float64)


def pieces(indices: np.ndarray) -> Iterator[np.ndarray]:
    """These indices, some thousands at a time."""
    indices = np.asarray(indices, dtype=np.int64)
    for begin in range(0, len(indices), _TOGETHER):
        yield indices[begin : begin + _TOGETHER]
