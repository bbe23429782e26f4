"""AdamW or SOAP, and a running mean of the weights. Schedules are in `potentials.training.schedules`."""
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from potentials.training.config import OptimiserConfig
from potentials.training.soap import Soap, matrices_of


def build_optimiser(potential: torch.nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters that may change; matrices decay, biases, scales and shifts do not."""
    parameters = [p for p in potential.parameters() if p.requires_grad]
    rotated = matrices_of(potential) if config.kind == "soap" else []
    known = {id(p) for p in rotated}
    groups = [
        {"params": rotated, "weight_decay": config.weight_decay, "matrices": True},
        {"params": [p for p in parameters if p.ndim >= 2 and id(p) not in known], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if config.kind == "soap":
        return Soap(groups, lr=config.learning_rate, betas=config.betas, matrix_betas=config.matrix_betas, refresh=config.refresh)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, amsgrad=config.amsgrad, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def update(optimiser: torch.optim.Optimizer, clip: float | None) -> bool:
    """One step along the gradients, clipped to a total norm of `clip`; False, and no step, if they are not finite."""
    parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if clip is None else clip)
    if not torch.isfinite(norm):
        return False
    optimiser.step()
    return True


class RunningMean:
    """Exponential moving average of weights: ``mean = d mean + (1 - d) weights``, d rising to `decay` within the first steps.

    With a decay of 0 it is the weights themselves.
    """

    def __init__(self, potential: torch.nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self._parameters = [p for p in potential.parameters() if p.requires_grad]
        self._means = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, self.updates / (10 + self.updates)) if self.decay else 0.0
        torch._foreach_lerp_(self._means, [p.detach() for p in self._parameters], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, the potential has the mean weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for p, mean in zip(self._parameters, self._means):
            weights = p.detach().clone()
            p.copy_(mean)
            mean.copy_(weights)

    def state(self) -> dict[str, int | list[Tensor]]:
        return {"updates": self.updates, "means": [m.clone() for m in self._means]}

    def restore(self, state: dict) -> None:
        self.updates = int(state["updates"])
        for mean, saved in zip(self._means, state["means"], strict=True):
            mean.copy_(saved)
