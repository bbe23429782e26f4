"""Configurations that a committee comes to by itself: by dynamics, by a search for minima, by relaxations.

What it does behind a guard that broke is no configuration: the numbers that led there are not to be trusted, and a label of nonsense teaches nonsense.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config.learn import LearnConfig
from mdapp.errors import EXIT_STOPPED
from mdapp.jobs._learn_train import LoopStopped

if TYPE_CHECKING:
    from ase import Atoms

LOOK_EVERY = 10  # steps between two looks of the guards


@dataclass
class Explored:
    """What was found."""

    found: list[Atoms] = field(default_factory=list)
    held_ps: list[float] = field(default_factory=list)  # of each walk by dynamics, until a guard broke it
    reasons: list[str] = field(default_factory=list)  # of those that were broken

    @property
    def mean_held_ps(self) -> float | None:
        return float(np.mean(self.held_ps)) if self.held_ps else None


def explore(config: LearnConfig, starts: Sequence[Atoms], members: Sequence[Path], folder: Path, round_number: int,
            should_stop: Callable[[], bool]) -> Explored:  # fmt: skip
    """Explore from every start; nothing of it is kept unless it came to its end."""
    from potentials.calculator import load_calculator

    calculator = load_calculator([str(m) for m in members], device=config.device)
    explored = Explored()
    way = {"md": _dynamics, "minima": _minima, "optimiser": _relaxations}[config.explore.method]
    for k, start in enumerate(starts):
        for walk in range(config.explore.walks):
            if should_stop():
                return explored
            rng = np.random.default_rng([config.seed, round_number, k, walk])
            way(config, start, calculator, members, folder / f"walk-{k}-{walk}", rng, explored, should_stop)
    return explored


def _dynamics(config: LearnConfig, start: Atoms, calculator: Any, members: Sequence[Path], folder: Path, rng: np.random.Generator, explored: Explored,
              should_stop: Callable[[], bool]) -> None:  # fmt: skip
    from mdapp.dynamics import draw_momenta, ensembles
    from mdapp.dynamics._base import degrees_of_freedom_of
    from mdapp.jobs._plugins import guards_of
    from mdapp.simulation import ASEStepper, simulate
    from mdapp.topology import find_bonds

    how, atoms = config.explore, start.copy()
    atoms.calc = calculator
    ensemble = ensembles.get("nvt-langevin")(temperature_K=how.temperature_K)
    atoms.set_momenta(draw_momenta(atoms, how.temperature_K, rng, degrees_of_freedom_of(ensemble, atoms)))
    stepper = ASEStepper(atoms, ensemble, how.timestep_fs, rng)
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    first = stepper.frame()
    watches = [guard.begin(first, bonds) for guard in guards_of(config.guard)]
    frames: list[Any] = []
    outcome = simulate(stepper, how.steps, watches, [frames.append], every=how.every, check_every=LOOK_EVERY, should_stop=should_stop, record=0)
    explored.held_ps.append(outcome.step * how.timestep_fs / 1000)
    last = how.steps
    if outcome.cause is not None:
        explored.reasons.append(outcome.cause.verdict.reason)
        last = outcome.step - LOOK_EVERY - 1  # what led to the break began before it was seen
    for frame in frames:
        if 0 < frame.step <= last:
            explored.found.append(_like(start, frame.positions, frame.cell))


def _relaxations(config: LearnConfig, start: Atoms, calculator: Any, members: Sequence[Path], folder: Path, rng: np.random.Generator, explored: Explored,
                 should_stop: Callable[[], bool]) -> None:  # fmt: skip
    """A start thrown off, and its way down; what is on the way counts as long as no atoms fall into each other."""
    from ase.optimize import FIRE

    atoms = start.copy()
    atoms.positions += rng.normal(0.0, config.explore.rattle, atoms.positions.shape)
    atoms.calc = calculator
    way: list[np.ndarray] = []
    for converged in FIRE(atoms, logfile=None).irun(fmax=0.01, steps=config.explore.steps):
        way.append(atoms.positions.copy())
        if converged or should_stop() or not np.isfinite(atoms.get_forces()).all():
            break
    kept = way[:: config.explore.every] + way[-1:]
    explored.found += [_like(start, x, start.cell.array) for x in kept if _apart(start, x)]


def _minima(config: LearnConfig, start: Atoms, calculator: Any, members: Sequence[Path], folder: Path, rng: np.random.Generator, explored: Explored,
            should_stop: Callable[[], bool]) -> None:  # fmt: skip
    import shutil

    from ase.io import read

    from mdapp.config import MinimaConfig
    from mdapp.jobs.minima import minima
    from mdapp.trajectory import write_input

    if folder.exists():
        shutil.rmtree(folder)  # of a round that was cut short
    folder.parent.mkdir(parents=True, exist_ok=True)
    source = folder.with_suffix(".extxyz")
    write_input(source, start)
    asked = MinimaConfig(str(source), tuple(str(m) for m in members), hops=config.explore.hops, walkers=1, output=str(folder), device=config.device,
                         seed=int(rng.integers(2**31)), threads=config.threads)  # fmt: skip
    result = minima(asked)
    if result.exit_code == EXIT_STOPPED:
        raise LoopStopped
    for found in read(folder / "lowest.extxyz", ":"):
        if len(found) == len(start) and _apart(start, found.positions):
            explored.found.append(_like(start, found.positions, start.cell.array))


def _like(start: Atoms, positions: np.ndarray, cell: np.ndarray) -> Atoms:
    from ase import Atoms

    info = {key: start.info[key] for key in ("charge", "multiplicity", "molecule") if key in start.info}
    return Atoms(numbers=start.numbers, positions=positions, cell=cell, pbc=start.pbc, info=info)


def _apart(start: Atoms, positions: np.ndarray) -> bool:
    """No two atoms closer than half the sum of their covalent radii."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    if not np.isfinite(positions).all():
        return False
    atoms = _like(start, positions, start.cell.array)
    i, j, d = neighbor_list("ijd", atoms, 2 * float(covalent_radii[atoms.numbers].max()))
    return not bool((d < 0.5 * (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])).any())


def unbroken(explored: Explored) -> Explored:
    """The same without repeated configurations."""
    seen: set[bytes] = set()
    kept = [a for a in explored.found if not ((key := np.round(a.positions, 6).tobytes()) in seen or seen.add(key))]  # type: ignore[func-returns-value]
    return replace(explored, found=kept)
