"""A training run as frozen records: what a TOML file says under [train]."""
from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from potentials.data.labelled import LabelKeys
from potentials.data.units import Units
from potentials.typed import ConfigError, from_mapping


@dataclass(frozen=True)
class DataConfig:
    """Where labels come from."""

    train: tuple[str, ...] | str  # files
    validation: tuple[str, ...] | str = ()  # files; part of the training files when empty
    validation_fraction: float = 0.05
    split_by: Literal["frame", "molecule"] = "frame"
    format: str | None = None  # from the suffix when not given
    keys: LabelKeys = LabelKeys()
    units: Units | None = None  # those of the format when not given
    reference_energies: Literal["fit"] | dict[str, float] = "fit"  # eV by symbol
    charged: Literal["refuse", "keep", "drop"] = "refuse"  # frames with a total charge, for a potential that knows none

    def __post_init__(self):
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, got {self.validation_fraction}.")
        if not self.train:
            raise ValueError("train must name at least one file.")


@dataclass(frozen=True)
class PotentialConfig:
    """The architecture by name, and its own settings."""

    name: str = "so3krates"
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; see `potentials.training.loss`."""

    energy: float = 1.0  # on ((E - E*) / n_atoms)^2, eV²
    forces: float = 1.0  # on |F - F*|^2 / 3, (eV/Å)²
    stress: float = 0.0  # on the mean square of the nine components, (eV/Å³)²
    kind: Literal["mse", "mae", "huber"] = "mse"
    huber_delta: float = 0.1  # eV per atom and eV/Å; beyond it the loss grows linearly
    force_reduction: Literal["global", "structure"] = "global"  # mean over all atoms, or over each structure's atoms first
    late_energy: float | None = None  # weight of the energy from `late_from` on
    late_from: float = 0.75  # part of the training

    def __post_init__(self):
        weights = {"energy": self.energy, "forces": self.forces, "stress": self.stress, "late_energy": self.late_energy or 0.0}
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"{name} must be 0 or more, got {weight}.")
        if not self.energy + self.forces + self.stress > 0:
            raise ValueError("one of energy, forces and stress must have a weight above 0.")
        if not self.huber_delta > 0:
            raise ValueError(f"huber_delta must be > 0, got {self.huber_delta}.")
        if not 0 <= self.late_from <= 1:
            raise ValueError(f"late_from must be between 0 and 1, got {self.late_from}.")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, its schedule, and the running mean of weights."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    amsgrad: bool = False
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    final_learning_rate: float = 1e-6  # reached at the end by "cosine" and "exponential"
    warmup_steps: int = 200
    clip: float | None = 10.0  # largest norm of the gradient; None: no limit
    ema: float = 0.999  # 0: none

    def __post_init__(self):
        if not self.learning_rate > 0 or not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError(f"0 < final_learning_rate <= learning_rate, got {self.final_learning_rate} and {self.learning_rate}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema}.")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be > 0, got {self.clip}.")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise ValueError(f"warmup_steps and weight_decay must be 0 or more, got {self.warmup_steps} and {self.weight_decay}.")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. It ends at the first of `epochs`, `max_steps` and `max_hours` that is given."""

    data: DataConfig
    output: str = "training"
    potential: PotentialConfig = PotentialConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    level_of_theory: str = "not stated"  # of the labels; this and the next three are written into the potential's card
    energy_zero: str = "absolute: total energies as labelled"
    description: str = ""
    licence: str = ""
    epochs: int | None = None
    max_steps: int | None = None
    max_hours: float | None = None  # the schedule then runs on the clock; not reproducible to the bit
    batch_size: int | None = 16  # structures
    batch_edges: int | None = None  # directed edges
    validate_every: int = 500  # steps
    validation_frames: int = 400  # drawn once; all of them at the end
    print_every: int = 50  # steps
    seed: int = 0
    device: str = "cpu"
    dtype: Literal["float32", "float64"] = "float32"
    threads: int | None = None  # of torch; its own choice when not given
    compile: bool = False  # compile the training step (`mdapp train` and `mdapp.jobs.train` do; takes minutes, then pays)

    def __post_init__(self):
        if self.epochs is None and self.max_steps is None and self.max_hours is None:
            raise ValueError("say when to stop: epochs, max_steps or max_hours.")
        if self.batch_size is None and self.batch_edges is None:
            raise ValueError("give batch_size (structures) or batch_edges (edges), or both.")
        for name in ("epochs", "max_steps", "max_hours", "batch_size", "batch_edges", "validate_every", "validation_frames", "print_every", "threads"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}.")


def read_config(path: str | Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """The training run that a TOML file describes under [train].

    Parameters
    ----------
    changes : keys of [train] that take the place of the file's.

    Raises
    ------
    FileNotFoundError : no such file.
    ConfigError : not TOML, no [train], an unknown key or a value that does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}.")
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    if "train" not in content:
        raise ConfigError(f"{path} has no section [train]; there: {', '.join(content) or 'nothing'}.")
    return from_mapping(TrainConfig, {**content["train"], **(changes or {})}, "[train]")
