"""How long does a potential hold? Short molecular dynamics in memory, watched by all guards, for a training's report.

Every call begins with the same structures, the same momenta and the same random numbers, so that what changes between two calls is
the potential. Nothing is written.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mdapp.errors import PotentialError, StructureError
from mdapp.screen import Screen

if TYPE_CHECKING:
    from ase import Atoms

    from potentials.potential import Potential
    from potentials.training.config import StabilityConfig


def stability_runs(config: StabilityConfig, device: str, screen: Screen) -> Callable[[Potential], list[float]]:
    """A function of a potential: the time in ps that its dynamics of each structure held, at most `config.time_ps`.

    The structures are read at once, so that what cannot be read stops a training before it begins.

    Raises
    ------
    StructureError : a structure that cannot be read or simulated.
    """
    from mdapp.structure import check_start, read_structure

    starts: list[Atoms] = []
    for path in config.structures:
        atoms = read_structure(path)
        atoms.info.pop("notes", None)
        refused = [f.message for f in check_start(atoms, None, config.timestep_fs, False, None) if f.level == "refuse"]
        if refused:
            raise StructureError(f"[train.stability] {path}: {refused[0]}")
        starts.append(atoms)

    def held(potential: Potential) -> list[float]:
        times = []
        for number, (path, atoms) in enumerate(zip(config.structures, starts)):
            try:
                time_ps, why = time_to_failure(potential, atoms, config, device, np.random.default_rng([config.seed, number]))
            except ValueError as error:  # an element or a charge that it does not know
                raise PotentialError(f"[train.stability] {path}: {error}") from error
            if why:
                screen.detail(f"  {path}: {time_ps:.3f} ps: {why}")
            times.append(time_ps)
        return times

    return held


def time_to_failure(
    potential: Potential, start: Atoms, config: StabilityConfig, device: str, rng: np.random.Generator
) -> tuple[float, str]:
    """Time in ps until a guard stops the dynamics of one structure, and why; the asked time and "" where none does."""
    from mdapp.dynamics import draw_momenta, ensembles
    from mdapp.dynamics._base import degrees_of_freedom_of
    from mdapp.jobs._plugins import guards_of
    from mdapp.simulation import ASEStepper, simulate
    from mdapp.topology import find_bonds
    from potentials.calculator import PotentialCalculator

    atoms = start.copy()
    atoms.calc = PotentialCalculator(potential, device=device)
    ensemble = ensembles.get("nvt-langevin")(temperature_K=config.temperature_K)
    atoms.set_momenta(draw_momenta(atoms, config.temperature_K, rng, degrees_of_freedom_of(ensemble, atoms)))
    stepper = ASEStepper(atoms, ensemble, config.timestep_fs, rng)
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    first = stepper.frame()
    watches = [guard.begin(first, bonds) for guard in guards_of(("on",))]
    steps = max(1, round(1000 * config.time_ps / config.timestep_fs))
    outcome = simulate(stepper, steps, watches, record=0)
    if outcome.cause is not None:
        return min(outcome.step * config.timestep_fs / 1000, config.time_ps), outcome.cause.verdict.reason
    return config.time_ps, ""
