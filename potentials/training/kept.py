"""Potentials kept every so many epochs, and the best of them chosen afterwards.

The folder of the run then holds epoch-0006.pt, epoch-0012.pt, ... and kept.csv, a row for each with its errors on all validation frames.
"""
from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from potentials.checkpoint import Card, load_potential, save_potential
from potentials.potential import Potential
from potentials.training.metrics import Errors, known_errors
from potentials.training.state import Position, TrainingError, cut_short


def save_kept(folder: Path, potential: Potential, card: Card, position: Position, seconds: float) -> Path:
    """The potential as it is, as epoch-NNNN.pt; one that was written before a restart is written again to the same bits."""
    path = folder / f"epoch-{position.epoch:04d}.pt"
    at = {"steps": position.step, "epochs": position.epoch, "hours": seconds / 3600}
    try:
        save_potential(path, potential, replace(card, training={**card.training, **at}))
    except RuntimeError as error:  # torch's word for a full disk
        raise cut_short(path) from error
    return path


def best_of_kept(folder: Path, loss_of: Callable[[Potential], tuple[float, Errors]]) -> tuple[int, str]:
    """Judge every kept potential; the best becomes best.pt, and kept.csv says how far the others are off.

    Parameters
    ----------
    loss_of : the loss of a potential on validation frames, and its errors.

    Returns
    -------
    The step of the best, and a sentence.

    Raises
    ------
    TrainingError : none was kept, or none has a finite loss.
    """
    files = sorted(folder.glob("epoch-*.pt"))
    if not files:
        raise TrainingError(f"best_by = 'kept', but no epoch that keep_every asks for was finished, so {folder} holds no epoch-NNNN.pt. Train longer.")
    rows = []
    for file in files:
        potential = load_potential(file)
        loss, errors = loss_of(potential)
        rows.append({"file": file.name, "step": potential.card.training["steps"], "epoch": potential.card.training["epochs"], "validation_loss": loss,
                     **known_errors(errors)})  # fmt: skip
    losses = np.array([row["validation_loss"] for row in rows], dtype=float)
    if not np.isfinite(losses).any():
        raise TrainingError(f"No potential that was kept in {folder} has a finite validation loss. Try a smaller learning_rate.")
    k = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
    _write(folder / "kept.csv", rows)
    best = load_potential(files[k])
    save_potential(folder / "best.pt", best, best.card)
    return int(rows[k]["step"]), f"{files[k].name} is the best of {len(files)} potentials that were kept (kept.csv), validation loss {losses[k]:.4g}."


def _write(path: Path, rows: list[dict]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows)
    os.replace(part, path)
