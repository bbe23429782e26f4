"""Several processes that train one potential: on the cores of a machine, on its GPUs, on several machines.

    torchrun --nproc-per-node 2 -m mdapp train config.toml

All processes go through the same batches in the same order. Each takes its part of a batch, chosen so that edges balance;
sums and counts of the loss and the gradients are added over the processes. So the gradient is that of the joined batch,
the number of processes changes nothing but the time (and the order of sums), and the settings mean what they mean for one
process: `batch_size` is that of the joined batch. The first process writes; a stop of one stops all.

Gradients are summed by one collective call after the backward pass. (DistributedDataParallel hangs its sums on the backward
pass itself, and forces in the loss go through that twice.)
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from potentials.data.dataset import Batch
from potentials.training.config import LossConfig
from potentials.training.loss import Prediction, Term, loss_terms, weights_at
from potentials.training.metrics import ErrorSums

PATIENCE = timedelta(hours=6)  # how long one process waits for another that reads data or runs dynamics


@dataclass(frozen=True)
class Workers:
    """The processes of a training, as one of them sees them."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Is this the one that writes?"""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, the same bits in each."""
        if self.alone:
            return values
        total = values.detach().to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(values.device)

    def any(self, flag: bool) -> bool:
        """Is it so in any process?"""
        return flag if self.alone else bool(self.sum(torch.tensor([float(flag)])) > 0)

    def of_first(self, values: Iterable[float]) -> list[float]:
        """The first process's numbers; the others give as many, of any value."""
        numbers = torch.tensor([float(v) for v in values], dtype=torch.float64)
        return (self.sum(numbers if self.leads else torch.zeros_like(numbers))).tolist()

    def wait(self) -> None:
        """Until all have come here."""
        self.any(False)

    def part(self, indices: np.ndarray, edge_counts: np.ndarray) -> np.ndarray:
        """This process's part of a batch; may be empty. See `deal`."""
        return indices if self.alone else deal(indices, edge_counts[indices], self.size)[self.rank]


ALONE = Workers()


@contextmanager
def joined_workers(device: str) -> Iterator[Workers]:
    """The processes that torchrun started, or this one alone.

    Parameters
    ----------
    device : "cuda" becomes the GPU of this process's number on its machine.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "RANK" not in os.environ:
        yield Workers(device=device)
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        torch.cuda.set_device(device)
    ours = not dist.is_initialized()  # who joined them before parts them again
    if ours:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if ours:
            dist.destroy_process_group()


def leads() -> bool:
    """Is this the first of the processes that torchrun started, or the only one? Before they are joined, too."""
    return int(os.environ.get("RANK", 0)) == 0


def leave(exit_code: int) -> None:
    """End a process that torchrun started, its output written; do nothing where there is one alone.

    Threads of gloo drop the tensors of their last sum when they come to it, and one that does so while Python shuts down aborts the process, with all
    its work done; torchrun would call the training failed.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def deal(indices: np.ndarray, weights: np.ndarray, n: int) -> list[np.ndarray]:
    """Indices in `n` parts of nearly the same total weight, each in the given order: the heaviest first, to the lightest part."""
    parts: list[list[int]] = [[] for _ in range(n)]
    loads = np.zeros(n, dtype=np.int64)
    for place in np.argsort(-np.asarray(weights), kind="stable"):
        lightest = min(range(n), key=lambda k: (loads[k], len(parts[k])))
        parts[lightest].append(int(place))
        loads[lightest] += weights[place]
    return [np.asarray(indices, dtype=np.int64)[np.sort(np.array(part, dtype=np.int64))] for part in parts]


def joined_loss(workers: Workers, prediction: Prediction | None, batch: Batch | None, config: LossConfig, progress: float) -> Tensor:
    """This process's share of the joined batch's loss: the shares of all processes add up to it, and so do their gradients.

    Parameters
    ----------
    prediction, batch : of this process's part; None where it is empty.
    progress : part of the training that lies behind, 0 to 1.
    """
    weights = weights_at(config, progress)
    zero = torch.zeros((), dtype=torch.float64, device=workers.device)
    terms: dict[str, Term] = {} if prediction is None or batch is None else loss_terms(prediction, batch, config)
    counts = torch.stack([terms[name].count.to(zero) if name in terms else zero for name in weights])
    joined = dict(zip(weights, workers.sum(counts)))
    parts = [weights[name] * term.total / joined[name].clamp(min=1) for name, term in terms.items()]
    return sum(parts[1:], parts[0]) if parts else zero


def sum_gradients(workers: Workers, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Add the gradients of all processes. A parameter that has none anywhere still has none."""
    if workers.alone:
        return
    parameters = [p for p in parameters if p.requires_grad]
    for dtype in dict.fromkeys(p.dtype for p in parameters):
        some = [p for p in parameters if p.dtype == dtype]
        there = torch.tensor([p.grad is not None for p in some], dtype=dtype, device=some[0].device)
        flat = torch.cat([there, *((torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in some)])
        flat = workers.sum(flat)
        anywhere, *gradients = flat.split([len(some), *(p.numel() for p in some)])
        for p, known, gradient in zip(some, anywhere.tolist(), gradients):
            p.grad = gradient.reshape(p.shape).clone() if known else None


def joined_errors(workers: Workers, errors: ErrorSums) -> ErrorSums:
    """The sums of all processes together."""
    if workers.alone:
        return errors
    state = errors.state()
    total = workers.sum(torch.tensor([x for values in state.values() for x in values], dtype=torch.float64)).tolist()
    numbers = iter(total)
    return ErrorSums.from_state({name: [next(numbers) for _ in values] for name, values in state.items()})
