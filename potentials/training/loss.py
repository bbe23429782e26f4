"""The loss: energies per atom, forces and stress against their labels.

With mean squares, over the S structures of a batch with N atoms in all:

.. math::
    L = w_E \\frac{1}{S} \\sum_s \\left( \\frac{E_s - E^*_s}{n_s} \\right)^2
      + w_F \\frac{1}{3N} \\sum_i |F_i - F^*_i|^2 + w_\\sigma \\frac{1}{9S} \\sum_s |\\sigma_s - \\sigma^*_s|^2

"mae" puts |x|, and "huber" x²/2 below delta and delta (|x| - delta/2) above, in the place of x².
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.data.dataset import Batch
from potentials.training.config import LossConfig


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a batch; None for what was not asked for."""

    energy: Tensor  # (n_structures,) float64, eV
    forces: Tensor | None  # (n_atoms, 3), eV/Å
    stress: Tensor | None = None  # (n_structures, 3, 3), eV/Å³


def energy_weight(config: LossConfig, progress: float) -> float:
    """Weight of the energy at this part of the training, 0 to 1."""
    late = config.late_energy is not None and progress >= config.late_from
    return config.late_energy if late and config.late_energy is not None else config.energy


def loss(prediction: Prediction, batch: Batch, config: LossConfig, progress: float = 0.0) -> Tensor:
    """The loss of a batch, a scalar; see the module's head.

    Parameters
    ----------
    progress : part of the training that lies behind, 0 to 1.
    """
    rho = _pointwise(config)
    n = batch.atom_counts
    total = energy_weight(config, progress) * rho((prediction.energy - batch.energy) / n).mean()
    if config.forces > 0:
        assert prediction.forces is not None, "forces have a weight but were not computed"
        per_atom = rho(prediction.forces - batch.forces).mean(dim=1)  # (n_atoms,)
        if config.force_reduction == "structure":
            sums = per_atom.new_zeros(len(n)).index_add(0, batch.graph.structure, per_atom)
            total = total + config.forces * (sums / n).mean()
        else:
            total = total + config.forces * per_atom.mean()
    if config.stress > 0:
        assert prediction.stress is not None, "stress has a weight but was not computed"
        labelled = torch.isfinite(batch.stress).all(dim=2).all(dim=1)
        if labelled.any():
            total = total + config.stress * rho((prediction.stress - batch.stress)[labelled]).mean()
    return total


def _pointwise(config: LossConfig) -> Callable[[Tensor], Tensor]:
    if config.kind == "mse":
        return torch.square
    if config.kind == "mae":
        return torch.abs
    delta = config.huber_delta
    return lambda x: torch.nn.functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=delta)
