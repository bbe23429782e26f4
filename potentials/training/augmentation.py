"""Each structure of a batch turned by a rotation of its own, drawn evenly from all rotations.

For potentials that do not turn with the molecule by construction and must learn it from examples. A rotation is a unit quaternion whose direction in
four dimensions is uniform (K. Shoemake, Graphics Gems III, 1992), which is the Haar measure of SO(3); three uniform Euler angles are not.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from potentials.data.dataset import Batch


def random_rotations(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3) proper rotations, uniform in SO(3)."""
    q = rng.normal(size=(n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]  # fmt: skip
    return np.moveaxis(np.array(rows), 2, 0)


def turned(batch: Batch, rotations: np.ndarray) -> Batch:
    """The batch with each structure turned about the origin: positions, cell, and the labels that turn along.

    Parameters
    ----------
    rotations : (n_structures, 3, 3); a vector r becomes R r.
    """
    graph = batch.graph
    R = torch.as_tensor(rotations, dtype=torch.float64, device=graph.positions.device)
    of_atoms = R.index_select(0, graph.structure)

    def vectors(x: Tensor, by: Tensor) -> Tensor:
        return torch.einsum("nab,nb->na", by, x)

    return replace(
        batch,
        graph=replace(graph, positions=vectors(graph.positions, of_atoms), cell=graph.cell @ R.transpose(1, 2)),
        forces=vectors(batch.forces, of_atoms),
        dipole=vectors(batch.dipole, R),
        stress=R @ batch.stress @ R.transpose(1, 2),
    )


def turned_at_random(batch: Batch, indices: np.ndarray, seed: int, epoch: int) -> Batch:
    """The same in every run of this seed, resumed or not, with any number of processes; another rotation in every epoch."""
    rotations = [random_rotations(1, np.random.default_rng([seed, epoch, int(k), 3])) for k in indices]
    return turned(batch, np.concatenate(rotations))
