"""What do coarser numbers in a network's dense products do to energies and forces?

    python scripts/bench_precision.py DATA... [--potential so3krates.pt] [--frames 200]

Against the same potential in float64, on frames of labelled data: "float32" as shipped (positions, pair vectors and energy sums
are float64 in any case); "tf32", the inputs of dense layers rounded to 10 bits as a GPU does that may; "bf16 dense", the dense
layers in bfloat16 and all else in float32; "bf16 autocast", torch's own choice of operations.
"""
from __future__ import annotations

import argparse
import contextlib
import copy
import time
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from _bench import append_row, say_where, table

from potentials import load_potential
from potentials.data.dataset import Dataset, build_dataset
from potentials.data.read import read_labelled
from potentials.derivatives import energy_forces_stress
from potentials.potential import Potential


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--potential", default="so3krates.pt")
    parser.add_argument("--frames", type=int, default=200, help="Of each file, evenly spread.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    where, shown = say_where(threads=1), []
    potential = load_potential(asked.potential).float()
    for path in asked.data:
        n = sum(1 for _ in read_labelled(path))
        frames = list(islice(read_labelled(path), 0, None, max(1, n // asked.frames)))[: asked.frames]
        dataset = build_dataset(frames, potential.cutoff, potential.far_cutoff(periodic=False))
        reference = evaluated(copy.deepcopy(potential).double(), dataset)
        for name, variant, context in variants(potential):
            energy, forces, seconds = evaluated(variant, dataset, context)
            dE, dF = 1000 * (energy - reference[0]).abs(), 1000 * (forces - reference[1]).abs()
            row = {"potential": asked.potential, "data": path.rsplit("/", 1)[-1], "frames": len(dataset), "precision": name,
                   "energy_mae_meV_atom": float(dE.mean()), "energy_max_meV_atom": float(dE.max()), "forces_mae_meV_A": float(dF.mean()),
                   "forces_max_meV_A": float(dF.max()), "cpu_ms_per_frame": 1000 * seconds / len(dataset)}  # fmt: skip
            append_row("precision", {**where, **row})
            shown.append([v for v in row.values()][1:])
    print(table(shown, list(row)[1:]))


def evaluated(potential: Potential, dataset: Dataset, context: Callable = contextlib.nullcontext) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Energies per atom, forces, processor seconds."""
    energies, forces, began = [], [], time.process_time()
    for indices in np.array_split(np.arange(len(dataset)), max(1, len(dataset) // 10)):
        batch = dataset.batch(indices)
        with context():
            found = energy_forces_stress(potential, batch.graph)
        energies.append(found.energy / batch.atom_counts)
        forces.append(found.forces)
    return torch.cat(energies), torch.cat(forces), time.process_time() - began


def variants(potential: Potential) -> list[tuple[str, Potential, Callable]]:
    def bf16() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)

    return [("float32", potential, contextlib.nullcontext), ("tf32", with_dense(potential, tf32_linear), contextlib.nullcontext),
            ("bf16 dense", with_dense(potential, bf16_linear), contextlib.nullcontext), ("bf16 autocast", potential, bf16)]  # fmt: skip


def with_dense(potential: Potential, product: Callable) -> Potential:
    """The potential with other products in its dense layers."""
    potential = copy.deepcopy(potential)
    for module in potential.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = lambda x, layer=module: product(x, layer.weight, layer.bias)  # type: ignore[method-assign]
    return potential


def bf16_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    y = torch.nn.functional.linear(x.bfloat16(), weight.bfloat16()).to(x.dtype)
    return y if bias is None else y + bias


def tf32_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.nn.functional.linear(Rounded.apply(x), Rounded.apply(weight), bias)


class Rounded(torch.autograd.Function):
    """float32 with 10 of its 23 bits behind the point, forwards and backwards."""

    @staticmethod
    def forward(ctx, x):
        return _rounded(x)

    @staticmethod
    def backward(ctx, gradient):
        return _rounded(gradient)


def _rounded(x: torch.Tensor) -> torch.Tensor:
    bits = x.detach().contiguous().view(torch.int32)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


if __name__ == "__main__":
    main()
