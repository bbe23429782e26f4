"""The training loop, top to bottom.

Data -> reference energies -> potential -> batch -> energy and forces -> loss -> optimiser -> running mean of the weights ->
validation -> `best.pt` and `last.pt`. The folder of a run holds log.csv, best.pt (the potential with
the smallest validation loss, running-mean weights), last.pt (the state to resume from), errors.json.
"""
from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from potentials.checkpoint import load_potential, save_potential
from potentials.data.dataset import Dataset, batches
from potentials.potential import Potential
from potentials.training.card import card_at, card_before_training
from potentials.training.config import TrainConfig
from potentials.training.evaluate import Evaluation, Predict, evaluate, plain_predictor
from potentials.training.log import LogTable
from potentials.training.loss import loss
from potentials.training.metrics import Errors, ErrorSums, known_errors
from potentials.training.optimiser import RunningMean, build_optimiser, learning_rate, set_learning_rate, update
from potentials.training.prepare import prepare
from potentials.training.screen import TrainingScreen
from potentials.training.state import Position, TrainingError, load_state, restore_state, save_state
from potentials.typed import from_mapping, to_mapping

log = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 50


@dataclass(frozen=True)
class FitResult:
    """How a training run ended."""

    folder: Path
    finished: bool  # False: told to stop before the end; can be resumed
    steps: int
    epochs: float
    skipped: int  # batches left out because their gradient was not finite
    evaluation: Evaluation | None  # of best.pt on all validation frames; None when not finished


def fit(
    config: TrainConfig,
    *,
    resume: bool = False,
    predictor: Callable[..., Predict] = plain_predictor,
    should_stop: Callable[[], bool] = lambda: False,
    screen: TrainingScreen | None = None,
    prepared: Callable[[], None] = lambda: None,
) -> FitResult:
    """Train a potential.

    Parameters
    ----------
    resume : go on from `last.pt` in the output folder, to the same numbers as if it had not stopped.
    predictor : makes the function that is called at every step, from (potential, forces, stress, create_graph); a compiled
        twin of `plain_predictor` may stand here.
    should_stop : asked after every step; True saves `last.pt` and ends the run.
    screen : where to show progress; on standard output when not given.
    prepared : called once the data are read and the output folder is there.

    Raises
    ------
    DataError : labels that cannot be used.
    TrainingError : the output folder holds a run (and `resume` is False); gradients that stay NaN.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    folder = Path(config.output)
    saved = load_state(folder / "last.pt") if resume else None
    if saved is None and any((folder / name).exists() for name in ("last.pt", "best.pt", "log.csv")):
        raise TrainingError(f"{folder} holds a training run. Resume it, or give another output.")
    if saved is not None:
        _refuse_other_settings(saved["config"], config)

    with screen or TrainingScreen() as screen:
        training, validation, statistics, potential = prepare(config, screen.line)
        potential.to(config.device)
        optimiser = build_optimiser(potential, config.optimiser)
        mean = RunningMean(potential, config.optimiser.ema)
        position = Position() if saved is None else restore_state(saved, potential, optimiser, mean)
        folder.mkdir(parents=True, exist_ok=True)
        prepared()
        table = LogTable(folder / "log.csv", position.step)
        card = card_before_training(config, training, validation, statistics)
        with_forces, with_stress = config.loss.forces > 0, config.loss.stress > 0
        predict_to_learn = predictor(potential, forces=with_forces, stress=with_stress, create_graph=True)
        predict = predictor(potential, forces=True, stress=with_stress, create_graph=False)
        watched = _sample(validation.indices, config.validation_frames, config.seed)
        running = ErrorSums.from_state(position.errors)
        began = time.monotonic() - position.seconds
        ended = stopped = False

        def save() -> None:
            position.seconds = time.monotonic() - began
            position.errors = running.state()
            save_state(folder / "last.pt", position, potential, optimiser, mean, to_mapping(config))

        def validate() -> None:
            nonlocal running
            with mean.in_place():
                value, errors = _validation(predict, validation.dataset, watched, config)
                if value < position.best:
                    position.best, position.best_step = value, position.step
                    now = card_at(card, position, time.monotonic() - began, errors, f"{len(watched)} validation frames")
                    save_potential(folder / "best.pt", potential, now)
            row = _row(position, config, running.errors(), value, errors, (time.monotonic() - began) / 3600)
            table.append(row)
            screen.line(_validation_line(row, position.best_step == position.step))
            running, position.loss_sum, position.loss_count = ErrorSums(), 0.0, 0
            save()

        while not ended and not stopped:
            rng = np.random.default_rng([config.seed, position.epoch])
            order = batches(training.dataset, training.indices, config.batch_size, config.batch_edges, rng)
            for number, indices in enumerate(order):
                if number < position.batches:  # lies behind, in a run that was resumed
                    continue
                progress = _progress(config, position, len(training.indices), time.monotonic() - began)
                if progress >= 1:
                    ended = True
                    break
                batch = training.dataset.batch(indices).to(config.device)
                prediction = predict_to_learn(batch.graph)
                value = loss(prediction, batch, config.loss, progress)
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                set_learning_rate(optimiser, learning_rate(config.optimiser, position.step, progress))
                if update(optimiser, config.optimiser.clip):
                    mean.update()
                    running.add(prediction, batch)
                    position.loss_sum += float(value.detach())
                    position.loss_count += 1
                    position.skipped_in_a_row = 0
                else:
                    _count_skipped(position, training.dataset, indices)
                position.step += 1
                position.batches += 1
                position.frames += len(indices)
                if position.step % config.print_every == 0:
                    screen.update(_training_line(position, running.errors(), time.monotonic() - began), progress)
                if position.step % config.validate_every == 0:
                    validate()
                if should_stop():
                    stopped = True
                    break
            else:
                position.epoch, position.batches, position.frames = position.epoch + 1, 0, 0
                ended = config.epochs is not None and position.epoch >= config.epochs

        epochs = position.epoch + position.frames / len(training.indices)
        if stopped:
            save()
            screen.line(f"Stopped after step {position.step}; {folder / 'last.pt'} goes on from there.")
            return FitResult(folder, False, position.step, epochs, position.skipped, None)
        if position.loss_count:
            validate()
        if not np.isfinite(position.best):
            raise TrainingError(f"No validation loss was finite in {position.step} steps, so there is no potential to keep. Try a smaller learning_rate.")
        result = _final_errors(folder, validation.dataset, validation.indices, config, predictor)
        screen.line(f"best.pt is from step {position.best_step}. All {result.errors.frames} validation frames: {_short(result.errors)}.")
        return FitResult(folder, True, position.step, epochs, position.skipped, result)


def _progress(config: TrainConfig, position: Position, n_frames: int, seconds: float) -> float:
    """Part of the training that lies behind, by whichever limit comes first."""
    parts = [0.0]
    if config.max_steps is not None:
        parts.append(position.step / config.max_steps)
    if config.epochs is not None:
        parts.append((position.epoch + position.frames / n_frames) / config.epochs)
    if config.max_hours is not None:
        parts.append(seconds / (3600 * config.max_hours))
    return max(parts)


def _validation(predict: Predict, dataset: Dataset, indices: np.ndarray, config: TrainConfig) -> tuple[float, Errors]:
    """The loss with its final weights, averaged over frames, and the errors."""
    sums, total = ErrorSums(), 0.0
    for chosen in batches(dataset, indices, config.batch_size, config.batch_edges):
        batch = dataset.batch(chosen).to(config.device)
        prediction = predict(batch.graph)
        sums.add(prediction, batch)
        total += float(loss(prediction, batch, config.loss, progress=1.0)) * len(chosen)
    return total / len(indices), sums.errors()


def _final_errors(
    folder: Path, dataset: Dataset, indices: np.ndarray, config: TrainConfig, predictor: Callable[..., Predict]
) -> Evaluation:
    """Errors of best.pt, read back as a stranger would, on all validation frames; also written to errors.json."""
    best: Potential = load_potential(folder / "best.pt").to(config.device)
    predict = predictor(best, forces=True, stress=config.loss.stress > 0, create_graph=False)
    result = evaluate(predict, dataset, indices, batch_size=config.batch_size or 16, device=config.device)
    summary = {**best.card.training, **known_errors(result.errors), "errors_on": f"all {result.errors.frames} validation frames"}
    save_potential(folder / "best.pt", best, replace(best.card, training=summary))
    scratch = folder / "errors.json.part"
    scratch.write_text(json.dumps(result.summary, indent=1, allow_nan=False))
    scratch.replace(folder / "errors.json")
    return result


def _sample(indices: np.ndarray, n: int, seed: int) -> np.ndarray:
    if len(indices) <= n:
        return indices
    return np.sort(np.random.default_rng(seed).choice(indices, n, replace=False))


def _count_skipped(position: Position, dataset: Dataset, indices: np.ndarray) -> None:
    position.skipped += 1
    position.skipped_in_a_row += 1
    names = ", ".join(dict.fromkeys(dataset.molecules[k] for k in indices))
    log.warning("Step %d left out: its gradient is not finite (%s).", position.step, names)
    if position.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
        raise TrainingError(
            f"The gradient was not finite for {position.skipped_in_a_row} batches in a row, up to step {position.step}. "
            "Try a smaller learning_rate, a smaller clip, or look for atoms on top of each other in the data."
        )


def _refuse_other_settings(before: dict, config: TrainConfig) -> None:
    """What a resumed run may change is how long it goes on, where, and what it shows."""
    free = {"output", "epochs", "max_steps", "max_hours", "print_every", "threads", "device", "compile"}
    free |= {"level_of_theory", "energy_zero", "description", "licence"}
    then, now = to_mapping(from_mapping(TrainConfig, before, "last.pt")), to_mapping(config)
    changed = [key for key in now if key not in free and now[key] != then[key]]
    if changed:
        raise TrainingError(f"The run to resume was trained with other settings: {', '.join(changed)} changed. Put them back, or start anew.")


def _row(position: Position, config: TrainConfig, training: Errors, value: float, validation: Errors, hours: float) -> dict[str, float]:
    return {
        "step": position.step,
        "epoch": position.epoch,
        "hours": hours,
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


def _short(errors: Errors) -> str:
    return f"energy {errors.energy_mae_meV_atom:.2f} meV/atom, forces {errors.forces_mae_meV_A:.1f} meV/Å (MAE)"


def _training_line(position: Position, errors: Errors, seconds: float) -> str:
    mean_loss = position.loss_sum / max(position.loss_count, 1)
    return f"epoch {position.epoch} step {position.step} ({seconds / 3600:.2f} h)  training loss {mean_loss:.4g}, {_short(errors)}"


def _validation_line(row: dict[str, float], best: bool) -> str:
    return (
        f"step {row['step']}  validation loss {row['validation_loss']:.4g}, energy {row['validation_energy_mae_meV_atom']:.2f} meV/atom, "
        f"forces {row['validation_forces_mae_meV_A']:.1f} meV/Å (MAE){', best so far' if best else ''}"
    )
