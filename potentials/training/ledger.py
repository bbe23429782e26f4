"""What a run keeps: a row of the log and perhaps a better potential at every validation, and the state to go on from.

`best.pt` holds the running-mean weights of the best validation; `last.pt` everything to go on with the same numbers. The order
in which they are written does not matter to a run that is killed in between: what it does again, it does to the same bits.
"""
from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from potentials.checkpoint import Card, save_potential
from potentials.data.dataset import Batch, Dataset, batches
from potentials.potential import Potential
from potentials.training.card import card_at
from potentials.training.config import TrainConfig
from potentials.training.distributed import ALONE, Workers, joined_errors
from potentials.training.evaluate import Predict, plain_predictor
from potentials.training.kept import best_of_kept, save_kept
from potentials.training.log import LogTable, TensorBoard
from potentials.training.loss import Prediction, loss_terms, weights_at
from potentials.training.metrics import Errors, ErrorSums
from potentials.training.optimiser import RunningMean
from potentials.training.schedules import Waiting, after_plateau
from potentials.training.screen import TrainingScreen
from potentials.training.state import Position, cut_short, save_state
from potentials.typed import to_mapping

Stability = Callable[[Potential], Sequence[float]]  # ps until each structure's dynamics failed; the asked time where it did not


@dataclass
class Ledger:
    """The books of one run, and the clock."""

    config: TrainConfig
    folder: Path
    potential: Potential
    optimiser: torch.optim.Optimizer
    mean: RunningMean
    position: Position
    card: Card  # what is known before training
    dataset: Dataset  # of the validation frames
    watched: np.ndarray  # (n,) indices of the frames that are looked at
    n_training: int  # frames
    predict: Predict
    screen: TrainingScreen
    stability: Stability | None = None
    workers: Workers = ALONE  # of which the first one writes
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of the data, by path
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.began -= self.position.seconds
        if self.workers.leads:
            self.table = LogTable(self.folder / "log.csv", self.position.step)
        self.board = TensorBoard(self.folder, self.config.tensorboard and self.workers.leads, self.position.step)
        self.running = ErrorSums.from_state(self.position.errors if self.workers.leads else {})  # training errors since the last row

    @property
    def seconds(self) -> float:
        """Since the start of the run, without the time in which it lay still."""
        return time.monotonic() - self.began

    @property
    def progress(self) -> float:
        """Part of the training that lies behind, by whichever limit comes first."""
        c, p, parts = self.config, self.position, [0.0]
        if c.max_steps is not None:
            parts.append(p.step / c.max_steps)
        if c.epochs is not None:
            parts.append((p.epoch + p.frames / self.n_training) / c.epochs)
        if c.max_hours is not None:
            parts.append(self.seconds / (3600 * c.max_hours))
        return max(parts)

    def common_progress(self) -> float:
        """`progress` by the clock of the first process; asked by all together."""
        return self.progress if self.config.max_hours is None else self.workers.of_first([self.progress])[0]

    @property
    def out_of_patience(self) -> bool:
        return self.config.patience is not None and self.position.waiting[1] >= self.config.patience

    def count(self, prediction: Prediction | None, batch: Batch | None, value: torch.Tensor) -> None:
        """A step that was taken: this process's part of the batch, if there was one, and the loss of the joined batch."""
        if prediction is not None and batch is not None:
            self.running.add(prediction, batch)
        self.position.loss_sum += float(value.detach())
        self.position.loss_count += 1
        self.position.skipped_in_a_row = 0

    def show(self) -> None:
        self.screen.update(_training_line(self.position, self.running.errors(), self.seconds), self.progress)

    def save(self) -> None:
        """Write last.pt; asked by all processes together."""
        self.position.seconds = self.seconds
        self.position.errors = joined_errors(self.workers, self.running).state()
        if self.workers.leads:
            save_state(self.folder / "last.pt", self.position, self.potential, self.optimiser, self.mean, to_mapping(self.config), self.files)

    def validate(self) -> None:
        """Errors on the validation frames: a row of the log, perhaps best.pt, and last.pt; asked by all processes together."""
        p = self.position
        p.validations += 1
        with self.mean.in_place():
            terms, errors = validation_errors(self.predict, self.dataset, self.watched, self.config, self.workers)
            value = sum(terms.values())
            held = self._stability()
            row = {**_row(p, joined_errors(self.workers, self.running).errors(), value, errors), **self._further(terms, errors, held)}
            if self._is_better(value, errors, held) and self.workers.leads:
                self._write_best(errors, held)
        p.waiting = _listed(Waiting(p.waiting[0], int(p.waiting[1])).after(value))
        plateau, p.reductions = after_plateau(self.config.optimiser, Waiting(p.plateau[0], int(p.plateau[1])).after(value), p.reductions)
        p.plateau = _listed(plateau)
        row["hours"] = self.seconds / 3600
        if self.workers.leads:
            self.table.append(row)
            self.board.append(row)
        self.screen.line(_validation_line(row, p.best_step == p.step))
        self.running, p.loss_sum, p.loss_count = ErrorSums(), 0.0, 0
        self.save()

    def keep(self) -> None:
        """A potential file of this epoch, with the running mean of the weights; asked by all processes together."""
        if self.workers.leads:
            with self.mean.in_place():
                save_kept(self.folder, self.potential, self.card, self.position, self.seconds)

    def choose_kept(self, indices: np.ndarray) -> str:
        """best.pt becomes the kept potential with the smallest loss on these frames; what was found, in a sentence."""
        def loss_of(kept: Potential) -> tuple[float, Errors]:
            predict = plain_predictor(kept.to(self.config.device), forces=True, stress=self.config.loss.stress > 0)
            terms, errors = validation_errors(predict, self.dataset, indices, self.config)
            return sum(terms.values()), errors

        chosen, told = best_of_kept(self.folder, loss_of)
        self.position.best_step = chosen
        return told

    def _stability(self) -> Sequence[float] | None:
        """Short dynamics with the present weights, where they are due: at the first validation, every so many later, and at the end."""
        asked = self.config.stability
        if asked is None or self.stability is None or ((self.position.validations - 1) % asked.every_validations and self.common_progress() < 1):
            return None
        held: Sequence[float] = [0.0] * len(asked.structures)
        if self.workers.leads:
            held = self.stability(copy.deepcopy(self.potential))  # an evaluator freezes what it is given
        return held if self.workers.alone else self.workers.of_first(held)

    def _is_better(self, value: float, errors: Errors, held: Sequence[float] | None) -> bool:
        """Is this the best so far, by `best_by`? Then remember it. By "last" every validation is, the last one included."""
        p = self.position
        measure = {"forces": errors.forces_rmse_meV_A, "energy": errors.energy_rmse_meV_atom}.get(self.config.best_by, value)
        stability = float(np.mean(held)) if self.config.best_by == "stability" and held is not None else -1.0
        if not np.isfinite(measure) or self.config.best_by != "last" and (-stability, measure) >= (-p.best_stability, p.best):
            return False
        p.best, p.best_stability, p.best_step = measure, stability, p.step
        return True

    def _write_best(self, errors: Errors, held: Sequence[float] | None) -> None:
        now = card_at(self.card, self.position, self.seconds, errors, f"{len(self.watched)} validation frames")
        if held is not None:
            now.training["stability_ps"] = [round(float(t), 6) for t in held]
        try:
            save_potential(self.folder / "best.pt", self.potential, now)
        except RuntimeError as error:  # torch's word for a full disk
            raise cut_short(self.folder / "best.pt") from error

    def _further(self, terms: dict[str, float], errors: Errors, held: Sequence[float] | None) -> dict[str, float | int | str]:
        """Columns that only some trainings have."""
        found: dict[str, float | int | str] = {"learning_rate": self.optimiser.param_groups[0]["lr"]}
        found |= {f"validation_forces_mae_{x}_meV_A": getattr(errors, f"forces_mae_{x}_meV_A") for x in "xyz"}
        found |= {f"validation_loss_{name}": value for name, value in terms.items() if name not in ("energy", "forces")}
        if self.config.stability is not None:
            found["stability_ps"] = "" if held is None else float(np.mean(held))
            found["stable_structures"] = "" if held is None else sum(t >= self.config.stability.time_ps for t in held)
        return found


def validation_errors(
    predict: Predict, dataset: Dataset, indices: np.ndarray, config: TrainConfig, workers: Workers = ALONE
) -> tuple[dict[str, float], Errors]:
    """Terms of the loss with their final weights, averaged over frames, and the errors; each process takes a share of the batches."""
    sums, weights = ErrorSums(), weights_at(config.loss, 1.0)
    totals: dict[str, float] = {}
    order = batches(dataset, indices, config.batch_size, config.batch_edges, None, config.batch_atoms)
    for chosen in islice(order, workers.rank, None, workers.size):
        batch = dataset.batch(chosen).to(config.device)
        prediction = predict(batch.graph)
        sums.add(prediction, batch)
        for name, term in loss_terms(prediction, batch, config.loss).items():
            totals[name] = totals.get(name, 0.0) + weights[name] * float(term.mean) * len(chosen)
    found = workers.sum(torch.tensor([[totals.get(name, 0.0), name in totals] for name in weights], dtype=torch.float64)).tolist()
    return {name: total / len(indices) for name, (total, there) in zip(weights, found) if there}, joined_errors(workers, sums).errors()


def _listed(waiting: Waiting) -> list[float]:
    return [waiting.smallest, waiting.validations]


def _row(position: Position, training: Errors, value: float, validation: Errors) -> dict[str, float | int | str]:
    return {
        "step": position.step,
        "epoch": position.epoch,
        "hours": 0.0,
        "skipped": position.skipped,
        "train_loss": position.loss_sum / max(position.loss_count, 1),
        "train_energy_mae_meV_atom": training.energy_mae_meV_atom,
        "train_forces_mae_meV_A": training.forces_mae_meV_A,
        "validation_loss": value,
        "validation_energy_mae_meV_atom": validation.energy_mae_meV_atom,
        "validation_energy_rmse_meV_atom": validation.energy_rmse_meV_atom,
        "validation_forces_mae_meV_A": validation.forces_mae_meV_A,
        "validation_forces_rmse_meV_A": validation.forces_rmse_meV_A,
    }


def in_words(errors: Errors) -> str:
    energy = f"energy {errors.energy_mae_meV_atom:.2f} meV/atom, " if errors.energy_mae_meV_atom == errors.energy_mae_meV_atom else ""
    return f"{energy}forces {errors.forces_mae_meV_A:.4g} meV/Å (MAE)"


def _training_line(position: Position, errors: Errors, seconds: float) -> str:
    mean_loss = position.loss_sum / max(position.loss_count, 1)
    return f"epoch {position.epoch} step {position.step} ({seconds / 3600:.2f} h)  training loss {mean_loss:.4g}, {in_words(errors)}"


def _validation_line(row: dict[str, float | int | str], best: bool) -> str:
    held = f", dynamics held {row['stability_ps']:.3g} ps" if isinstance(row.get("stability_ps"), float) else ""
    energy = float(row["validation_energy_mae_meV_atom"])
    known = f"energy {energy:.2f} meV/atom, " if energy == energy else ""
    return (
        f"step {row['step']}  validation loss {row['validation_loss']:.4g}, {known}"
        f"forces {row['validation_forces_mae_meV_A']:.4g} meV/Å (MAE){held}{', best so far' if best else ''}"
    )
