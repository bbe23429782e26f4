"""Everything that a training run needs to go on with the same numbers, and its file."""
from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from potentials.training.optimiser import RunningMean

FORMAT = "mdapp training state 1"


class TrainingError(RuntimeError):
    """Training that cannot begin or go on."""


@dataclass
class Position:
    """Where a run is. The order of an epoch follows from the seed and its number."""

    step: int = 0
    epoch: int = 0
    frames: int = 0  # of this epoch that lie behind
    batches: int = 0  # of this epoch that lie behind
    seconds: float = 0.0
    skipped: int = 0  # batches with a gradient that was not finite
    skipped_in_a_row: int = 0
    best: float = float("inf")  # smallest validation loss, or what else best.pt is the best by
    best_step: int = 0
    best_stability: float = -1.0  # ps, of best.pt where it is chosen by stability; -1: not measured
    validations: int = 0
    waiting: list[float] = field(default_factory=lambda: [float("inf"), 0])  # of "early stop": smallest validation loss, validations since
    plateau: list[float] = field(default_factory=lambda: [float("inf"), 0])  # the same since the rate was last lowered
    reductions: int = 0  # of the learning rate, by "plateau"
    loss_sum: float = 0.0  # since the last row of the log
    loss_count: int = 0
    errors: dict[str, list[float]] = field(default_factory=dict)  # training errors since the last row of the log


def save_state(
    path: Path, position: Position, potential: torch.nn.Module, optimiser: torch.optim.Optimizer, mean: RunningMean, config: dict[str, Any],
    files: dict[str, str],
) -> None:
    """Write the state beside `path` and rename it into place: a run that dies here leaves the old one.

    Parameters
    ----------
    files : SHA-256 of each data file, by its path.

    Raises
    ------
    OSError : it cannot be written.
    """
    content = {
        "format": FORMAT,
        "position": {f.name: getattr(position, f.name) for f in fields(position)},
        "weights": potential.state_dict(),
        "optimiser": optimiser.state_dict(),
        "mean": mean.state(),
        "rng": torch.get_rng_state(),
        "config": config,
        "files": files,
    }
    scratch = path.with_name(path.name + ".part")
    try:
        torch.save(content, scratch)
        with open(scratch, "rb") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except RuntimeError as error:  # torch's word for a full disk
        raise cut_short(path) from error
    finally:
        scratch.unlink(missing_ok=True)


def cut_short(path: Path) -> OSError:
    """What a torch file that could not be written to its end is for the user; torch itself speaks of positions in an archive."""
    return OSError(errno.EIO, "the file was cut short while it was written, as on a full disk", str(path))


def load_state(path: Path) -> dict[str, Any]:
    """The content of a state file, plain data and tensors only.

    Raises
    ------
    TrainingError : no such file, not a training state, or a damaged one.
    """
    if not path.is_file():
        raise TrainingError(f"No {path}: nothing to resume from.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ... on what is no such file
        raise TrainingError(f"{path} is damaged or not a training state: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TrainingError(f"{path} is not a training state of this program.")
    return content


def restore_state(content: dict[str, Any], potential: torch.nn.Module, optimiser: torch.optim.Optimizer, mean: RunningMean) -> Position:
    """Put a loaded state into the parts of a run, and say where it is.

    Raises
    ------
    TrainingError : the state of another potential.
    """
    try:
        potential.load_state_dict(content["weights"])
        optimiser.load_state_dict(content["optimiser"])
        mean.restore(content["mean"])
        torch.set_rng_state(content["rng"])
        return Position(**content["position"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"last.pt is the state of another potential or of another version: {str(error).splitlines()[0]} Start anew.") from error
