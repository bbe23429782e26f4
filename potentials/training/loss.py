"""The loss: energies, forces, stress, partial charges and dipoles against their labels.

With mean squares, over the S structures of a batch with N atoms in all:

.. math::
    L = w_E \\frac{1}{S} \\sum_s \\left( \\frac{E_s - E^*_s}{n_s} \\right)^2
      + w_F \\frac{1}{3N} \\sum_i |F_i - F^*_i|^2 + w_\\sigma \\frac{1}{9S} \\sum_s |\\sigma_s - \\sigma^*_s|^2
      + w_q \\frac{1}{N} \\sum_i (q_i - q^*_i)^2 + w_\\mu \\frac{1}{3S} \\sum_s |\\mu_s - \\mu^*_s|^2

Against dead units, wake x mean_s(<|F*|> / <|F|>) may be added while training begins (after GNNforMD's warm-up).

"mae" puts |x|, and "huber" x²/2 below delta and delta (|x| - delta/2) above, in the place of x². A mean is taken over
what has a label: a label that is NaN counts nowhere. With energy_per = "structure" and beta = w_F = 1 - w_E it is the
loss of the So3krates papers (Frank et al., Nat. Commun. 15, 6539 (2024), Methods).

The dipole is sum_i q_i (r_i - r_0). For a neutral structure r_0 does not matter; for a charged one label and prediction must
mean the same: r_0 is the origin of the positions ("positions"), or the centre of mass or of geometry, as the label was made.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from ase.data import atomic_masses, atomic_numbers
from torch import Tensor

from potentials.data.dataset import Batch
from potentials.graph import AtomicGraph, sum_over_atoms
from potentials.training.config import LossConfig
from potentials.training.heads import LEAST_SPREAD, likelihood


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a batch; None for what was not asked for."""

    energy: Tensor  # (n_structures,) float64, eV
    forces: Tensor | None  # (n_atoms, 3), eV/Å
    stress: Tensor | None = None  # (n_structures, 3, 3), eV/Å³
    charges: Tensor | None = None  # (n_atoms,), e
    head_energy: Tensor | None = None  # (n_structures, n_heads) float64, eV, of a potential with several heads
    head_forces: Tensor | None = None  # (n_heads, n_atoms, 3), eV/Å, where all are asked for


@dataclass(frozen=True)
class Term:
    """One term of the loss before its weight: a sum over what has a label, and how much that is."""

    total: Tensor  # scalar, float64
    count: Tensor  # scalar; 0 where nothing has a label

    @property
    def mean(self) -> Tensor:
        return self.total / self.count.clamp(min=1)


def loss(prediction: Prediction, batch: Batch, config: LossConfig, progress: float = 0.0) -> Tensor:
    """The loss of a batch, a scalar; see the module's head.

    Parameters
    ----------
    progress : part of the training that lies behind, 0 to 1.
    """
    weights = weights_at(config, progress)
    parts = [weights[name] * term.mean for name, term in loss_terms(prediction, batch, config).items()]
    return sum(parts[1:], parts[0])


def weights_at(config: LossConfig, progress: float) -> dict[str, float]:
    """Weights of the terms at this part of the training, 0 to 1: energy and forces may glide or jump to late ones."""
    late = _lateness(config, progress)

    def glide(early: float, to: float | None) -> float:
        return early if to is None else (1 - late) * early + late * to

    return {
        "energy": glide(config.energy, config.late_energy), "forces": glide(config.forces, config.late_forces),
        "stress": config.stress, "charges": config.charges, "dipole": config.dipole, "wake": config.wake if progress < config.wake_until else 0.0,
    }  # fmt: skip


def _lateness(config: LossConfig, progress: float) -> float:
    """0 before `late_from`, 1 from `late_until` (or `late_from`) on, and between them as `late_shape` says."""
    if config.late_until is None or progress <= config.late_from or progress >= config.late_until:
        return float(progress >= (config.late_from if config.late_until is None else config.late_until))
    x = (progress - config.late_from) / (config.late_until - config.late_from)
    return x if config.late_shape == "linear" else 0.5 * (1 - math.cos(math.pi * x))


def loss_terms(prediction: Prediction, batch: Batch, config: LossConfig) -> dict[str, Term]:
    """The terms that have a weight, by name, as sums and counts: those of several batches may be added before the means are taken."""
    n = batch.atom_counts
    per = n if config.energy_per == "atom" else torch.ones_like(n)
    rho = _pointwise(config.energy_kind or config.kind, config.energy_huber_delta or config.huber_delta)
    labelled = torch.isfinite(batch.energy)
    terms = {"energy": Term(rho(_difference(prediction.energy, batch.energy, labelled) / per).sum(), labelled.sum())}
    if batch.head_weights is not None:
        terms["energy"] = _energy_of_heads(prediction, batch, config, per, rho)
    if config.learns_forces:
        assert prediction.forces is not None, "forces have a weight but were not computed"
        terms["forces"] = _force_term(prediction.forces, batch, config) if prediction.head_forces is None else _likely_forces(prediction.head_forces, batch)
    if config.wake > 0:
        assert prediction.forces is not None, "forces have a weight but were not computed"
        terms["wake"] = _wake_term(prediction.forces, batch)
    if config.stress > 0:
        assert prediction.stress is not None, "stress has a weight but was not computed"
        labelled = torch.isfinite(batch.stress).all(dim=2).all(dim=1)
        rho = _pointwise(config.stress_kind or config.kind, config.huber_delta)
        off = _difference(prediction.stress, batch.stress, labelled[:, None, None])
        terms["stress"] = Term(rho(off).mean(dim=(1, 2)).sum(), labelled.sum())
    if config.charges > 0:
        assert prediction.charges is not None, "charges have a weight but the potential gives none"
        labelled = torch.isfinite(batch.charges)
        rho = _pointwise(config.charges_kind or config.kind, config.huber_delta)
        terms["charges"] = Term(rho(_difference(prediction.charges.double(), batch.charges, labelled)).sum(), labelled.sum())
    if config.dipole > 0:
        assert prediction.charges is not None, "the dipole has a weight but the potential gives no charges"
        isolated = ~batch.graph.cell.any(dim=2).any(dim=1)  # in a cell, a dipole means nothing
        labelled = torch.isfinite(batch.dipole).all(dim=1) & isolated
        rho = _pointwise(config.dipole_kind or config.kind, config.huber_delta)
        off = _difference(dipole_about(prediction.charges, batch.graph, config.dipole_origin), batch.dipole, labelled[:, None])
        terms["dipole"] = Term(rho(off).mean(dim=1).sum(), labelled.sum())
    return terms


def dipole_about(charges: Tensor, graph: AtomicGraph, origin: str) -> Tensor:
    """mu = sum_i q_i (r_i - r_0), (n_structures, 3), e Å.

    Parameters
    ----------
    charges : (n_atoms,), e.
    origin : "positions" (r_0 = 0), "mass" or "geometry" (the centre of each structure).
    """
    r = graph.positions
    if origin != "positions":
        masses = torch.as_tensor(atomic_masses, dtype=r.dtype, device=r.device).index_select(0, graph.numbers)
        w = masses if origin == "mass" else torch.ones_like(masses)
        centre = sum_over_atoms(w[:, None] * r, graph) / sum_over_atoms(w, graph)[:, None]
        r = r - centre.index_select(0, graph.structure)
    return sum_over_atoms(charges.double()[:, None] * r, graph)


def _force_term(forces: Tensor, batch: Batch, config: LossConfig) -> Term:
    labelled = torch.isfinite(batch.forces).all(dim=1)  # (n_atoms,)
    rho = _pointwise(config.forces_kind or config.kind, config.huber_delta)
    per_atom = rho(_difference(forces, batch.forces, labelled[:, None])).mean(dim=1)  # (n_atoms,)
    weights = labelled.to(per_atom.dtype)
    for symbol, weight in config.force_weights.items():
        weights = torch.where(batch.graph.numbers == atomic_numbers[symbol], weight * weights, weights)
    if config.force_reduction == "global":
        return Term((weights * per_atom).sum(), weights.sum() if config.force_weights else labelled.sum())
    structure, zeros = batch.graph.structure, per_atom.new_zeros(len(batch.energy))
    counts = zeros.index_add(0, structure, weights)
    known = counts > 0
    return Term((zeros.index_add(0, structure, weights * per_atom) / torch.where(known, counts, 1.0)).sum(), known.sum())


def _energy_of_heads(prediction: Prediction, batch: Batch, config: LossConfig, per: Tensor, rho: Callable[[Tensor], Tensor]) -> Term:
    """Energies as the heads of a shallow ensemble learn them; see `potentials.training.heads`."""
    e, weights = prediction.head_energy, batch.head_weights  # (n_structures, n_heads)
    assert e is not None and weights is not None, "energies of heads are learnt but were not computed"
    labelled = torch.isfinite(batch.energy)
    if config.heads == "nll":
        known = e[labelled] / per[labelled, None]
        return Term(likelihood(known.T, batch.energy[labelled] / per[labelled], LEAST_SPREAD["energy"]).sum(), labelled.sum())
    weights = weights * labelled[:, None]
    off = _difference(e, batch.energy[:, None], labelled[:, None]) / per[:, None]
    return Term((weights * rho(off)).sum(), weights.sum())


def _likely_forces(of_heads: Tensor, batch: Batch) -> Term:
    labelled = torch.isfinite(batch.forces).all(dim=1)
    said, label = of_heads[:, labelled].flatten(1), batch.forces[labelled].flatten()
    return Term(likelihood(said, label, LEAST_SPREAD["forces"]).sum() / 3, labelled.sum())


def _wake_term(forces: Tensor, batch: Batch) -> Term:
    """mean |F*| / mean |F| of each structure: large while a potential says 0, and 1 where it has learnt the size of forces."""
    structure = batch.graph.structure
    labelled = torch.isfinite(batch.forces).all(dim=1)
    zeros = torch.zeros_like(batch.energy)
    label = zeros.index_add(0, structure, torch.where(labelled[:, None], batch.forces, 0.0).abs().sum(dim=1))
    said = zeros.index_add(0, structure, torch.where(labelled[:, None], forces, 0.0).double().abs().sum(dim=1))
    known = label > 0
    return Term(torch.where(known, label / said.clamp(min=1e-12), 0.0).sum(), known.sum())


def _difference(predicted: Tensor, label: Tensor, labelled: Tensor) -> Tensor:
    """predicted - label, and exactly 0 with no gradient where there is no label: NaN would spread through the gradient."""
    return torch.where(labelled, predicted, predicted.detach()) - torch.where(labelled, label, predicted.detach())


def _pointwise(kind: str, delta: float) -> Callable[[Tensor], Tensor]:
    if kind == "mse":
        return torch.square
    if kind == "mae":
        return torch.abs
    return lambda x: torch.nn.functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=delta)
