"""What a potential is told about its training data before it learns: energies of atoms, numbers of neighbours, scale."""
from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from potentials.data.dataset import Dataset
from potentials.data.labelled import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statistics:
    """Of the training frames only."""

    reference_energies: dict[int, float]  # eV by atomic number
    mean_neighbours: float  # pairs per atom within the cutoff
    energy_spread: float  # standard deviation of (E - sum of reference energies) / n_atoms, eV
    force_rms: float  # root mean square of a force component, eV/Å; NaN without forces


def statistics(dataset: Dataset, indices: np.ndarray, reference_energies: dict[int, float] | None = None) -> Statistics:
    """Statistics of the frames of `indices`; reference energies are fitted to them where none are given."""
    energies = fit_reference_energies(dataset, indices) if reference_energies is None else reference_energies
    missing = [chemical_symbols[z] for z in composition(dataset, indices)[0] if z not in energies]
    if missing:
        raise DataError(f"No reference energy for {', '.join(missing)}, which the training data contain. Give one, or let all be fitted.")
    forces = np.concatenate([dataset.forces[dataset.start[k] : dataset.start[k + 1]] for k in indices])
    forces = forces[np.isfinite(forces)]
    return Statistics(
        reference_energies=energies,
        mean_neighbours=float(dataset.edge_counts[indices].sum() / dataset.atom_counts[indices].sum()),
        energy_spread=float(np.std(residual_per_atom(dataset, indices, energies))),
        force_rms=float(np.sqrt(np.mean(np.square(forces, dtype=np.float64)))) if forces.size else float("nan"),
    )


def fit_reference_energies(dataset: Dataset, indices: np.ndarray) -> dict[int, float]:
    r"""Energies of elements that explain the total energies best, eV by atomic number.

    .. math:: \min_{E_Z} \sum_k \Big( E_k - \sum_Z n_{kZ} E_Z \Big)^2 / n_k^2

    Where compositions do not determine them (one molecule only, say), the smallest ones that fit as well are taken: any
    other choice would give the same sums for these compositions.
    """
    elements, counts = composition(dataset, indices)
    n = counts.sum(axis=1)
    E, _, rank, _ = np.linalg.lstsq(counts / n[:, None], dataset.energy[indices] / n, rcond=1e-10)
    if rank < len(elements):
        symbols = ", ".join(chemical_symbols[z] for z in elements)
        log.warning("Compositions do not determine the reference energies of %s one by one (rank %d of %d): "
                    "only sums for compositions like the training data's mean something.", symbols, rank, len(elements))  # fmt: skip
    return {z: float(e) for z, e in zip(elements, E)}


def composition(dataset: Dataset, indices: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Elements of these frames, ascending, and how many atoms of each a frame has, (n_frames, n_elements) float64."""
    frame_of_atom = np.repeat(np.arange(len(dataset)), dataset.atom_counts)
    all_elements, column = np.unique(dataset.numbers, return_inverse=True)
    counts = np.bincount(frame_of_atom * len(all_elements) + column, minlength=len(dataset) * len(all_elements))
    counts = counts.reshape(len(dataset), len(all_elements))[indices].astype(np.float64)
    present = counts.any(axis=0)
    return tuple(int(z) for z in all_elements[present]), counts[:, present]


def residual_per_atom(dataset: Dataset, indices: np.ndarray, reference_energies: dict[int, float]) -> np.ndarray:
    """(E - sum of reference energies) / n_atoms, (n_frames,), eV."""
    elements, counts = composition(dataset, indices)
    return (dataset.energy[indices] - counts @ np.array([reference_energies[z] for z in elements])) / counts.sum(axis=1)
