"""One of several processes of a training, started by test_distributed.py: reads what to do, writes what came out."""
import itertools
import sys
from dataclasses import replace

import numpy as np
import torch
from data.test_dataset import structure
from samples import small
from training.toy_pair import write_toy_data  # noqa: F401 (registers the toy)

from potentials.data import build_dataset
from potentials.training.config import LossConfig, TrainConfig
from potentials.training.distributed import joined_errors, joined_loss, joined_workers, leave, sum_gradients
from potentials.training.evaluate import plain_predictor
from potentials.training.fit import fit
from potentials.training.metrics import ErrorSums
from potentials.training.screen import TrainingScreen
from potentials.typed import from_mapping

LOSSES = {
    "global": LossConfig(energy=3.0, forces=0.7),
    "structure": LossConfig(energy=1.0, forces=2.0, force_reduction="structure", kind="huber"),
    "stress": LossConfig(energy=1.0, forces=1.0, stress=0.5),
}
PARTS = {"uneven": np.arange(7), "one": np.array([4]), "two": np.array([5, 0])}  # of "one", a second process has nothing


def labelled_set():
    """Periodic frames of several sizes, one without energy, one without forces, some without stress."""
    frames = [structure(k, n_atoms=2 + k, periodic=True) for k in range(7)]
    frames[2], frames[3], frames[1] = replace(frames[2], energy=None), replace(frames[3], forces=None), replace(frames[1], stress=None)
    return build_dataset(frames, 3.0)


def gradients(workers, potential, dataset, indices, config):
    """Gradients of the joined batch as each process has them, the loss, and the error sums."""
    mine, sums = workers.part(indices, dataset.edge_counts), ErrorSums()
    batch = dataset.batch(mine) if len(mine) else None
    prediction = None if batch is None else plain_predictor(potential, stress=config.stress > 0, create_graph=True)(batch.graph)
    if prediction is not None:
        sums.add(prediction, batch)
    potential.zero_grad()
    share = joined_loss(workers, prediction, batch, config, 0.5)
    if share.requires_grad:
        share.backward()
    sum_gradients(workers, potential.parameters())
    found = [None if p.grad is None else p.grad.clone() for p in potential.parameters()]
    return found, float(workers.sum(share.detach())), joined_errors(workers, sums).state()


def all_gradients(workers):
    potential, dataset = small("so3krates", num_layers=1, cutoff=3.0), labelled_set()
    return {(part, name): gradients(workers, potential, dataset, PARTS[part], config) for part in PARTS for name, config in LOSSES.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, asked = sys.argv[1], torch.load(f"{sys.argv[1]}/asked.pt", weights_only=True)
    with joined_workers("cpu") as workers:
        torch.save(all_gradients(workers), f"{folder}/gradients-{workers.rank}.pt")
        whole, stopped = (from_mapping(TrainConfig, config, "test") for config in asked["fits"])
        fit(whole, screen=TrainingScreen(quiet=True))
        asks = itertools.count(1)
        result = fit(stopped, should_stop=lambda: next(asks) == asked["stop_after"] and workers.rank == 1, screen=TrainingScreen(quiet=True))
        assert not result.finished and result.steps == asked["stop_after"]
        fit(stopped, resume=True, screen=TrainingScreen(quiet=True))
    leave(0)
