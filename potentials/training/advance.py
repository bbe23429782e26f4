"""One step of training, by each kind of optimiser: along a gradient, along a line search, or by a Kalman filter.

All of them take a batch and say what was predicted before the step, the loss, and whether a step was taken.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.data.dataset import Batch
from potentials.potential import Potential
from potentials.training.config import LossConfig, OptimiserConfig, TrainConfig
from potentials.training.distributed import Workers, joined_loss, sum_gradients
from potentials.training.evaluate import Predict
from potentials.training.kalman import KalmanFilter
from potentials.training.loss import Prediction, loss, weights_at
from potentials.training.observations import observe
from potentials.training.optimiser import build_optimiser, update
from potentials.training.state import TrainingError


@dataclass(frozen=True)
class Step:
    """What a step did."""

    prediction: Prediction | None  # None: this process had no part of the batch
    loss: Tensor  # this process's share
    taken: bool


Advance = Callable[[Batch | None, float], Step]  # a batch and the part of the training that lies behind


def second_order(config: OptimiserConfig) -> bool:
    """An optimiser that has no learning rate."""
    return config.kind in ("lbfgs", "kalman")


def averaging(config: OptimiserConfig) -> float:
    """Decay of the running mean of weights; 0: none."""
    return 0.0 if config.kind == "lbfgs" else config.kalman.ema if config.kind == "kalman" else config.ema


def optimiser_for(potential: Potential, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser of a config over the weights that may change.

    Raises
    ------
    TrainingError : too many weights for a Kalman filter.
    """
    free = [p for p in potential.parameters() if p.requires_grad]
    if config.kind == "lbfgs":
        return torch.optim.LBFGS(free, lr=1.0, max_iter=config.lbfgs_iterations, history_size=config.lbfgs_history, line_search_fn="strong_wolfe",
                                 tolerance_grad=0.0, tolerance_change=0.0)  # fmt: skip
    if config.kind == "kalman":
        try:
            return KalmanFilter(free, config.kalman)
        except ValueError as error:
            raise TrainingError(f"[train.optimiser]: {error}") from error
    return build_optimiser(potential, config)


def refuse_what_cannot_be(config: TrainConfig, workers: Workers, n_frames: int, n_heads: int = 1) -> None:
    """TrainingError where an optimiser, or the loss of several heads, is asked for what it cannot do."""
    name = config.optimiser.kind
    if config.loss.heads == "nll" and (n_heads < 2 or config.loss.stress > 0 or config.loss.dipole > 0):
        why = "the potential has one head: give [train.potential.config] energy_heads" if n_heads < 2 else "stress and dipole are not learnt by it: leave them out"
        raise TrainingError(f'[train.loss]: heads = "nll", but {why}.')
    if name == "kalman" and n_heads > 1:
        raise TrainingError(f"[train.optimiser]: kalman trains one head, and the potential has {n_heads}. Take adamw, or energy_heads = 1.")
    if not second_order(config.optimiser):
        return
    if not workers.alone:
        raise TrainingError(f"[train.optimiser]: {name} runs in one process; start mdapp train without torchrun.")
    if name == "lbfgs" and config.batch_size is not None and config.batch_size < n_frames:
        raise TrainingError(f"[train.optimiser]: lbfgs needs all {n_frames} training frames in one batch, or its line search chases noise; set batch_size = {n_frames}.")
    extra = [t for t in ("charges", "dipole") if getattr(config.loss, t) > 0]
    if name == "kalman" and (extra or config.loss.kind != "mse"):
        raise TrainingError(f"[train.loss]: kalman learns from squared errors of energies, forces and stress; leave out {', '.join(extra) or 'kind'}.")


def advancing(config: TrainConfig, potential: Potential, optimiser: torch.optim.Optimizer, predict: Predict, workers: Workers) -> Advance:
    """How this training takes a step."""
    if isinstance(optimiser, KalmanFilter):
        return _filtered(config.loss, potential, optimiser, predict, config.seed)
    if isinstance(optimiser, torch.optim.LBFGS):
        return _line_searched(config.loss, optimiser, predict)

    def along_gradient(batch: Batch | None, progress: float) -> Step:
        prediction = None if batch is None else _predicted(predict, batch, config.loss)
        share = joined_loss(workers, prediction, batch, config.loss, progress)
        optimiser.zero_grad(set_to_none=True)
        if share.requires_grad:
            share.backward()
        sum_gradients(workers, potential.parameters())
        return Step(prediction, share.detach(), update(optimiser, config.optimiser.clip))

    return along_gradient


def _predicted(predict: Predict, batch: Batch, config: LossConfig) -> Prediction:
    """What is learnt from: of a potential with several heads the forces of those that are drawn, or of all."""
    return predict(batch.graph) if batch.head is None else predict(batch.graph, batch.head, config.heads == "nll")


def _line_searched(config: LossConfig, optimiser: torch.optim.LBFGS, predict: Predict) -> Advance:
    def advance(batch: Batch | None, progress: float) -> Step:
        assert batch is not None
        first: list[tuple[Prediction, Tensor]] = []

        def closure() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            prediction = _predicted(predict, batch, config)
            value = loss(prediction, batch, config, progress)
            value.backward()
            if not first:
                first.append((prediction, value.detach()))
            return value

        optimiser.step(closure)
        prediction, value = first[0]
        return Step(prediction, value, bool(torch.isfinite(value)))

    return advance


def _filtered(config: LossConfig, potential: Potential, filter: KalmanFilter, predict: Predict, seed: int) -> Advance:
    """Energies of the batch, some components of its forces and its stresses are observed together."""

    def advance(batch: Batch | None, progress: float) -> Step:
        assert batch is not None
        prediction = predict(batch.graph)
        value = loss(prediction, batch, config, progress).detach()
        draw = torch.Generator().manual_seed(1_000_003 * seed + filter.updates)
        jacobian, error = observe(potential, filter.parameters, prediction, batch, config, weights_at(config, progress), filter.config, draw)
        return Step(prediction, value, filter.update(jacobian, error))

    return advance
