"""`mdapp relax`: structures in, their nearest minima out.

Everything is read and checked before the first force call; each relaxed structure is written as soon as it is there, whole or not
at all, and nothing that exists is overwritten. What did not converge is written too, and said.
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import RelaxConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, EXIT_NOT_CONVERGED, EXIT_STOPPED, OutputError, PotentialError, StructureError, UserError
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from ase import Atoms

    from mdapp.jobs._potential import LoadedPotential
    from mdapp.relax import Relaxed

_FILES = (".extxyz", ".xyz")


@dataclass(frozen=True)
class One:
    """What became of one structure."""

    source: str
    written: Path | None  # None: nothing finite to write
    relaxed: Relaxed | None  # None: the potential gave no finite number
    energy_start: float  # eV
    fmax_start: float  # eV/Å
    moved_A: float  # RMS displacement after superposition; strain and shift left out where periodic
    bonds_changed: tuple[str, ...]  # 'C3-H12 broken', 'O1-H4 formed'
    problem: str | None  # why it is no minimum; None where converged

    @property
    def summary(self) -> dict[str, Any]:
        end = self.relaxed
        known = None if end is None else {
            "converged": end.converged, "steps": end.n_steps, "energy_eV": end.energy, "fmax_eV_A": end.fmax, "stress_max_eV_A3": end.stress_max}
        return {"structure": self.source, "output": None if self.written is None else str(self.written), "problem": self.problem,
                "energy_start_eV": _finite(self.energy_start), "fmax_start_eV_A": _finite(self.fmax_start), "moved_A": _finite(self.moved_A),
                "bonds_changed": list(self.bonds_changed), **(known or {"converged": False})}


@dataclass(frozen=True)
class RelaxResult:
    """What became of all of them."""

    results: tuple[One, ...]
    exit_code: int
    summary: dict[str, Any]


def relax(config: RelaxConfig, screen: Screen | None = None) -> RelaxResult:
    """Relax structures to their nearest minima and write them as extended xyz with energy and forces.

    Parameters
    ----------
    config : see `RelaxConfig`.
    screen : where to show progress; nowhere when not given.

    Returns
    -------
    The relaxed structures with what moved. The exit code is 6 where a structure did not converge, 4 where the potential gave a number
    that is not finite, 3 where a signal ended the job.
    """
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._potential import load
    from mdapp.jobs._stopping import Stopping
    from mdapp.structure import read_structure

    screen = screen or silent()
    structures = [(source, read_structure(source)) for source in config.structure]
    targets = _targets(config)
    device = device_for(config.device)
    set_threads(config.threads, max(len(atoms) for _, atoms in structures), config.compile)
    potential = load(config.potential, device, config.dtype, config.long_range_cutoff, config.compile, config.electrostatics,
                     config.radial_table, config.cuda_graphs)
    _refuse_what_it_lacks(config, potential, screen)
    for source, atoms in structures:
        _check(config, source, atoms, potential, screen)
    _header(config, structures, targets, potential, screen)

    results: list[One] = []
    with Stopping(targets[0].parent / "STOP", None) as stop:
        for k, ((source, atoms), target) in enumerate(zip(structures, targets, strict=True), start=1):
            atoms.calc = potential.calculator
            one = _relax_one(config, source, atoms, target, screen, f"{k}/{len(structures)}  " if len(structures) > 1 else "", stop)
            results.append(one)
            if stop.reason:
                break
    return _close(config, results, len(structures), stop.reason, targets, screen)


def _refuse_what_it_lacks(config: RelaxConfig, potential: LoadedPotential, screen: Screen) -> None:
    from mdapp.jobs._potential import settle_promises

    for warning in settle_promises(potential, "the relaxation of a cell (--cell)", config.cell):
        screen.warn(warning)


def _check(config: RelaxConfig, source: str, atoms: Atoms, potential: LoadedPotential, screen: Screen) -> None:
    """Everything that geometry, charge and elements can tell before the first force call; a refusal ends the job."""
    from mdapp.jobs._charge import settle_charge
    from mdapp.jobs._long_range import settle_long_range
    from mdapp.structure import check_start

    for note in atoms.info.pop("notes", ()):
        screen.say(f"note: {source}: {note}")
    try:
        warnings = settle_charge(atoms, config.charge, potential.knows_charge, potential.title, config.multiplicity, potential.knows_spin)
        warnings += settle_long_range(atoms, config.long_range_cutoff, potential, config.electrostatics)
    except UserError as error:
        raise type(error)(f"{source}: {error}") from None
    for finding in check_start(atoms, potential.elements, None, False, potential.cutoff, potential.title):
        if finding.level == "refuse":
            raise StructureError(f"{source}: {finding.message}")
        if finding.level == "warn":
            warnings.append(finding.message)
    for warning in warnings:
        screen.warn(f"{source}: {warning}")


def _relax_one(config: RelaxConfig, source: str, atoms: Atoms, target: Path, screen: Screen, place: str, stop: Any) -> One:
    from mdapp.jobs._potential import first_line, is_out_of_memory
    from mdapp.observables import PER_BAR
    from mdapp.relax import CellRelaxation, RelaxationFailed
    from mdapp.relax import relax as follow

    name = Path(source).name
    start: dict[str, float] = {}

    def show(step: int, energy: float, fmax: float) -> None:
        start.setdefault("energy", energy)
        start.setdefault("fmax", fmax)
        screen.live(f"{place}{name}  step {step}/{config.steps}  E {energy:.4f} eV ({energy - start['energy']:+.4f})  "
                    f"fmax {fmax:.4f} eV/Å (asked {config.fmax:g})")

    cell = CellRelaxation(pressure=config.pressure * PER_BAR) if config.cell else None
    found: Relaxed | None
    end: Atoms | None
    try:
        found = follow(atoms, config.optimiser, config.fmax, config.steps, cell, show, stop)
        end, problem = found.atoms, None if found.converged else found.reason
    except RelaxationFailed as error:
        found, end, problem = None, error.last, str(error)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        if start:  # it could be evaluated once: this is no matter of the input
            raise
        reason = "not enough memory; take --device cpu or --dtype float32." if is_out_of_memory(error) else first_line(error)
        raise PotentialError(f"{' '.join(config.potential)} cannot evaluate {source} ({type(error).__name__}): {reason}") from error
    screen.end_live()
    if end is None:
        one = One(source, None, None, math.nan, math.nan, math.nan, (), problem)
    else:
        _write(target, end, config, problem)
        one = One(source, target, found, start["energy"], start["fmax"], _moved(atoms, end), _bonds_changed(atoms, end), problem)
    _show(one, config, screen, place)
    return one


def _moved(before: Atoms, after: Atoms) -> float:
    from mdapp.analysis.rmsd import displacement, rmsd

    if before.pbc.any():
        return displacement(before.positions, after.positions, before.cell.complete().array, after.cell.complete().array)
    return float(rmsd(after.positions[None], before.positions)[0])


def _bonds_changed(before: Atoms, after: Atoms) -> tuple[str, ...]:
    """Bonds that are there at the one end only, in words."""
    from mdapp.topology import find_bonds

    first, last = ({tuple(bond) for bond in find_bonds(a.numbers, a.positions, a.cell.array, a.pbc).tolist()} for a in (before, after))
    name = lambda i: f"{before.symbols[i]}{i}"
    return tuple(f"{name(i)}-{name(j)} {'broken' if (i, j) in first else 'formed'}" for i, j in sorted(first ^ last))


def _targets(config: RelaxConfig) -> list[Path]:
    """Where each relaxed structure goes; refused where something is there already, before any work is done."""
    stems = _distinct([Path(source).stem or "structure" for source in config.structure])
    if config.output is None:
        return [_free(Path(f"{stem}-relaxed.extxyz")) for stem in stems]
    output = Path(config.output)
    if output.suffix.lower() in _FILES:
        if len(stems) > 1:
            raise OutputError(f"output = '{output}' is one file, but {len(stems)} structures are given. Name a folder.")
        targets = [output]
    else:
        if output.exists() and not output.is_dir():
            raise OutputError(f"output = '{output}' is a file that is not .extxyz or .xyz. Name a folder or a .extxyz file.")
        targets = [output / f"{stem}-relaxed.extxyz" for stem in stems]
    for target in [*targets, *([output / "summary.json"] if targets[0].parent == output else [])]:
        if target.exists():
            raise OutputError(f"{target} exists already and is not overwritten. Choose another --output or move it away.")
    folder = targets[0].parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise OutputError(f"No permission to write in {folder}. Choose another --output.")
    return targets


def _distinct(stems: list[str]) -> list[str]:
    """Two files of one name from two folders become name and name-2."""
    seen: dict[str, int] = {}
    names = []
    for stem in stems:
        seen[stem] = seen.get(stem, 0) + 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names


def _free(path: Path) -> Path:
    """The path, or the first of NAME-2, NAME-3... that is not taken."""
    k, free = 1, path
    while free.exists():
        k += 1
        free = path.with_name(f"{path.stem}-{k}{path.suffix}")
    return free


def _write(target: Path, atoms: Atoms, config: RelaxConfig, problem: str | None) -> None:
    """A whole file or none: written beside, flushed to disk, renamed."""
    from ase.io import write

    kept = atoms.copy()
    kept.calc = atoms.calc
    kept.info.update(potential=" ".join(config.potential), converged=problem is None)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "w", encoding="utf-8") as file:
            write(file, kept, format="extxyz")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from None
    finally:
        part.unlink(missing_ok=True)


def _header(config: RelaxConfig, structures: Sequence[tuple[str, Atoms]], targets: list[Path], potential: LoadedPotential, screen: Screen) -> None:
    from mdapp.jobs._charge import state_words
    from mdapp.jobs._long_range import long_range_words

    sizes = [len(atoms) for _, atoms in structures]
    what = f"{structures[0][0]}, {sizes[0]} atoms, {structures[0][1].symbols.formula.format('hill')}" if len(sizes) == 1 else (
        f"{len(sizes)} structures of {min(sizes)} to {max(sizes)} atoms")
    cell = f", cell at {config.pressure:g} bar" if config.cell else ""
    told = {state_words(atoms, config.charge, config.multiplicity, potential.knows_spin) for _, atoms in structures} if potential.knows_charge else set()
    far = {long_range_words(atoms, config.long_range_cutoff, potential, config.electrostatics) for _, atoms in structures} - {""}
    screen.header("mdapp relax", [
        ("structure", what), ("potential", " ".join(config.potential)),
        *([("charge", told.pop() if len(told) == 1 else "total charge and multiplicity as each file says")] if told else []),
        *([("long range", "; ".join(sorted(far)))] if far else []),
        ("search", f"{config.optimiser} to {config.fmax:g} eV/Å, {config.steps} steps at most{cell}"),
        ("output", str(targets[0] if len(targets) == 1 else targets[0].parent))])


def _show(one: One, config: RelaxConfig, screen: Screen, place: str) -> None:
    name = Path(one.source).name
    if one.relaxed is not None:
        end = one.relaxed
        word = "converged" if end.converged else "not converged"
        steps = f"{end.n_steps} step{'s' if end.n_steps != 1 else ''}"
        screen.say(f"{place}{name}: {word} after {steps}  E {one.energy_start:.4f} -> {end.energy:.4f} eV "
                   f"({end.energy - one.energy_start:+.4f})  fmax {one.fmax_start:.3f} -> {end.fmax:.4f} eV/Å  moved {one.moved_A:.3f} Å")
    if one.problem and (one.relaxed is None or one.relaxed.n_steps < config.steps):  # that the steps ran out is in the line above
        screen.warn(f"{name}: {one.problem.rstrip('.')}.")
    if one.bonds_changed:
        more = f" and {len(one.bonds_changed) - 6} more" if len(one.bonds_changed) > 6 else ""
        screen.warn(f"{name}: bonds changed on the way: {', '.join(one.bonds_changed[:6])}{more}.")


def _close(config: RelaxConfig, results: list[One], asked: int, stopped: str | None, targets: list[Path], screen: Screen) -> RelaxResult:
    done = sum(one.problem is None for one in results)
    if stopped:
        verdict, exit_code, why = "interrupted", EXIT_STOPPED, f"{stopped}; {done} of {asked} structures converged."
    elif any(one.relaxed is None for one in results):
        verdict, exit_code, why = "stopped", EXIT_GUARD, f"the potential gave numbers that are not finite; {done} of {asked} structures converged."
    elif done < asked:
        verdict, exit_code, why = "not converged", EXIT_NOT_CONVERGED, (
            f"{'the structure has not' if asked == 1 else f'{asked - done} of {asked} structures have not'} come down to {config.fmax:g} eV/Å. "
            "Give more --steps, or try --optimiser fire.")
    else:
        verdict, exit_code, why = "finished", EXIT_FINISHED, f"{'the structure is' if asked == 1 else f'all {asked} structures are'} relaxed."
    written = [one.written for one in results if one.written is not None]
    summary = {"verdict": verdict, "why": why, "exit_code": exit_code, "potential": list(config.potential), "optimiser": config.optimiser,
               "fmax_asked_eV_A": config.fmax, "structures": [one.summary for one in results]}
    if config.output is not None and targets[0].parent == Path(config.output) and written:
        _write_summary(targets[0].parent / "summary.json", summary)
    rows = [("written", str(written[0]) if len(written) == 1 else f"{len(written)} files in {written[0].parent}")] if written else []
    following = f"mdapp run {written[0]} --potential {' '.join(config.potential)}" if exit_code == EXIT_FINISHED and len(written) == 1 else None
    screen.close(verdict, why, rows, following)
    return RelaxResult(tuple(results), exit_code, summary)


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
