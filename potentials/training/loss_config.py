"""What a loss is made of: the part of a training run under [train.loss]."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ase.data import atomic_numbers

Kind = Literal["mse", "mae", "huber"]


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; see `potentials.training.loss`."""

    energy: float = 1.0  # on ((E - E*) / n_atoms)^2, eV²
    forces: float = 1.0  # on |F - F*|^2 / 3, (eV/Å)²
    stress: float = 0.0  # on the mean square of the nine components, (eV/Å³)²
    charges: float = 0.0  # on (q - q*)^2, e²; for a potential that gives partial charges
    dipole: float = 0.0  # on the mean square of the three components, (e Å)²; for the same, isolated structures only
    beta: float | None = None  # the form of the So3krates papers: energy = 1 - beta, forces = beta
    energy_per: Literal["atom", "structure"] = "atom"  # "structure": on (E - E*)^2, as those papers have it
    kind: Kind = "mse"  # of all terms; the next five say otherwise
    energy_kind: Kind | None = None
    forces_kind: Kind | None = None
    stress_kind: Kind | None = None
    charges_kind: Kind | None = None
    dipole_kind: Kind | None = None
    huber_delta: float = 0.1  # eV per atom, eV/Å, ...; beyond it the loss grows linearly
    energy_huber_delta: float | None = None  # of the energy alone
    force_reduction: Literal["global", "structure"] = "global"  # mean over all atoms, or over each structure's atoms first
    force_weights: dict[str, float] = field(default_factory=dict)  # of the atoms of an element by its symbol, in the mean over atoms; 1 for the others
    dipole_origin: Literal["positions", "mass", "geometry"] = "positions"  # of a charged structure's dipole: origin of the positions, or a centre
    wake: float = 0.0  # on mean |F*| / mean |F|, which pushes forces away from 0 where units are dead and nothing is learnt; until `wake_until`
    wake_until: float = 0.1  # part of the training
    late_energy: float | None = None  # weight of the energy from `late_from` on
    late_forces: float | None = None  # and of the forces
    late_from: float = 0.75  # part of the training
    late_until: float | None = None  # the weights glide until then; they jump at `late_from` when not given
    late_shape: Literal["linear", "cosine"] = "cosine"  # of the glide
    heads: Literal["each", "nll"] = "each"  # of a potential with several: "each" learns by itself, from a bootstrap of the frames; "nll": their mean and
    # spread as a normal distribution, by its negative log likelihood, which makes the spread an error bar and takes a backward pass for each head
    bootstrap: bool = True  # "each": False learns every head from every frame

    def __post_init__(self):
        if self.beta is not None:
            self._take_beta()
        weights = {"energy": self.energy, "forces": self.forces, "stress": self.stress, "charges": self.charges, "dipole": self.dipole,
                   "late_energy": self.late_energy or 0.0, "late_forces": self.late_forces or 0.0, "wake": self.wake}  # fmt: skip
        for name, weight in weights.items():
            if not weight >= 0:
                raise ValueError(f"{name} must be 0 or more, got {weight}.")
        if not self.energy + self.forces + self.stress + self.charges + self.dipole > 0:
            raise ValueError("one of energy, forces and stress must have a weight above 0.")
        for name in ("huber_delta", "energy_huber_delta"):
            delta = getattr(self, name)
            if delta is not None and not delta > 0:
                raise ValueError(f"{name} must be > 0, got {delta}.")
        for symbol, weight in self.force_weights.items():
            if symbol not in atomic_numbers or symbol == "X":
                raise ValueError(f"force_weights names no element with {symbol!r}; use symbols such as 'O'.")
            if not weight >= 0:
                raise ValueError(f"force_weights of {symbol} must be 0 or more, got {weight}.")
        if not 0 < self.wake_until <= 1:
            raise ValueError(f"wake_until must be above 0 and at most 1, got {self.wake_until}.")
        if self.wake > 0 and not self.learns_forces:
            raise ValueError("wake keeps forces from 0, but forces have no weight in the loss.")
        if not 0 <= self.late_from <= 1:
            raise ValueError(f"late_from must be between 0 and 1, got {self.late_from}.")
        if self.late_until is not None and not self.late_from < self.late_until <= 1:
            raise ValueError(f"late_until must be above late_from ({self.late_from}) and at most 1, got {self.late_until}.")
        if self.late_until is not None and self.late_energy is None and self.late_forces is None:
            raise ValueError("late_until is given, but neither late_energy nor late_forces says where the weights glide to.")

    def _take_beta(self) -> None:
        beta = self.beta
        assert beta is not None
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be between 0 and 1, got {beta}.")
        if self.energy not in (1.0, 1 - beta) or self.forces not in (1.0, beta):
            raise ValueError(f"beta = {beta} stands for energy = {1 - beta:g} and forces = {beta:g}; leave energy and forces out.")
        object.__setattr__(self, "energy", 1 - beta)
        object.__setattr__(self, "forces", beta)

    @property
    def learns_energy(self) -> bool:
        return self.energy > 0 or (self.late_energy or 0.0) > 0

    @property
    def learns_forces(self) -> bool:
        return self.forces > 0 or (self.late_forces or 0.0) > 0
