"""Members of a round: trained from their last weights, and judged on configurations that none of them has seen."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config.learn import LearnConfig
from mdapp.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms


class LoopStopped(Exception):
    """The loop was told to stop in the middle of a round; what is on the disk is whole."""


def train_member(config: LearnConfig, member: int, files: Sequence[Path], folder: Path, before: Path | None, theory: str,
                 should_stop: Callable[[], bool]) -> Path:  # fmt: skip
    """The potential of one member; a training that was cut short goes on, one that is complete is not done again.

    Parameters
    ----------
    files : all that is labelled.
    before : its potential of the round before, to go on from.

    Raises
    ------
    UserError : settings or labels that cannot be used.
    LoopStopped : `should_stop` said so.
    """
    from potentials.data.labelled import DataError
    from potentials.registry import UnknownName
    from potentials.training.fit import fit
    from potentials.training.screen import TrainingScreen
    from potentials.training.state import TrainingError
    from potentials.typed import ConfigError

    if (folder / "errors.json").exists() and (folder / "best.pt").exists():
        return folder / "best.pt"
    resume = (folder / "last.pt").exists()
    if folder.exists() and not resume:
        shutil.rmtree(folder)
    try:
        settings = training_settings(config, member, files, folder, before, theory)
        try:
            result = fit(settings, resume=resume, should_stop=should_stop, screen=TrainingScreen(quiet=True))
        except TrainingError:
            if not resume:
                raise
            shutil.rmtree(folder)  # what a kill left cannot go on: from the round's beginning
            result = fit(settings, should_stop=should_stop, screen=TrainingScreen(quiet=True))
    except (DataError, TrainingError, ConfigError, UnknownName, OSError) as error:
        raise UserError(f"Member {member} of {folder.parent.name} cannot be trained: {error}") from error
    if not result.finished:
        raise LoopStopped
    return folder / "best.pt"


def training_settings(config: LearnConfig, member: int, files: Sequence[Path], folder: Path, before: Path | None, theory: str) -> Any:
    """The training as a record; members differ by their seed, which draws weights, order and what is held out for validation. Of a loop that begins from a
    potential the learning rate is a gentle one where none is given.

    Raises
    ------
    ConfigError : a key or value of [learn.train] that does not fit.
    """
    from potentials.training.config import FINE_TUNING_RATE, TrainConfig
    from potentials.typed import from_mapping

    table = {**config.train, "output": str(folder), "seed": config.seed + 1000 * member + 1, "device": config.device, "threads": config.threads, "level_of_theory": theory}
    table["data"] = {"train": [str(f) for f in files], "split_by": "frame", "validation_fraction": 0.1, "cleaning": "off"}
    if config.begin_from is not None and isinstance(table.get("optimiser", {}), dict):
        table["optimiser"] = {"learning_rate": FINE_TUNING_RATE, **table.get("optimiser", {})}
    if before is not None:
        table["fine_tune"] = {"potential": str(before)}
        table.pop("potential", None)  # the file's: what has chosen its descriptors is no longer what was asked for
    elif config.begin_from is not None:
        table["fine_tune"] = {"potential": config.begin_from, "jitter": config.jitter if config.members > 1 else 0.0, "energy_heads": config.energy_heads}
    return from_mapping(TrainConfig, table, "[learn.train]")


def judged(members: Sequence[Path], frames: Sequence[Atoms], device: str) -> dict[str, float]:
    """Errors and spread of the committee on labelled frames, in eV and Å."""
    from potentials.calculator import load_calculator

    calculator = load_calculator([str(m) for m in members], device=device)
    forces, energies, spreads = [], [], []
    for labelled in frames:
        atoms = labelled.copy()
        atoms.calc = calculator
        forces.append((atoms.get_forces() - labelled.get_forces()).ravel())
        energies.append((atoms.get_potential_energy() - labelled.get_potential_energy()) / len(atoms))
        spreads.append(calculator.results["forces_spread"])
    rms = lambda x: float(np.sqrt(np.mean(np.square(x))))
    return {"forces_rmse_eV_A": rms(np.concatenate(forces)), "energy_mae_eV_atom": float(np.mean(np.abs(energies))),
            "held_out_spread_eV_A": rms(np.concatenate(spreads))}


def spreads_of(members: Sequence[Path], frames: Sequence[Atoms], device: str) -> np.ndarray:
    """The largest disagreement on the force of an atom in each configuration, (n,), eV/Å; infinite where it is no number."""
    from potentials.calculator import load_calculator

    calculator = load_calculator([str(m) for m in members], device=device)
    found = []
    for atoms in frames:
        still = atoms.copy()
        still.calc = calculator
        still.get_forces()
        found.append(float(np.max(calculator.results["forces_spread"])))
    return np.nan_to_num(np.array(found), nan=np.inf)
