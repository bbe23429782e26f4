"""How a potential is learned: configuration, loop, errors."""
from potentials.training.config import TrainConfig, read_config
from potentials.training.evaluate import evaluate
from potentials.training.fit import FitResult, fit

__all__ = ["FitResult", "TrainConfig", "evaluate", "fit", "read_config"]
