"""A training run as frozen records: what a TOML file says under [train]."""
from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from potentials.data.filters import FilterConfig
from potentials.data.labelled import LabelKeys
from potentials.data.lammps import LammpsConfig
from potentials.data.sources import FileConfig, Frames
from potentials.data.units import Units
from potentials.training.kalman import KalmanConfig
from potentials.training.loss_config import LossConfig
from potentials.typed import ConfigError, from_mapping

FINE_TUNING_RATE = 1e-4  # of a fine-tuning that does not say
BF16_REFUSED = (  # see potentials.training.precision
    "bf16-mixed is not offered: products in bfloat16 change forces by 4 to 7 meV/Å and energies by about 1 meV/atom, as much as a good potential errs. "
    "Use float32, under which energies are summed in float64 anyway."
)


@dataclass(frozen=True)
class DataConfig:
    """Where labels come from."""

    train: tuple[FileConfig | str, ...] | str  # files: names, or tables with a path and what is special about it
    validation: tuple[FileConfig | str, ...] | str = ()  # files; part of the training files when empty
    validation_fraction: float = 0.05
    split_by: Literal["frame", "molecule", "block"] = "frame"  # "block": the last frames in time of each molecule, not neighbours of training frames
    format: str | None = None  # from the suffix when not given
    keys: LabelKeys = LabelKeys()
    units: Units | None = None  # those of the format when not given
    lammps: LammpsConfig | None = None  # what a LAMMPS dump does not say of itself
    filters: FilterConfig = FilterConfig()  # frames that are wanted, of every file
    reference_energies: Literal["fit", "isolated"] | dict[str, float] = "fit"  # to the training part; of isolated atoms; or eV by symbol
    isolated_atoms: tuple[str, ...] | str = ()  # files of single atoms for "isolated"; single atoms among the training frames when empty
    missing_labels: Literal["refuse", "mask"] = "refuse"  # frames without energy or forces; "mask" learns from the labels that there are
    charged: Literal["refuse", "keep", "drop"] = "refuse"  # frames with a total charge, for a potential that knows none
    cleaning: Literal["report", "remove", "off"] = "report"  # suspected frames: told and listed, and left out where beyond doubt; all left out; not looked for
    cache: str | None = None  # folder of prepared data, made once and used again: the frames then need not fit in memory
    pairs: Literal["stored", "found"] = "stored"  # in that folder: written, or searched anew for each batch (large or dense structures)

    def __post_init__(self):
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, got {self.validation_fraction}.")
        if not self.train:
            raise ValueError("train must name at least one file.")
        if self.isolated_atoms and self.reference_energies != "isolated":
            raise ValueError("isolated_atoms are given, but reference_energies is not 'isolated'. Set it so, or leave them out.")

    def frames(self, files: Iterable[FileConfig | str] | str, filters: FilterConfig | None = None) -> Frames:
        """The frames of these files, read as this section says; nothing is opened yet. `filters` take the place of its own."""
        common = FileConfig("", self.format, self.keys, self.units, self.lammps)
        return Frames((files,) if isinstance(files, str) else files, common, self.filters if filters is None else filters)


@dataclass(frozen=True)
class PotentialConfig:
    """The architecture by name, and its own settings."""

    name: str = "so3krates"
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW (Adam where nothing decays) or SOAP, its schedule, and the running mean of weights; see `potentials.training.schedules`.

    "lbfgs" and "kalman" are for small networks; settings from learning_rate to ema mean nothing to them.
    """

    kind: Literal["adamw", "soap", "lbfgs", "kalman"] = "adamw"  # "soap": Adam in the eigenbasis of each matrix's gradients; takes about three times the rate of AdamW
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    amsgrad: bool = False
    matrix_betas: tuple[float, float] = (0.95, 0.95)  # "soap": in place of betas, for matrices
    refresh: int = 10  # "soap": steps between two refreshments of the eigenbases
    schedule: Literal["cosine", "exponential", "step", "plateau", "constant"] = "cosine"
    final_learning_rate: float = 1e-6  # reached at the end by "cosine" and "exponential"; "step" and "plateau" go no lower
    warmup_steps: int = 200
    steps_at: tuple[float, ...] = (0.5, 0.75, 0.9)  # "step": parts of the training after which the rate is multiplied by `factor`
    factor: float = 0.5  # "step" and "plateau"
    plateau_patience: int = 10  # "plateau": validations without a smaller loss before the rate is multiplied by `factor`
    clip: float | None = 10.0  # largest norm of the gradient; None: no limit
    ema: float = 0.999  # 0: none
    lbfgs_iterations: int = 20  # of one step of "lbfgs", which takes all training frames at once
    lbfgs_history: int = 50
    kalman: KalmanConfig = KalmanConfig()

    def __post_init__(self):
        if self.lbfgs_iterations < 1 or self.lbfgs_history < 1:
            raise ValueError(f"lbfgs_iterations and lbfgs_history must be 1 or more, got {self.lbfgs_iterations} and {self.lbfgs_history}.")
        if not self.learning_rate > 0 or not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError(f"0 < final_learning_rate <= learning_rate, got {self.final_learning_rate} and {self.learning_rate}.")
        for name in ("betas", "matrix_betas"):
            if not all(0 <= beta < 1 for beta in getattr(self, name)):
                raise ValueError(f"{name} must be at least 0 and below 1, got {list(getattr(self, name))}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema}.")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be > 0, got {self.clip}.")
        if self.refresh < 1:
            raise ValueError(f"refresh must be at least 1, got {self.refresh}.")
        if self.kind == "soap" and self.amsgrad:
            raise ValueError("amsgrad belongs to adamw. Leave it out, or take kind = \"adamw\".")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise ValueError(f"warmup_steps and weight_decay must be 0 or more, got {self.warmup_steps} and {self.weight_decay}.")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must be between 0 and 1, got {self.factor}.")
        if self.plateau_patience < 1:
            raise ValueError(f"plateau_patience must be at least 1, got {self.plateau_patience}.")
        if not all(0 < part < 1 for part in self.steps_at):
            raise ValueError(f"steps_at must be parts of the training between 0 and 1, got {list(self.steps_at)}.")


@dataclass(frozen=True)
class FineTuneConfig:
    """Begin with the weights of another potential; see `potentials.training.fine_tuning`."""

    potential: str  # a .pt file, or the name of a shipped one; `from` in a TOML file means the same
    what: str | tuple[str, ...] = "all"  # "all", "head", or beginnings of the names of the weights that may change
    reference_energies: Literal["refit", "keep"] = "refit"  # "refit": shifts per element, so that old energies lie on the new level of theory
    units: Literal["keep", "refit"] = "keep"  # what an architecture takes from data before the first step (units, scaling); "refit" for another substance
    energy_heads: int | None = None  # so many last layers, drawn about the file's one: a shallow ensemble of it; as in the file when not given
    jitter: float = 0.0  # of each weight that may change before the first step, in its tensor's root mean square: members of a committee then begin apart

    def __post_init__(self):
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and below 1, got {self.jitter}.")
        if self.energy_heads is not None and self.energy_heads < 2:
            raise ValueError(f"energy_heads must be 2 or more, got {self.energy_heads}. Leave it out to keep those of the file.")


@dataclass(frozen=True)
class StabilityConfig:
    """Short molecular dynamics at some of the validations: how long does the potential hold?"""

    structures: tuple[str, ...]  # files that `mdapp run` reads
    every_validations: int = 5  # from the first on, and at the end
    temperature_K: float = 300.0
    time_ps: float = 1.0
    timestep_fs: float = 0.5
    seed: int = 0

    def __post_init__(self):
        if not self.structures:
            raise ValueError("structures must name at least one file.")
        for name in ("every_validations", "temperature_K", "time_ps", "timestep_fs"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}.")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. It ends at the first of `epochs`, `max_steps` and `max_hours` that is given."""

    data: DataConfig
    output: str = "training"
    potential: PotentialConfig = PotentialConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    fine_tune: FineTuneConfig | None = None
    stability: StabilityConfig | None = None
    level_of_theory: str = "not stated"  # of the labels; this and the next three are written into the potential's card
    energy_zero: str = "absolute: total energies as labelled"
    description: str = ""
    licence: str = ""
    epochs: int | None = None
    max_steps: int | None = None
    max_hours: float | None = None  # the schedule then runs on the clock; not reproducible to the bit
    batch_size: int | None = 16  # structures
    batch_edges: int | None = None  # directed edges
    batch_atoms: int | None = None  # atoms
    prefetch: int | None = None  # batches made ahead by a thread; 2 for a GPU, 0 for a CPU when not given
    validate_every: int = 500  # steps
    save_every: int | None = None  # steps between two last.pt; at validations only when not given
    patience: int | None = None  # end after so many validations in a row without a smaller validation loss
    best_by: Literal["loss", "forces", "energy", "stability", "kept", "last"] = "loss"  # what best.pt is the best by: validation loss or RMSE;
    # "stability", then loss; "kept": chosen at the end among the potentials that keep_every kept, by their loss on all validation frames; "last": the end
    keep_every: int | None = None  # epochs between two potentials that are kept as epoch-NNNN.pt
    rotations: bool = False  # turn each structure at random whenever it is learnt from, for potentials that are not equivariant
    validation_frames: int = 400  # drawn once; all of them at the end
    print_every: int = 50  # steps
    domain: bool = False  # keep in best.pt what atoms of the training set look like to the potential, so that runs know how far from them they are
    seed: int = 0
    device: str = "cpu"
    dtype: Literal["float32", "float64", "bf16-mixed"] = "float32"  # of the network; positions and sums of energies are float64; the last is refused
    tf32: bool = False  # matrix products of a GPU in TF32: faster, with 10 bits
    threads: int | None = None  # of torch; its own choice when not given
    tensorboard: bool = False  # also write event files for TensorBoard (pip install .[tensorboard])
    stored_descriptors: bool | None = None  # descriptors that do not change are computed once; where they take less than 4 GiB when not given
    compile: bool = False  # compile the training step (`mdapp train` and `mdapp.jobs.train` do; takes minutes, then pays)

    def __post_init__(self):
        if self.epochs is None and self.max_steps is None and self.max_hours is None:
            raise ValueError("say when to stop: epochs, max_steps or max_hours.")
        if self.batch_size is None and self.batch_edges is None and self.batch_atoms is None:
            raise ValueError("give batch_size (structures), batch_atoms (atoms) or batch_edges (edges), or several of them.")
        for name, value in (("prefetch", self.prefetch), ("seed", self.seed)):
            if value is not None and value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}.")
        for name in ("epochs", "max_steps", "max_hours", "batch_size", "batch_edges", "batch_atoms", "validate_every", "save_every", "patience",
                     "validation_frames", "print_every", "threads", "keep_every"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}.")
        if self.dtype == "bf16-mixed":
            raise ValueError(BF16_REFUSED)
        if self.tf32 and (self.device == "cpu" or self.dtype != "float32"):
            raise ValueError(f"tf32 is for float32 on a GPU, got dtype = '{self.dtype}' on device = '{self.device}'.")
        if self.best_by == "last" and self.patience is not None:
            raise ValueError("patience ends a training that gets no better, and best_by = 'last' keeps what comes last. Leave one of them out.")
        if self.best_by == "stability" and self.stability is None:
            raise ValueError("best_by = 'stability' needs a table [train.stability] with structures.")
        if self.best_by == "kept" and self.keep_every is None:
            raise ValueError("best_by = 'kept' needs keep_every: epochs between two potentials that are kept.")
        if self.best_by == "forces" and not self.loss.learns_forces:
            raise ValueError("best_by = 'forces', but forces have no weight in the loss.")

    @property
    def batches_ahead(self) -> int:
        """Batches that a thread makes ahead: on a CPU it would take its time from the step itself."""
        return self.prefetch if self.prefetch is not None else 0 if self.device == "cpu" else 2


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
    table = {**content["train"], **(changes or {})} if isinstance(content["train"], dict) else content["train"]
    if isinstance(table, dict) and isinstance(table.get("fine_tune"), dict):
        table = _for_fine_tuning(table)
    return from_mapping(TrainConfig, table, "[train]")


def _for_fine_tuning(table: dict[str, Any]) -> dict[str, Any]:
    """`from`, which no field can be called, becomes `potential`; the learning rate is gentle where none is given."""
    told = dict(table["fine_tune"])
    if "from" in told and "potential" not in told:
        told["potential"] = told.pop("from")
    optimiser = table.get("optimiser", {})
    if isinstance(optimiser, dict):
        optimiser = {"learning_rate": FINE_TUNING_RATE, **optimiser}
    return {**table, "fine_tune": told, "optimiser": optimiser}
