"""Do a million labelled frames need to fit in memory, and does the loader keep up?

    python scripts/million_frames.py [--frames 1000000] [--folder FOLDER] [--keep]

Writes an HDF5 file of small molecules (6 to 14 atoms, SPICE's layout, analytic labels), prepares it as `[train.data] cache`
does, and measures the anonymous memory of this process all along (mapped pages of files are the system's, which takes them
back when it needs them), the time for a random batch (pairs stored, pairs found, frames in order, files not in memory, the
HDF5 file itself), and the time of a training step of a small So3krates on the same batches. Nothing is left behind.
"""
from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import torch
from _bench import append_row, median, say_where, table

from potentials.architectures import architectures
from potentials.data.dataset import Dataset, batches
from potentials.data.labelled import LabelledStructure
from potentials.data.loading import made_ahead
from potentials.data.read import read_labelled
from potentials.data.statistics import statistics
from potentials.data.storage import open_dataset, write_dataset
from potentials.training.config import LossConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.loss import loss

ATOM = {1: -13.6, 6: -1029.0, 7: -1485.0, 8: -2042.0}  # eV
CUTOFF = 5.0  # Å
TOGETHER = 1000  # frames of a molecule


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Where to write, about 0.8 GB a million frames; a temporary folder when not given.")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=400, help="Of each kind that is timed.")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is written is removed
    where = say_where(threads=1, seed=0)
    folder = Path(tempfile.mkdtemp(prefix="frames-", dir=asked.folder))
    try:
        if shutil.disk_usage(folder).free < 2500 * asked.frames:
            raise SystemExit(f"{folder} has less than {2.5e-6 * asked.frames:.1f} GB free; name another --folder.")
        row = measure(folder, asked.frames, asked.batch_size, asked.batches)
    finally:
        if not asked.keep:
            shutil.rmtree(folder)
    print(table([(name, value) for name, value in row.items()], ("what", "value")))
    print(f"row added to {append_row('million_frames', {**where, **row})}")


def measure(folder: Path, n_frames: int, batch_size: int, n_batches: int) -> dict[str, float]:
    """Times and memory; every figure by the name of its column."""
    source, row = folder / "frames.h5", {"frames": n_frames, "batch_size": batch_size}
    write_file(source, n_frames)
    started = anonymous_MB()
    memory: dict[float, float] = {}

    def watched() -> Iterator[LabelledStructure]:
        for k, s in enumerate(read_labelled(source, format="spice")):
            if k in {n_frames // 10, n_frames // 2, n_frames - 1}:
                memory[k] = anonymous_MB()
            yield s

    began, busy = time.perf_counter(), time.process_time()
    dataset = write_dataset(folder / "stored", watched(), CUTOFF)
    row |= {"prepare_us_per_frame": 1e6 * (time.perf_counter() - began) / n_frames, "prepare_cpu_us": 1e6 * (time.process_time() - busy) / n_frames}
    row |= {"atoms": len(dataset.numbers), "pairs": int(dataset.pairs.start[-1])}
    row |= {"file_MB": source.stat().st_size / 1e6, "prepared_MB": sum(p.stat().st_size for p in (folder / "stored").iterdir()) / 1e6}
    row |= {"MB_at_start": started, **{f"MB_at_{name}": m for name, m in zip(("10%", "50%", "100%"), memory.values())}}
    indices = np.arange(n_frames)
    began = time.perf_counter()
    statistics(dataset, indices)
    row |= {"statistics_s": time.perf_counter() - began, "MB_after_statistics": anonymous_MB()}

    chosen = list(islice(batches(dataset, indices, batch_size, rng=np.random.default_rng(0)), n_batches))

    def order() -> Iterator[np.ndarray]:
        return iter(chosen)

    row["batch_ms_random"] = per_batch(order(), dataset.batch)
    row["batch_ms_in_order"] = per_batch(islice(batches(dataset, indices, batch_size), n_batches), dataset.batch)
    found = searching(dataset)
    row["batch_ms_pairs_found"] = per_batch(order(), found.batch)
    row["batch_ms_hdf5"] = per_batch(islice(order(), max(1, n_batches // 10)), FromHDF5(source, found).batch)
    row |= training(dataset, order, row["batch_ms_random"])
    row["MB_at_end"] = anonymous_MB()
    del dataset, found  # what is mapped stays in memory
    forget(folder / "stored")
    row["batch_ms_from_disk"] = per_batch(order(), open_dataset(folder / "stored").batch)
    return row


def training(dataset: Dataset, order: Callable[[], Iterator[np.ndarray]], batch_ms: float) -> dict[str, float]:
    """A step of a small So3krates, with and without a thread that makes batches ahead."""
    architecture = architectures.get("so3krates")
    torch.manual_seed(0)
    potential = architecture(architecture.Config(
        num_layers=1, num_features=32, num_heads=2, degrees=(1, 2), num_radial_basis_fn=16, energy_regression_dim=32, cutoff=CUTOFF))  # fmt: skip
    potential.set_reference_energies(ATOM)
    predict, optimiser = plain_predictor(potential, create_graph=True), torch.optim.AdamW(potential.parameters(), lr=1e-4)
    result: dict[str, float] = {}
    for ahead in (0, 2):
        times, began, busy = [], time.perf_counter(), time.process_time()
        for _, batch in made_ahead(order(), dataset.batch, ahead):
            optimiser.zero_grad()
            loss(predict(batch.graph), batch, LossConfig()).backward()
            optimiser.step()
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
            if not result and len(times) == 20:
                result["MB_after_20_steps"] = anonymous_MB()
        result |= {f"step_ms_{ahead}_ahead": 1000 * median(times), f"step_cpu_ms_{ahead}_ahead": 1000 * (time.process_time() - busy) / len(times)}
    result["MB_after_steps"] = anonymous_MB()
    result["loader_part"] = batch_ms / result["step_cpu_ms_0_ahead"]  # of what a step takes on a machine of its own
    return result


def per_batch(order: Iterator[np.ndarray], make: Callable[[np.ndarray], object]) -> float:
    """Median wall time to make a batch, ms."""
    times = []
    for indices in order:
        began = time.perf_counter()
        make(indices)
        times.append(time.perf_counter() - began)
    return 1000 * median(times)


def searching(dataset: Dataset) -> Dataset:
    """The same frames, with pairs that are searched for each batch."""
    from dataclasses import replace

    from potentials.data.pairlists import FoundPairs

    return replace(dataset, pairs=FoundPairs(dataset.pairs.start, CUTOFF, dataset.start, dataset.positions, dataset.cell))


class FromHDF5:
    """The same batches, their positions and forces read from the HDF5 file frame by frame: what mapping saves."""

    def __init__(self, path: Path, dataset: Dataset):
        self.file, self.dataset = h5py.File(path, "r"), dataset
        self.groups = list(self.file)

    def batch(self, indices: np.ndarray) -> object:
        for k in indices.tolist():
            group = self.file[self.groups[k // TOGETHER]]
            np.asarray(group["conformations"][k % TOGETHER]), np.asarray(group["dft_total_gradient"][k % TOGETHER])
        return self.dataset.batch(indices)


def write_file(path: Path, n_frames: int) -> None:
    """Molecules of 6 to 14 atoms, a thousand jittered frames each; E = sum of atoms' energies + sum over pairs of exp(-(r/1.5 Å)²) eV."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number, begin in enumerate(range(0, n_frames, TOGETHER)):
            n_atoms, n = int(rng.integers(6, 15)), min(TOGETHER, n_frames - begin)
            numbers = rng.choice(list(ATOM), n_atoms, p=[0.5, 0.3, 0.1, 0.1])
            sites = np.stack(np.meshgrid(*[np.arange(3) * 1.3] * 3), axis=-1).reshape(-1, 3)
            r = rng.permutation(sites)[:n_atoms] + 0.1 * rng.standard_normal((n, n_atoms, 3))
            r_ij = r[:, None] - r[:, :, None]
            pair = np.exp(-np.square(r_ij).sum(-1) / 1.5**2) * ~np.eye(n_atoms, dtype=bool)
            gradient = (4 / 1.5**2) * np.einsum("nij,nijx->nix", pair, r_ij) / 2
            group = file.create_group(f"m{number:06d}")
            group["atomic_numbers"] = numbers
            columns = {"conformations": (r, "angstrom"), "dft_total_energy": (sum(ATOM[z] for z in numbers.tolist()) + pair.sum((1, 2)) / 2, "eV"),
                       "dft_total_gradient": (gradient, "eV/angstrom")}  # fmt: skip
            for name, (values, units) in columns.items():
                group.create_dataset(name, data=values.astype(np.float32 if values.ndim > 1 else np.float64)).attrs["units"] = units


def forget(folder: Path) -> None:
    """Ask the system to drop what it remembers of these files."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def anonymous_MB() -> float:
    """Memory of this process that is no mapped file, MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
