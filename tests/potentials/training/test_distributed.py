"""Two processes are one: the same gradients, the same weights, the same log; a stop of one stops both."""
import csv
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from potentials.training.config import DataConfig, LossConfig, OptimiserConfig, PotentialConfig, TrainConfig
from potentials.training.distributed import ALONE, deal
from potentials.training.fit import fit
from potentials.training.screen import TrainingScreen
from potentials.typed import to_mapping
from training.toy_pair import write_toy_data
from training.workers import LOSSES, PARTS, all_gradients

STOP_AFTER = 4


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_workers(folder, n=2):
    tests = Path(__file__).parent.parent
    common = {**os.environ, "WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1",
              "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent.parent)])}  # fmt: skip
    started = [subprocess.Popen([sys.executable, str(tests / "training" / "workers.py"), str(folder)], env={**common, "RANK": str(k), "LOCAL_RANK": str(k)},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for k in range(n)]  # fmt: skip
    try:
        told = [p.communicate(timeout=200)[0] for p in started]
    finally:
        for p in started:
            p.kill()
            p.communicate()
    assert [p.returncode for p in started] == [0] * n, "\n".join(told)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    write_toy_data(folder / "toy.xyz", n_frames=22)
    return TrainConfig(  # 17 training frames in batches of 4: the last one has a single frame, and one process nothing
        data=DataConfig(train=str(folder / "toy.xyz"), validation_fraction=0.25),
        output=str(folder / "run"), potential=PotentialConfig("toy-pair", {"n_basis": 8}), loss=LossConfig(energy=10.0, forces=1.0),
        optimiser=OptimiserConfig(learning_rate=0.05, final_learning_rate=1e-4, warmup_steps=2, ema=0.9, clip=1.0),
        max_steps=14, batch_size=4, validate_every=5, validation_frames=4, dtype="float64", seed=3, epochs=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(config, tmp_path_factory):
    """What two processes made of everything that these tests ask."""
    folder = tmp_path_factory.mktemp("two")
    cached = replace(config.data, cache=str(folder / "cache"))
    fits = [replace(config, output=str(folder / name), data=cached) for name in ("whole", "stopped")]
    torch.save({"stop_after": STOP_AFTER, "fits": [to_mapping(c) for c in fits]}, folder / "asked.pt")
    run_workers(folder)
    return folder


@pytest.fixture(scope="module")
def one(config):
    fit(config, screen=TrainingScreen(quiet=True))
    return Path(config.output)


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "hours" and v} for row in csv.DictReader(file)]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_the_joined_batch(two, part, loss):
    expected, value, errors = all_gradients(ALONE)[part, loss]
    scale = max(float(g.abs().max()) for g in expected if g is not None)
    for rank in (0, 1):
        found, joined, sums = torch.load(two / f"gradients-{rank}.pt", weights_only=True)[part, loss]
        assert joined == pytest.approx(value, rel=1e-12)
        assert sums["counts"] == errors["counts"] and sums["forces"] == pytest.approx(errors["forces"], rel=1e-12)
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            assert a is None or float((a - b).abs().max()) < 1e-12 * scale


def test_a_training_by_two_is_that_by_one(two, one):
    a, b = (torch.load(folder / "last.pt", weights_only=True) for folder in (two / "whole", one))
    for name in a["weights"]:
        assert torch.allclose(a["weights"][name], b["weights"][name], rtol=1e-12, atol=1e-13), name
    assert all(torch.allclose(x, y, rtol=1e-12, atol=1e-13) for x, y in zip(a["mean"]["means"], b["mean"]["means"]))
    assert a["position"]["step"] == b["position"]["step"] == 14
    for mine, theirs in zip(rows(two / "whole"), rows(one), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-8)
    assert {p.name for p in (two / "whole").iterdir()} == {p.name for p in one.iterdir()}


def test_batches_made_ahead_and_mapped_data_change_no_bit(config, one, tmp_path):
    data = replace(config.data, cache=str(tmp_path / "cache"), pairs="found")
    fit(replace(config, output=str(tmp_path / "run"), data=data, prefetch=2), screen=TrainingScreen(quiet=True))
    a, b = (torch.load(folder / "last.pt", weights_only=True) for folder in (tmp_path / "run", one))
    assert all(torch.equal(a["weights"][name], b["weights"][name]) for name in b["weights"])
    assert rows(tmp_path / "run") == rows(one)


def test_a_stop_of_one_stops_both_and_they_go_on_to_the_same_numbers(two):
    a, b = (torch.load(two / name / "last.pt", weights_only=True) for name in ("whole", "stopped"))
    assert all(torch.equal(a["weights"][name], b["weights"][name]) for name in a["weights"])
    assert rows(two / "whole")[-1] == pytest.approx(rows(two / "stopped")[-1], rel=1e-12)


def test_data_were_prepared_once_for_both(two):
    assert sorted(p.name for p in (two / "cache").iterdir() if not p.name.startswith(".")) == ["train"]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_frames_are_dealt_once_each_and_edges_balance(n):
    rng = np.random.default_rng(n)
    indices, weights = rng.permutation(100)[:23], rng.integers(10, 60, 23)
    parts = deal(indices, weights, n)
    assert sorted(np.concatenate(parts)) == sorted(indices)
    loads = [int(sum(w for k, w in zip(indices, weights) if k in set(part))) for part in parts]
    assert max(loads) - min(loads) <= weights.max()
    for part in parts:  # each in the order of the batch
        places = [int(np.flatnonzero(indices == k)[0]) for k in part]
        assert places == sorted(places)


def test_more_processes_than_frames_leave_some_empty():
    parts = deal(np.array([7, 3]), np.array([5, 9]), 4)
    assert sorted(len(p) for p in parts) == [0, 0, 1, 1] and all(p.dtype == np.int64 for p in parts)
