"""How the learning rate falls, and when a training has stopped getting better.

All of it is a function of the step, of the part of the training that lies behind, and of counts that are saved with the
run, so that a resumed run has the same rates. At the start, the rate rises linearly over `warmup_steps`.

==============  =====================================================================================
"cosine"        half a cosine from `learning_rate` to `final_learning_rate` (Loshchilov and Hutter, ICLR 2017, without restarts)
"exponential"   by the same factor at every step, from `learning_rate` to `final_learning_rate`
"step"          multiplied by `factor` after each part of the training in `steps_at`
"plateau"       multiplied by `factor` whenever the validation loss has not become smaller for `plateau_patience` validations
"constant"      stays
==============  =====================================================================================
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from potentials.training.config import OptimiserConfig


def learning_rate(config: OptimiserConfig, step: int, progress: float, reductions: int = 0) -> float:
    """Learning rate of a step.

    Parameters
    ----------
    progress : part of the training that lies behind, by steps or by the clock, 0 to 1.
    reductions : how often "plateau" has lowered the rate.
    """
    top, end = config.learning_rate, config.final_learning_rate
    progress = min(max(progress, 0.0), 1.0)
    if config.schedule == "cosine":
        rate = end + (top - end) * 0.5 * (1 + math.cos(math.pi * progress))
    elif config.schedule == "exponential":
        rate = top * (end / top) ** progress
    elif config.schedule == "step":
        rate = max(end, top * config.factor ** sum(progress >= part for part in config.steps_at))
    elif config.schedule == "plateau":
        rate = max(end, top * config.factor**reductions)
    else:
        rate = top
    return rate * min(1.0, (step + 1) / (config.warmup_steps + 1))


@dataclass(frozen=True)
class Waiting:
    """The smallest validation loss so far, and how many validations there were since."""

    smallest: float = math.inf
    validations: int = 0

    def after(self, loss: float) -> Waiting:
        """With one validation more; a loss that is no number is not smaller."""
        return Waiting(loss, 0) if loss < self.smallest else Waiting(self.smallest, self.validations + 1)


def after_plateau(config: OptimiserConfig, waiting: Waiting, reductions: int) -> tuple[Waiting, int]:
    """Counts after a validation: the wait begins anew where the rate is lowered."""
    if config.schedule == "plateau" and waiting.validations >= config.plateau_patience:
        return Waiting(waiting.smallest, 0), reductions + 1
    return waiting, reductions
