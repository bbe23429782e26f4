"""`mdapp bench`: what a step costs and where the time goes, plain and compiled in turns; copies evaluated together against their throughput.

Nothing is kept. Everything is put together as a run would (`_start.prepare`), the guards included, so the figures are those of a run.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mdapp.config.bench import BenchConfig
from mdapp.errors import EXIT_FINISHED, PotentialError
from mdapp.jobs._parts import Parts
from mdapp.jobs._report import Speed, header
from mdapp.jobs._session import CHECK_EVERY
from mdapp.jobs._start import Start, first_moment, prepare
from mdapp.jobs._stopping import Stopping
from mdapp.jobs.run import refuse_to_begin
from mdapp.screen import Screen, silent
from mdapp.simulation import Exploded

WARM_UP = 20  # steps before anything is timed
BLOCK_S = 0.25  # of one way, before the next has its turn


@dataclass(frozen=True)
class BenchResult:
    """What was measured."""

    exit_code: int
    summary: dict[str, Any]


@dataclass
class _Way:
    """One way to evaluate, and what its blocks took."""

    name: str
    start: Start
    parts: Parts
    steps_in_block: int
    blocks: list[dict[str, float]]

    @property
    def ms_per_step(self) -> float:
        return float(np.median([sum(b.values()) for b in self.blocks]))


def bench(config: BenchConfig, screen: Screen | None = None) -> BenchResult:
    """Measure the steps of a run, in memory.

    Raises
    ------
    UserError : as `run.run` would; or the dynamics ran away while they were measured.
    """
    screen = screen or silent()
    with Stopping(None, None) as stopping, stopping.at_once():
        ways = [_way("plain", replace(config, compile=False), screen, stopping)]
        if config.compile:
            ways.append(_way("compiled", config, screen, stopping))
        refuse_to_begin(stopping)
        screen.header("mdapp bench", header(ways[0].start, None))
        end = time.perf_counter() + config.seconds * len(ways)
        while time.perf_counter() < end or len(ways[0].blocks) < 3:
            for way in ways:
                way.blocks.append(way.parts.block(way.steps_in_block))
            screen.live(f"block {len(ways[0].blocks)} of {way.steps_in_block} steps", 1 - max(0.0, end - time.perf_counter()) / (config.seconds * len(ways)))
        screen.end_live()
        found = {way.name: _figures(way, config.timestep) for way in ways}
        for way in ways:
            way.parts.release()
        together = _together(ways[-1], config)
    rows = [(name, _sentence(figures)) for name, figures in found.items()]
    rows += [("copies", f"{t['copies']} together: {t['ms']:.3g} ms, {t['per_second']:.4g} structures/s ({t['gain']:.2g} times one by one)") for t in together]
    best = min(ways, key=lambda way: way.ms_per_step)
    said = f"{found[best.name]['ns_per_day']:.3g} ns/day with {best.name} code; medians of {len(best.blocks)} blocks; nothing was written."
    screen.close("finished", said, rows)
    start = ways[0].start
    summary = {"exit_code": EXIT_FINISHED, "n_atoms": len(start.atoms), "method": config.method, "timestep_fs": config.timestep, "device": start.config.device,
               "threads": start.config.threads, "dtype": start.potential.dtype, "ways": found, "copies": together}  # fmt: skip
    return BenchResult(EXIT_FINISHED, summary)


def _way(name: str, config: BenchConfig, screen: Screen, stopping: Stopping) -> _Way:
    start = prepare(config, screen, stopping)
    for warning in start.warnings if name == "plain" else ():
        screen.warn(warning)
    stepper, watches = first_moment(start)
    parts = Parts(stepper, watches, start.atoms, CHECK_EVERY, _waiting(start.config.device))
    begun = time.perf_counter()
    try:
        parts.block(WARM_UP)
    except Exploded as explosion:
        raise PotentialError(f"{start.potential.title} runs away within {WARM_UP} steps ({explosion}): there is nothing to measure.") from explosion
    steps = max(CHECK_EVERY, round(BLOCK_S * WARM_UP / (time.perf_counter() - begun)))
    return _Way(name, start, parts, -(-steps // CHECK_EVERY) * CHECK_EVERY, [])


def _figures(way: _Way, timestep_fs: float) -> dict[str, Any]:
    """Medians of the blocks; the parts add up to the whole of a mean block."""
    whole = [sum(b.values()) for b in way.blocks]
    low, high = np.percentile(whole, (25, 75))
    speed = Speed(1, way.ms_per_step / 1000, timestep_fs)
    return {"ms_per_step": way.ms_per_step, "spread_ms": float(high - low) / 2, "fastest_ms": float(min(whole)), "ns_per_day": speed.ns_per_day,
            **{f"{part}_ms": float(np.median([b[part] for b in way.blocks])) for part in way.blocks[0]}, "blocks": len(whole)}  # fmt: skip


def _sentence(figures: dict[str, Any]) -> str:
    parts = ", ".join(f"{name.removesuffix('_ms').replace('_', ' ')} {figures[name]:.3g}" for name in figures
                      if name.endswith("_ms") and name not in ("spread_ms", "fastest_ms"))
    return f"{figures['ms_per_step']:.3g} ± {figures['spread_ms']:.2g} ms/step, {figures['ns_per_day']:.3g} ns/day: {parts}"


def _together(way: _Way, config: BenchConfig) -> list[dict[str, Any]]:
    """Energy and forces of several copies at once; none for calculators that are not potentials of ours."""
    counts = [4**k for k in range(1, 20) if 4**k <= config.copies]
    alone_ms = float(np.median([b["neighbours"] + b["potential"] + b["conversion"] for b in way.blocks])) if "neighbours" in way.blocks[0] else 0.0
    evaluator = getattr(way.start.atoms.calc, "evaluator", None)
    if not counts or evaluator is None:
        return []
    from potentials.calculator import batch_evaluator
    from potentials.runtime.batch_evaluator import Item
    from potentials.runtime.evaluator import System

    atoms = way.start.atoms
    evaluate = batch_evaluator(atoms.calc, compiled=way.name == "compiled" and not atoms.calc.potential.has_long_range)
    system = System(atoms.numbers.copy(), atoms.pbc.copy(), float(atoms.info.get("charge", 0)), float(atoms.info.get("multiplicity", 1)) - 1)
    rng = np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for n in counts:
        places = [atoms.positions + 0.01 * rng.normal(size=atoms.positions.shape) for _ in range(n)]
        items = [Item(k, system, place, atoms.cell.array) for k, place in enumerate(places)]
        evaluate(items)
        seconds: list[float] = []
        while sum(seconds) < config.seconds / 2 or len(seconds) < 3:
            for place in places:
                place += 1e-4 * rng.normal(size=place.shape)
            begun = time.perf_counter()
            evaluate(items)
            seconds.append(time.perf_counter() - begun)
        median = float(np.median(seconds))
        rate = n / median
        found.append({"copies": n, "ms": 1000 * median, "per_second": rate, "gain": rate * alone_ms / 1000})
    return found


def _waiting(device: str) -> Callable[[], Any] | None:
    """What waits for a GPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return lambda: torch.cuda.synchronize(device)
