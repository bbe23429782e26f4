"""From a configuration to a system that can take its first step: everything read, checked and put together, nothing written.

`run`, `resume` and `check` start here, so that what one of them refuses no other lets pass.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from mdapp.config import RunConfig
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta
from mdapp.errors import PotentialError, StructureError, UserError
from mdapp.jobs._arrange import arrange, swinging_masses, tie
from mdapp.jobs._charge import settle_charge
from mdapp.jobs._compute import device_for, set_threads
from mdapp.jobs._long_range import settle_long_range
from mdapp.jobs._plugins import ensemble_of, guards_of
from mdapp.jobs._memory import out_of_memory_words
from mdapp.jobs._potential import LoadedPotential, file_hash, first_line, is_out_of_memory, load, settle_promises
from mdapp.jobs._strain import strain_words
from mdapp.jobs._unknown import unknown_words
from mdapp.screen import Screen
from mdapp.structure import Finding, check_start, check_time_step, read_structure
from mdapp.topology import find_bonds, topology_of

if TYPE_CHECKING:
    import mdtraj

    from mdapp.dynamics._stepper import ASEStepper

STRAINED = 15.0  # eV/Å; molecules at 500 K see up to 12, so a thermal start is left as it is
RELAXED = 2.0  # eV/Å; enough for a quiet start, far from a minimum
RELAX_STEPS = 300
HOPELESS = 100.0  # eV/Å left after a relaxation


@dataclass
class Start:
    """A system that can take its first step."""

    config: RunConfig  # settled: seed, device, threads
    original: Atoms  # as read, with its charge
    atoms: Atoms  # with calculator; positions relaxed where they were strained
    potential: LoadedPotential
    ensemble: Any
    guards: list[Any]
    bonds: np.ndarray  # (n_bonds, 2), of `atoms`
    topology: mdtraj.Topology
    structure_hash: str
    largest_force: float  # eV/Å, at the first step
    relaxation: str = ""  # a sentence, where there was one
    warnings: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()  # rows that say what was done to masses, and what is held


def prepare(config: RunConfig, screen: Screen, should_stop: Callable[[], bool] = lambda: False, *, resumed_from: Path | None = None) -> Start:
    """Read and check everything that a run needs, evaluate the potential once, relax a strained start.

    Parameters
    ----------
    should_stop : ends a relaxation early.
    resumed_from : the structure that a run folder keeps; it is taken in place of the configuration's and not relaxed.

    Raises
    ------
    UserError : anything that makes the run impossible, with the exit code that belongs to it.
    """
    source = resumed_from or Path(config.structure)
    atoms = read_structure(source)
    told, notes = list(atoms.info.pop("notes", ())), []
    ensemble = ensemble_of(config)
    guards = [_for_schedule(guard, config) for guard in guards_of(config.guard)]
    device = device_for(config.device)
    threads = set_threads(config.threads, len(atoms), config.compile)
    potential = load(config.potential, device, config.dtype, config.long_range_cutoff, config.compile, config.electrostatics,
                     config.radial_table, config.cuda_graphs)
    config = replace(config.with_seed(), device=device, threads=threads)

    warnings = settle_charge(atoms, config.charge, potential.knows_charge, potential.title, config.multiplicity, potential.knows_spin)
    warnings += settle_long_range(atoms, config.long_range_cutoff, potential, config.electrostatics)
    warnings += settle_promises(potential, config.method, bool(getattr(ensemble, "needs_cell", False)))
    if "energy" not in potential.provides:  # nothing is conserved that could drift
        guards = [guard for guard in guards if guard.name != "energy-drift"]

    def heed(findings: list[Finding]) -> None:
        for finding in findings:
            if finding.level == "refuse":
                raise _refusal(finding.message, config, potential)
            (warnings if finding.level == "warn" else notes).append(finding.message)

    heed(check_start(atoms, potential.elements, None, bool(getattr(ensemble, "needs_cell", False)), potential.cutoff, potential.title))
    bonds, original = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc), atoms.copy()
    changes = arrange(atoms, config, bonds)
    heed(check_time_step(atoms, config.timestep, swinging_masses(atoms, config, bonds)))
    for note in told:  # which of several structures, a box or constraints left out: what the user may not have meant
        screen.say(f"note: {note}")
    for note in notes:
        screen.detail(f"note: {note}")

    atoms.calc = potential.calculator
    force = first_force(atoms, potential, config.structure, config.device)
    start = Start(config, original, atoms, potential, ensemble, guards, bonds, topology_of(original, bonds), file_hash(source), force, "", tuple(warnings),
                  tuple(changes))
    if force > STRAINED and resumed_from is None:
        _ease(start, screen, should_stop)
    if resumed_from is None:
        start.warnings += (*strain_words(start), *unknown_words(start.atoms, potential))
    tie(start.atoms, config, bonds, start.bonds)
    return start


def _for_schedule(guard: Any, config: RunConfig) -> Any:
    """The guard of the temperature knows the thermostat's target; of a schedule the hottest leg, and nothing is too cold then."""
    if guard.name != "temperature" or guard.target_K is not None or config.ensemble == "nve":
        return guard
    if config.schedule is None:
        return replace(guard, target_K=config.temperature)
    return replace(guard, target_K=config.schedule.highest_K, settle_fs=math.inf)


def _refusal(message: str, config: RunConfig, potential: LoadedPotential) -> UserError:
    """A finding as an error: exit code 2 where a setting is to blame, 5 where the structure or the potential is."""
    if message.startswith(("A time step", "An NPT run")):
        return UserError(message)
    if message.startswith(potential.title):
        return PotentialError(message)
    return StructureError(f"{config.structure}: {message}")


def first_force(atoms: Atoms, potential: LoadedPotential, source: str, device: str) -> float:
    """The largest force on an atom in eV/Å, from the first evaluation.

    In a cell the stress is asked for too, as the first written frame will: so what has to be compiled is compiled here, before there is a folder, and
    a resumed run evaluates from its first step on as one that was not cut.

    Raises
    ------
    PotentialError : the potential fails on this structure, or gives numbers that are not finite.
    """
    try:
        if atoms.pbc.all() and "stress" in potential.provides:
            with suppress(NotImplementedError):
                atoms.get_stress(apply_constraint=False)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)
    except Exception as error:
        if is_out_of_memory(error):
            advice = f"Take {'' if device == 'cpu' else '--device cpu, '}--dtype float32 or a smaller system."
            raise PotentialError(f"{potential.title}: {out_of_memory_words(error, len(atoms), device)} {advice}") from error
        raise PotentialError(f"{potential.title} cannot evaluate {source} ({type(error).__name__}): {first_line(error)}") from error
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise PotentialError(f"{potential.title} gives numbers that are not finite for {source}. Check the structure for atoms too close to each other.")
    return float(np.linalg.norm(forces, axis=1).max())


def _ease(start: Start, screen: Screen, should_stop: Callable[[], bool]) -> None:
    """Relax a strained start for a few steps, and say so."""
    from mdapp.relax import RelaxationFailed
    from mdapp.relax import relax as follow

    force, config = start.largest_force, start.config
    if not config.relax_start:
        start.warnings += (f"The start is strained: the largest force is {force:.3g} eV/Å. It is left as it is (--no-relax-start).",)
        return
    try:
        found = follow(start.atoms, "fire", RELAXED, RELAX_STEPS, should_stop=should_stop)
    except RelaxationFailed as error:
        raise StructureError(f"{config.structure}: the start is strained (largest force {force:.3g} eV/Å) and cannot be relaxed. {error}") from None
    if found.fmax > HOPELESS:
        raise StructureError(f"{config.structure}: the largest force is {force:.3g} eV/Å, and still {found.fmax:.3g} after {found.n_steps} steps "
                             "of relaxation. Check the structure, or relax it with `mdapp relax`.")
    moved = np.linalg.norm(found.atoms.positions - start.atoms.positions, axis=1).max()
    start.atoms.positions = found.atoms.positions
    start.largest_force = first_force(start.atoms, start.potential, config.structure, config.device)
    start.relaxation = (f"strained start: largest force {force:.3g} eV/Å, relaxed in {found.n_steps} steps to {start.largest_force:.3g}; "
                        f"no atom moved more than {moved:.2f} Å")
    bonds = find_bonds(start.atoms.numbers, start.atoms.positions, start.atoms.cell.array, start.atoms.pbc)
    changed = {tuple(b) for b in bonds.tolist()} ^ {tuple(b) for b in start.bonds.tolist()}
    if changed:
        names = ", ".join(f"{start.atoms.symbols[i]}{i}-{start.atoms.symbols[j]}{j}" for i, j in sorted(changed)[:4])
        start.warnings += (f"The relaxation of the start changed {len(changed)} bond(s): {names}. Look at it before you trust the run.",)
    start.bonds = bonds
    screen.say(start.relaxation)


def draw_start(start: Start) -> np.random.Generator:
    """Give the atoms their first momenta; return the thermostat's generator. Both come from the seed, independently."""
    for_momenta, for_thermostat = (np.random.default_rng(s) for s in np.random.SeedSequence(start.config.seed).spawn(2))
    dof = degrees_of_freedom_of(start.ensemble, start.atoms)
    start.atoms.set_momenta(draw_momenta(start.atoms, start.config.temperature, for_momenta, dof), apply_constraint=False)
    return for_thermostat


def first_moment(start: Start) -> tuple[ASEStepper, list[Any]]:
    """The system with its first momenta, ready to step, and the guards that watch it.

    Raises
    ------
    StructureError : the ensemble or a guard cannot work with this structure.
    """
    from mdapp.dynamics._stepper import ASEStepper

    try:
        stepper = ASEStepper(start.atoms, start.ensemble, start.config.timestep, draw_start(start), schedule=start.config.schedule)
        frame = stepper.frame()
        return stepper, [guard.begin(frame, start.bonds) for guard in start.guards]
    except ValueError as error:
        raise StructureError(f"{start.config.structure}: {error}") from error
