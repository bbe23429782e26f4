"""From a configuration to a search that can take its first hop: everything read, checked and put together, nothing written."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mdapp.config import MinimaConfig, pairs
from mdapp.errors import PotentialError, StructureError, UserError
from mdapp.jobs._charge import settle_charge
from mdapp.jobs._compute import device_for, set_threads
from mdapp.jobs._long_range import settle_long_range
from mdapp.jobs._potential import LoadedPotential, file_hash, first_line, is_out_of_memory, load, sharp_enough
from mdapp.jobs._unknown import unknown_words
from mdapp.minima.driver import SearchOptions, fitting_moves, with_scatter
from mdapp.minima.engine import Engine
from mdapp.minima.integrity import Integrity, Kept
from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves as registry
from mdapp.minima.moves._base import Move
from mdapp.relax.pool import RelaxationPool
from mdapp.screen import Screen
from mdapp.structure import check_start, read_structure
from mdapp.topology import find_bonds
from potentials.calculator import batch_evaluator
from potentials.registry import UnknownName
from potentials.runtime.batch_evaluator import Item
from potentials.typed import ConfigError, from_mapping

MIXTURE = ("dihedral", "minima-hopping", "basin-hopping", "quench")  # those that fit are taken
WALKERS_CPU, WALKERS_GPU = 16, 128


@dataclass(frozen=True)
class Setting:
    """A search that can take its first hop."""

    config: MinimaConfig  # settled: seed, device, threads, walkers
    original: Atoms  # as read, with its charge
    molecule: Molecule
    potential: LoadedPotential
    moves: dict[str, Move]  # those that fit
    structure_hash: str
    warnings: tuple[str, ...]

    @property
    def options(self) -> SearchOptions:
        c = self.config
        return SearchOptions(c.walkers or WALKERS_CPU, c.seed or 0, c.threshold, c.window, c.random_start, c.hops, c.minima, c.time, c.complete, c.restart_after)

    def engine(self) -> Engine:
        """What hops in this process."""
        c = self.config
        kept = Kept(c.keep_bonds, c.keep_chirality, c.keep_peptide_bonds)
        try:
            evaluate = batch_evaluator(self.potential.calculator, compiled=c.compile)
        except ValueError as error:
            raise UserError(first_line(error)) from error
        return Engine(self.molecule, with_scatter(self.moves, self.options), evaluate, Integrity(self.molecule, kept),
                      RelaxationPool(c.optimiser, c.sharp, c.relax_steps))


def prepare(config: MinimaConfig, screen: Screen, *, resumed_from: Path | None = None) -> Setting:
    """Read and check everything that a search needs, and evaluate the potential once.

    Parameters
    ----------
    resumed_from : the structure that a folder keeps; it is taken in place of the configuration's.

    Raises
    ------
    UserError : anything that makes the search impossible, with the exit code that belongs to it.
    """
    source = resumed_from or Path(config.structure)
    atoms = read_structure(source)
    told = list(atoms.info.pop("notes", ()))
    moves = moves_of(config.move)
    device = device_for(config.device)
    walkers = config.walkers or (WALKERS_CPU if device == "cpu" else WALKERS_GPU)
    threads = set_threads(config.threads, len(atoms) * walkers // 4, config.compile)
    potential = load(config.potential, device, config.dtype, config.long_range_cutoff, False, config.electrostatics, config.radial_table, config.cuda_graphs)
    if "energy" not in potential.provides:
        raise PotentialError(f"{potential.title} provides no energy, so minima cannot be told from each other by it. Take a potential that does.")
    config = replace(config.with_seed(), device=device, threads=threads, walkers=walkers, fmax=config.fmax or sharp_enough(potential))
    warnings = settle_charge(atoms, config.charge, potential.knows_charge, potential.title, config.multiplicity, potential.knows_spin)
    warnings += settle_long_range(atoms, config.long_range_cutoff, potential, config.electrostatics)
    if not potential.conservative:
        warnings.append(f"The forces of {potential.title} are not the gradient of its energy: where they vanish need not be a minimum.")
    for finding in check_start(atoms, potential.elements, None, False, potential.cutoff, potential.title):
        if finding.level == "refuse":
            raise (PotentialError(finding.message) if finding.message.startswith(potential.title) else StructureError(f"{config.structure}: {finding.message}"))
        if finding.level == "warn":
            warnings.append(finding.message)
    warnings += unknown_words(atoms, potential)
    for note in told:
        screen.say(f"note: {note}")
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    molecule = Molecule.of(atoms, bonds)
    fitting = fitting_moves(molecule, moves)
    if config.move != ("mixture",) and (left_out := sorted(set(moves) - set(fitting))):
        warnings.append(f"Left out: {', '.join(f'{name}, because {moves[name].fits(molecule)}' for name in left_out)}.")
    setting = Setting(config, atoms, molecule, potential, fitting, file_hash(source), tuple(warnings))
    if config.random_start and (why := registry.get("scatter")().fits(molecule)) is not None:
        raise StructureError(f"{config.structure}: --random-start is for clusters, and this structure cannot be scattered: {why}.")
    _probe(setting)
    return setting


def moves_of(words: Sequence[str]) -> dict[str, Move]:
    """The moves that `--move` asks for, by name.

    Raises
    ------
    UserError : a name that nothing has, one named twice, an option that a move does not have.
    """
    found: dict[str, Move] = {}
    for word in (name for word in words for name in (MIXTURE if word == "mixture" else (word,))):
        name, _, settings = word.partition(":")
        if name in found and settings == "":
            continue  # in the mixture already
        try:
            found[name] = from_mapping(registry.get(name), pairs(settings.split(",") if settings else (), f"move {name}"), f"move {name}")
        except (UnknownName, ConfigError, ValueError) as error:
            raise UserError(str(error)) from error
    return found


def _probe(setting: Setting) -> None:
    """The first evaluation, which must give finite numbers."""
    c, m = setting.config, setting.molecule
    try:
        energies, forces = batch_evaluator(setting.potential.calculator)([Item("probe", m.system, m.reference, m.cell if m.pbc.any() else None)])
    except UserError:
        raise
    except Exception as error:
        reason = "not enough memory; take --device cpu or --dtype float32." if is_out_of_memory(error) else first_line(error)
        raise PotentialError(f"{setting.potential.title} cannot evaluate {c.structure} ({type(error).__name__}): {reason}") from error
    if not (np.isfinite(energies).all() and np.isfinite(forces[0]).all()):
        raise PotentialError(f"{setting.potential.title} gives numbers that are not finite for {c.structure}. Check the structure for atoms too close to each other.")


def provenance(setting: Setting) -> dict[str, Any]:
    """Where a search came from, beside its settings."""
    p = setting.potential
    return {"structure": str(Path(setting.config.structure).resolve()), "structure_sha256": setting.structure_hash, "potential": p.source,
            "potential_sha256": p.fingerprint, "potential_dtype": p.dtype, "folder": str(Path.cwd())}
