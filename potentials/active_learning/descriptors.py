"""A structure as one point: the mean features of its atoms, element by element."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from potentials.combine import Committee
from potentials.neighbours import graph_for
from potentials.potential import Potential

BINS, REACH = 32, 6.0  # of the histogram of distances that serves where a potential has no features; Å


def descriptors_of(structures: Sequence[Atoms], potential: Potential, elements: Sequence[int]) -> np.ndarray:
    """Points (n_structures, n_elements * n_features): of each element the mean of its atoms' features times their share in the structure.

    Parameters
    ----------
    potential : whose `atomic_features` are taken; of a committee those of its first member. Where it has none, histograms of distances take their place.
    elements : atomic numbers; the same for all calls whose points are compared.
    """
    own = potential.members[0] if isinstance(potential, Committee) else potential
    return np.array([_of(atoms, own, elements) for atoms in structures])  # type: ignore[arg-type]


@torch.no_grad()
def _of(atoms: Atoms, potential: Potential, elements: Sequence[int]) -> np.ndarray:
    weight = next(potential.parameters(), None)
    found = potential.atomic_features(graph_for(atoms, potential).to("cpu" if weight is None else weight.device))
    features = _histograms(atoms) if found is None else found.double().cpu().numpy()
    return np.concatenate([features[atoms.numbers == z].sum(0) / len(atoms) for z in elements])


def _histograms(atoms: Atoms) -> np.ndarray:
    """Smeared histograms of the distances of each atom to others, (n_atoms, BINS)."""
    from ase.neighborlist import neighbor_list

    i, d = neighbor_list("id", atoms, REACH)
    centres = np.linspace(0.5, REACH, BINS)
    width = centres[1] - centres[0]
    found = np.zeros((len(atoms), BINS))
    np.add.at(found, i, np.exp(-0.5 * np.square((d[:, None] - centres) / width)))
    return found
