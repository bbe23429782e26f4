"""Errors of a potential over many batches, in meV per atom and meV/Å."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from potentials.data.dataset import Batch
from potentials.training.loss import Prediction


@dataclass(frozen=True)
class Errors:
    """Mean absolute and root mean square errors; forces by component. NaN where there was no label."""

    energy_mae_meV_atom: float
    energy_rmse_meV_atom: float
    forces_mae_meV_A: float
    forces_rmse_meV_A: float
    stress_mae_meV_A3: float
    frames: int
    atoms: int
    forces_mae_x_meV_A: float = float("nan")  # along x, y, z apart: a potential that is not equivariant may favour a direction
    forces_mae_y_meV_A: float = float("nan")
    forces_mae_z_meV_A: float = float("nan")


def known_errors(errors: Errors) -> dict[str, float]:
    """Errors that there were labels for, by name, with the numbers of frames and atoms."""
    return {name: value for name, value in asdict(errors).items() if value == value}


@dataclass
class _Sum:
    """Sums of |x| and x² over what is finite."""

    absolute: float = 0.0
    squares: float = 0.0
    count: int = 0

    def add(self, x: Tensor) -> None:
        x = x[torch.isfinite(x)]
        self.absolute += float(x.abs().sum())
        self.squares += float(x.square().sum())
        self.count += x.numel()

    @property
    def mae(self) -> float:
        return self.absolute / self.count if self.count else float("nan")

    @property
    def rmse(self) -> float:
        return (self.squares / self.count) ** 0.5 if self.count else float("nan")


@dataclass
class ErrorSums:
    """Errors as they add up. A prediction that is not finite makes the error of its batch infinite, never smaller."""

    energy: _Sum = field(default_factory=_Sum)
    forces: _Sum = field(default_factory=_Sum)
    stress: _Sum = field(default_factory=_Sum)
    axes: tuple[_Sum, _Sum, _Sum] = field(default_factory=lambda: (_Sum(), _Sum(), _Sum()))  # of forces along x, y, z
    frames: int = 0
    atoms: int = 0

    @torch.no_grad()
    def add(self, prediction: Prediction, batch: Batch) -> None:
        self.energy.add(_difference(prediction.energy, batch.energy) / batch.atom_counts)
        if prediction.forces is not None:
            off = _difference(prediction.forces, batch.forces)
            self.forces.add(off)
            for along, component in zip(self.axes, off.unbind(1)):
                along.add(component)
        if prediction.stress is not None:
            self.stress.add(_difference(prediction.stress, batch.stress))
        self.frames += len(batch.energy)
        self.atoms += batch.graph.n_atoms

    def state(self) -> dict[str, list[float]]:
        """The sums as plain numbers."""
        parts = {name: getattr(self, name) for name in ("energy", "forces", "stress")}
        axes = [number for s in self.axes for number in (s.absolute, s.squares, s.count)]
        return {"counts": [self.frames, self.atoms], **{name: [s.absolute, s.squares, s.count] for name, s in parts.items()}, "axes": axes}

    @classmethod
    def from_state(cls, state: dict[str, list[float]]) -> ErrorSums:
        """The inverse of `state`; empty sums from an empty one."""
        if not state:
            return cls()
        parts = {name: _Sum(state[name][0], state[name][1], int(state[name][2])) for name in ("energy", "forces", "stress")}
        n = state.get("axes", [0.0] * 9)  # states of earlier versions have none
        axes = (_Sum(n[0], n[1], int(n[2])), _Sum(n[3], n[4], int(n[5])), _Sum(n[6], n[7], int(n[8])))
        return cls(**parts, axes=axes, frames=int(state["counts"][0]), atoms=int(state["counts"][1]))

    def errors(self) -> Errors:
        return Errors(
            energy_mae_meV_atom=1000 * self.energy.mae,
            energy_rmse_meV_atom=1000 * self.energy.rmse,
            forces_mae_meV_A=1000 * self.forces.mae,
            forces_rmse_meV_A=1000 * self.forces.rmse,
            stress_mae_meV_A3=1000 * self.stress.mae,
            frames=self.frames,
            atoms=self.atoms,
            **{f"forces_mae_{x}_meV_A": 1000 * along.mae for x, along in zip("xyz", self.axes)},
        )


def _difference(predicted: Tensor, label: Tensor) -> Tensor:
    """Label by label; NaN without a label, a huge number where there is a label but the prediction is not finite."""
    x = predicted.double() - label
    return torch.where(torch.isfinite(label) & ~torch.isfinite(x), torch.full_like(x, 1e12), x)
