"""Tallies that see some frames see the right ones, however the stream is cut into chunks."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdapp.analysis.chunks import Chunk, System, chunks_of, tally
from mdapp.analysis.diffusion import diffusion
from mdapp.analysis.rdf import RdfTally, rdf
from mdapp.analysis.thinned import EvenSample, EveryNth, joined, part

from .series import frames_of

SYSTEM = System(np.array([18]), np.array([40.0]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))


class Times:
    """Remembers what it was shown."""

    def __init__(self):
        self.seen: list[float] = []

    def add(self, chunk):
        self.seen += chunk.time_ps.tolist()

    def result(self):
        return self.seen


def stream(n, size):
    for begin in range(0, n, size):
        times = np.arange(begin, min(begin + size, n), dtype=float)
        yield Chunk(SYSTEM, times, np.zeros((len(times), 1, 3)), np.zeros((len(times), 3, 3)))


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("stride", [1, 3, 10])
def test_every_nth_frame_whatever_the_chunks(size, stride):
    assert tally(EveryNth(Times(), stride), stream(100, size)) == list(range(0, 100, stride))


@pytest.mark.parametrize("size", [1, 7, 256])
@pytest.mark.parametrize("n", [1, 9, 10, 11, 500, 1001])
def test_a_sample_of_a_stream_is_even_and_no_larger_than_asked(size, n):
    seen = tally(EvenSample(Times(), most=10), stream(n, size))
    steps = set(np.diff(seen))
    assert seen[0] == 0 and len(steps) <= 1 and len(seen) <= 10 and len(seen) >= min(n, 5)
    assert n - seen[-1] <= (steps.pop() if steps else 1)  # to the end


def test_a_short_trajectory_is_seen_whole():
    positions = np.random.default_rng(1).uniform(0, 9, (20, 30, 3))
    frames = frames_of(positions, np.full(30, 18), cell=[9.0, 9, 9])
    assert tally(EvenSample(RdfTally(("Ar", "Ar"))), frames).g == pytest.approx(rdf(frames, ("Ar", "Ar")).g)


def test_parts_put_together_are_the_whole():
    frames = frames_of(np.random.default_rng(2).normal(size=(6, 2, 3)), [8, 1], velocities=np.ones((6, 2, 3)), extras={"dipole": np.arange(18.0).reshape(6, 3)})
    whole = next(chunks_of(frames))
    again = joined([part(whole, np.arange(2)), part(whole, np.arange(2, 6))])
    for name in ("time_ps", "positions", "velocities", "dipole", "cells"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert again.charges is None and joined([whole, replace(whole, dipole=None)]).dipole is None


def test_diffusion_of_one_kind_of_molecules():
    """Hydrogen molecules walk, argon atoms stand; D of a walk with steps of variance s² in every direction and frame is s² / (2 dt)."""
    rng, n, dt_fs, sigma = np.random.default_rng(3), 4000, 10.0, 0.05
    walks = np.cumsum(sigma * rng.normal(size=(n, 12, 1, 3)), axis=0) + 5.0 * np.arange(12)[:, None, None]
    molecules = (walks + np.array([[0.0, 0, 0], [0.74, 0, 0]])).reshape(n, 24, 3)
    still = np.broadcast_to(100 + 6.0 * np.arange(12)[:, None], (n, 12, 3))
    frames = frames_of(np.concatenate([molecules, still], axis=1), [1] * 24 + [18] * 12, frame_fs=dt_fs, masses=[1.0] * 24 + [1e6] * 12)
    found = diffusion(frames, "H2", max_lag_ps=1.0)
    assert found.n_particles == 12 and found.D_cm2_s == pytest.approx(1e-4 * sigma**2 / (2 * dt_fs / 1000), rel=0.15)
    assert diffusion(frames, "Ar", max_lag_ps=1.0).D_cm2_s == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="no H2O in the trajectory.*Ar, H2"):
        diffusion(frames, "H2O")
