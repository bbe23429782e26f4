"""The training loop, top to bottom.

Data -> reference energies -> potential -> batch -> energy and forces -> loss -> optimiser -> running mean of the weights ->
validation -> `best.pt` and `last.pt` (`potentials.training.ledger`). The folder of a run holds log.csv, best.pt (the potential with
the smallest validation loss, or what `best_by` says; running-mean weights), last.pt (the state to resume from), errors.json.
"""
from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from potentials.checkpoint import PotentialFileError, load_potential, save_potential
from potentials.data.dataset import Batch, Dataset, batches
from potentials.data.loading import made_ahead
from potentials.potential import Potential
from potentials.training.advance import advancing, averaging, optimiser_for, refuse_what_cannot_be, second_order
from potentials.training.augmentation import turned_at_random
from potentials.training.card import card_before_training, file_hashes
from potentials.training.config import TrainConfig
from potentials.training.distributed import joined_workers
from potentials.training.evaluate import Evaluation, Predict, evaluate, plain_predictor
from potentials.training.heads import drawn
from potentials.training.ledger import Ledger, Stability, in_words
from potentials.training.log import require_tensorboard
from potentials.training.loss import Prediction
from potentials.training.metrics import known_errors
from potentials.training.optimiser import RunningMean, set_learning_rate
from potentials.training.precision import matrix_products
from potentials.training.prepare import prepare
from potentials.training.schedules import learning_rate
from potentials.training.screen import TrainingScreen
from potentials.training.state import Position, TrainingError, load_state, restore_state
from potentials.training.stored_descriptors import plain, with_descriptors
from potentials.typed import from_mapping, to_mapping
from potentials.uncertainty import domain_of

log = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 50
DOMAIN_FRAMES = 4000  # of the training set, at most, from which its domain is made
Seen = Callable[[np.ndarray, Batch, Prediction], None]


@dataclass(frozen=True)
class FitResult:
    """How a training run ended."""

    folder: Path
    finished: bool  # False: told to stop before the end; can be resumed
    steps: int
    epochs: float
    skipped: int  # batches left out because their gradient was not finite
    evaluation: Evaluation | None  # of best.pt on all validation frames; None when not finished
    best_step: int = 0
    out_of_patience: bool = False  # ended because the validation loss had stopped falling


def fit(
    config: TrainConfig,
    *,
    resume: bool = False,
    predictor: Callable[..., Predict] = plain_predictor,
    should_stop: Callable[[], bool] = lambda: False,
    screen: TrainingScreen | None = None,
    prepared: Callable[[], None] = lambda: None,
    stability: Stability | None = None,
    seen: Seen = lambda indices, batch, prediction: None,
) -> FitResult:
    """Train a potential, alone or as one of the processes that torchrun started (`potentials.training.distributed`).

    Parameters
    ----------
    resume : go on from `last.pt` in the output folder, to the same numbers as if it had not stopped.
    predictor : makes the function that is called at every step, from (potential, forces, stress, create_graph); a compiled
        twin of `plain_predictor` may stand here.
    should_stop : asked after every step; True saves `last.pt` and ends the run.
    screen : where to show progress; on standard output when not given.
    prepared : called once the data are read and the output folder is there.
    stability : runs short dynamics with a potential and gives the time to failure of each structure in ps; where `config.stability` asks.
    seen : called with indices, labels and predictions of best.pt, batch after batch of all validation frames, at the end.

    Raises
    ------
    DataError : labels that cannot be used.
    TrainingError : the output folder holds a run (and `resume` is False); gradients that stay NaN.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    folder = Path(config.output)
    files = file_hashes(config.data)
    saved = _opened(folder, config, resume, files)
    if config.stability is not None and stability is None:
        raise TrainingError("[train.stability] needs an engine that runs dynamics: train with `mdapp train` or mdapp.jobs.train, or leave it out.")

    with joined_workers(config.device) as workers, matrix_products(config.tf32), _screen(screen, workers.leads) as screen:
        config = replace(config, device=workers.device)
        training, validation, statistics, potential = prepare(config, screen.line)
        potential.to(config.device)
        training, validation, predictor = with_descriptors(config, potential, training, validation, predictor, screen.line)
        refuse_what_cannot_be(config, workers, len(training.indices), potential.energy_heads)
        optimiser = optimiser_for(potential, config.optimiser)
        mean = RunningMean(potential, averaging(config.optimiser))
        position = Position() if saved is None else restore_state(saved, potential, optimiser, mean)
        folder.mkdir(parents=True, exist_ok=True)
        if workers.leads:
            prepared()
        with_forces, with_stress = config.loss.learns_forces, config.loss.stress > 0
        predict_to_learn = predictor(potential, forces=with_forces, stress=with_stress, create_graph=True)
        predict = predictor(potential, forces=True, stress=with_stress, create_graph=False)
        advance = advancing(config, potential, optimiser, predict_to_learn, workers)
        ledger = Ledger(
            config, folder, potential, optimiser, mean, position, card_before_training(config, training, validation, statistics, potential),
            validation.dataset, _sample(validation.indices, config.validation_frames, config.seed), len(training.indices), predict, screen, stability, workers,
            files=files,
        )  # fmt: skip
        ended, stopped = ledger.out_of_patience, False
        edges = training.dataset.edge_counts

        def batch_of(indices: np.ndarray) -> Batch | None:  # this process's part
            mine = workers.part(indices, edges)
            if not len(mine):
                return None
            batch = training.dataset.batch(mine)
            if potential.energy_heads > 1:
                batch = drawn(batch, mine, potential.energy_heads, config.seed, position.epoch, config.loss.bootstrap)
            return (turned_at_random(batch, mine, config.seed, position.epoch) if config.rotations else batch).to(config.device)

        while not ended and not stopped:
            rng = np.random.default_rng([config.seed, position.epoch])
            order = batches(training.dataset, training.indices, config.batch_size, config.batch_edges, rng, config.batch_atoms)
            ahead = islice(order, position.batches, None)  # some lie behind, in a run that was resumed
            for indices, batch in made_ahead(ahead, batch_of, config.batches_ahead):
                progress = ledger.common_progress()
                if progress >= 1:
                    ended = True
                    break
                if not second_order(config.optimiser):
                    set_learning_rate(optimiser, learning_rate(config.optimiser, position.step, progress, position.reductions))
                step = advance(batch, progress)
                if step.taken:
                    mean.update()
                    ledger.count(step.prediction, batch, workers.sum(step.loss))
                else:
                    _count_skipped(position, training.dataset, indices)
                position.step += 1
                position.batches += 1
                position.frames += len(indices)
                if position.step % config.print_every == 0:
                    ledger.show()
                if position.step % config.validate_every == 0:
                    ledger.validate()
                    ended = ledger.out_of_patience
                elif config.save_every is not None and position.step % config.save_every == 0:
                    ledger.save()
                stopped = workers.any(should_stop())
                if ended or stopped:
                    break
            else:
                position.epoch, position.batches, position.frames = position.epoch + 1, 0, 0
                ended = config.epochs is not None and position.epoch >= config.epochs
                if config.keep_every is not None and position.epoch % config.keep_every == 0:
                    ledger.keep()

        ended_early = ledger.out_of_patience and ledger.progress < 1
        result = FitResult(folder, not stopped, position.step, position.epoch + position.frames / len(training.indices), position.skipped, None,
                           position.best_step, ended_early)  # fmt: skip
        if stopped:
            ledger.save()
            workers.wait()
            screen.line(f"Stopped after step {position.step}; {folder / 'last.pt'} goes on from there.")
            return result
        if position.loss_count or not np.isfinite(position.best):
            ledger.validate()
        ledger.board.close()
        if config.best_by == "kept" and workers.leads:
            screen.line(ledger.choose_kept(validation.indices))
        if ended_early:
            screen.line(f"Ended at step {position.step}: {config.patience} validations in a row without a smaller validation loss.")
        if not np.isfinite(position.best):
            raise TrainingError(f"No validation loss was finite in {position.step} steps, so there is no potential to keep. Try a smaller learning_rate.")
        if not workers.leads:
            return result
        known = (plain(training.dataset), _sample(training.indices, DOMAIN_FRAMES, config.seed)) if config.domain else None
        evaluation = _final_errors(folder, plain(validation.dataset), validation.indices, config, predictor, seen, known)
        screen.line(f"best.pt is from step {position.best_step}. All {evaluation.errors.frames} validation frames: {in_words(evaluation.errors)}.")
        return replace(result, evaluation=evaluation)


def _screen(screen: TrainingScreen | None, leads: bool) -> TrainingScreen:
    """Where this process shows progress: the first one only."""
    return (screen or TrainingScreen()) if leads else TrainingScreen(quiet=True)


def _opened(folder: Path, config: TrainConfig, resume: bool, files: dict[str, str]) -> dict[str, Any] | None:
    """The saved state of a run that goes on, None for a new one; refuses what can be refused before any data are read."""
    if config.tensorboard:
        require_tensorboard()
    if resume:
        saved = load_state(folder / "last.pt")
        _refuse_other_settings(saved["config"], config)
        _refuse_other_data(saved.get("files", {}), files)
        return saved if not saved["position"]["best_step"] or _is_potential(folder / "best.pt") else _without_best(saved)
    if (folder / "last.pt").exists():
        raise TrainingError(f"{folder} holds a training run. Resume it, or give another output.")
    if any((folder / name).exists() for name in ("best.pt", "log.csv")):
        raise TrainingError(f"{folder} holds a training run whose state, last.pt, was lost: it cannot go on. Move the folder away, or give another output.")
    return None


def _is_potential(path: Path) -> bool:
    try:
        load_potential(path)
    except PotentialFileError:
        return False
    return True


def _without_best(saved: dict[str, Any]) -> dict[str, Any]:
    """A state whose best.pt was lost: the next validation writes one, whatever its loss."""
    log.warning("best.pt of this run is missing or damaged; the next validation makes one.")
    return {**saved, "position": {**saved["position"], "best": float("inf"), "best_step": 0, "best_stability": -1.0}}


def _refuse_other_data(before: dict[str, str], now: dict[str, str]) -> None:
    for path in before.keys() & now.keys():
        if before[path] != now[path]:
            raise TrainingError(f"{path} has changed since this run was trained on it. Put it back, or go on from its best.pt with [train.fine_tune] in another output.")


def _final_errors(
    folder: Path, dataset: Dataset, indices: np.ndarray, config: TrainConfig, predictor: Callable[..., Predict], seen: Seen,
    known: tuple[Dataset, np.ndarray] | None,
) -> Evaluation:  # fmt: skip
    """Errors of best.pt, read back as a stranger would, on all validation frames; also written to errors.json. The potential gets the domain of `known`."""
    best: Potential = load_potential(folder / "best.pt").to(config.device)
    predict = predictor(best, forces=True, stress=config.loss.stress > 0, create_graph=False)
    result = evaluate(predict, dataset, indices, batch_size=config.batch_size or 16, device=config.device, seen=seen)
    if known is not None:
        n = config.batch_size or 16
        parts = [known[1][k : k + n] for k in range(0, len(known[1]), n)]
        best.domain = domain_of(best, (known[0].batch(part).graph.to(config.device) for part in parts))
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
    free = {"output", "epochs", "max_steps", "max_hours", "print_every", "threads", "device", "prefetch", "compile", "save_every", "tensorboard", "patience"}
    free |= {"stored_descriptors", "level_of_theory", "energy_zero", "description", "licence"}
    then, now = to_mapping(from_mapping(TrainConfig, before, "last.pt")), to_mapping(config)
    changed = [key for key in now if key not in free and now[key] != then[key]]
    if changed:
        raise TrainingError(f"The run to resume was trained with other settings: {', '.join(changed)} changed. Put them back, or start anew.")
