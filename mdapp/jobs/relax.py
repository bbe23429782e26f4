"""`mdapp relax`: structures in, their nearest minima out.

Everything is read and checked before the first force call; each relaxed structure is written as soon as it is there, whole or not
at all, and nothing that exists is overwritten. What did not converge is written too, and said.
"""
from __future__ import annotations

import json
import math
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import RelaxConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, EXIT_NOT_CONVERGED, EXIT_STOPPED, OutputError, PotentialError, UserError
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from ase import Atoms

    from mdapp.jobs._potential import LoadedPotential
    from mdapp.jobs._relax_vibrations import Judged
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
    judged: Judged | None = None  # with --frequencies

    @property
    def summary(self) -> dict[str, Any]:
        end = self.relaxed
        known = None if end is None else {
            "converged": end.converged, "steps": end.n_steps, "energy_eV": end.energy, "fmax_eV_A": end.fmax, "stress_max_eV_A3": end.stress_max}
        return {"structure": self.source, "output": None if self.written is None else str(self.written), "problem": self.problem,
                "energy_start_eV": _finite(self.energy_start), "fmax_start_eV_A": _finite(self.fmax_start), "moved_A": _finite(self.moved_A),
                "bonds_changed": list(self.bonds_changed), **(known or {"converged": False}), **self._vibrations}

    @property
    def _vibrations(self) -> dict[str, Any]:
        if self.judged is None or self.judged.minimum is None:
            return {}
        return {**self.judged.numbers, "frequencies_cm1": self.judged.minimum.modes.frequencies_cm1.tolist()}


@dataclass(frozen=True)
class RelaxResult:
    """What became of all of them."""

    results: tuple[One, ...]
    exit_code: int
    summary: dict[str, Any]


def relax(config: RelaxConfig, screen: Screen | None = None) -> RelaxResult:
    """Relax structures to their nearest minima and write them as extended xyz with energy and forces.

    One structure becomes one file. Many (several files, patterns, files with many frames) relax together into a folder, see
    `mdapp.jobs._relax_folder`; `results` is then empty and the summary holds a row for each.

    Parameters
    ----------
    config : see `RelaxConfig`.
    screen : where to show progress; nowhere when not given.

    Returns
    -------
    The relaxed structures with what moved. The exit code is 6 where a structure did not converge or is no minimum, 3 where a signal ended the job, 4 where the
    potential gave a number that is not finite for the only structure.
    """
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._potential import load, sharp_enough
    from mdapp.jobs._structures import read_all
    from mdapp.jobs._relax_many import relax_many
    from mdapp.jobs._relax_measures import check_structure
    from mdapp.jobs._stopping import Stopping
    from mdapp.jobs._unknown import unknown_words

    screen = screen or silent()
    sources = read_all(config.structure, config.stride)
    many = len(sources) > 1 or config.resume
    _refuse_output(config, many)
    target = None if many else _target(config)
    device = device_for(config.device)
    set_threads(config.threads, max(len(source.atoms) for source in sources if source.atoms is not None), config.compile)
    dtype = config.dtype or ("float64" if config.frequencies and not config.potential[0].startswith("ase:") else None)
    potential = load(config.potential, device, dtype, config.long_range_cutoff, config.compile, config.electrostatics, config.radial_table, config.cuda_graphs)
    config = config if config.fmax is not None else replace(config, fmax=sharp_enough(potential))
    if config.cell and "stress" not in potential.provides:
        raise UserError(f"{potential.title} provides {' and '.join(potential.provides)}, and no stress, which the relaxation of a cell needs. Leave out --cell.")
    if "energy" not in potential.provides:
        raise PotentialError(f"{potential.title} provides no energy, and so has no minimum that a structure could relax to. Take a potential that does.")
    if not potential.conservative:
        proof = ", and frequencies prove no minimum" if config.frequencies else ""
        screen.warn(f"The forces of {potential.title} are not the gradient of its energy: where they vanish need not be a minimum{proof}.")
    if many:
        summary, exit_code = relax_many(config, sources, potential, screen)
        return RelaxResult((), exit_code, summary)
    source, atoms = sources[0].file, sources[0].atoms
    assert target is not None and atoms is not None
    check_structure(config, source, atoms, potential, screen)
    for warning in unknown_words(atoms, potential):
        screen.warn(f"{source}: {warning}")
    _header(config, source, atoms, target, potential, screen)
    with Stopping(target.parent / "STOP", None) as stop:
        atoms.calc = potential.calculator
        one = _relax_one(config, source, atoms, target, screen, stop)
    return _close(config, one, stop.reason, target, screen)


def _relax_one(config: RelaxConfig, source: str, atoms: Atoms, target: Path, screen: Screen, stop: Any) -> One:
    from mdapp.jobs._potential import first_line, is_out_of_memory
    from mdapp.jobs._relax_measures import bonds_changed, cell_relaxation, moved
    from mdapp.jobs._relax_vibrations import judge
    from mdapp.relax import RelaxationFailed
    from mdapp.relax import relax as follow

    name = Path(source).name
    start: dict[str, float] = {}

    def show(step: int, energy: float, fmax: float) -> None:
        start.setdefault("energy", energy)
        start.setdefault("fmax", fmax)
        screen.live(f"{name}  step {step}/{config.steps}  E {energy:.4f} eV ({energy - start['energy']:+.4f})  "
                    f"fmax {fmax:.2g} eV/Å (asked {config.sharp:g})")

    found: Relaxed | None
    end: Atoms | None
    try:
        found = follow(atoms, config.optimiser, config.sharp, config.steps, cell_relaxation(config), show, stop)
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
        judged = None
        if found is not None and found.converged and config.frequencies:
            from potentials.calculator import batch_evaluator

            judged = judge(found, batch_evaluator(atoms.calc, compiled=config.compile), config)
            found = judged.relaxed
            end, problem = found.atoms, None if judged.minimum and judged.minimum.modes.n_imaginary == 0 else "imaginary modes are left: this is no minimum"
        _write(target, end, config, problem, judged)
        one = One(source, target, found, start["energy"], start["fmax"], moved(atoms, end), bonds_changed(atoms, end), problem, judged)
    _show(one, config, screen)
    return one


def _refuse_output(config: RelaxConfig, many: bool) -> None:
    """An output that cannot be written is refused before any work is done."""
    if config.output is None:
        folder = Path(".")
    else:
        output = Path(config.output)
        if many and output.suffix.lower() in _FILES:
            raise OutputError(f"output = '{output}' is one file, but many structures are given. Name a folder.")
        if output.exists() and not output.is_dir() and output.suffix.lower() not in _FILES:
            raise OutputError(f"output = '{output}' is a file that is not .extxyz or .xyz. Name a folder or a .extxyz file.")
        folder = output if output.is_dir() else output.parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise OutputError(f"No permission to write in {folder}. Choose another --output.")


def _target(config: RelaxConfig) -> Path:
    """Where the relaxed structure goes; refused where something is there already."""
    stem = Path(config.structure[0]).stem or "structure"
    if config.output is None:
        return _free(Path(f"{stem}-relaxed.extxyz"))
    output = Path(config.output)
    target = output if output.suffix.lower() in _FILES else output / f"{stem}-relaxed.extxyz"
    for path in [target, *([output / "summary.json"] if target.parent == output else [])]:
        if path.exists():
            raise OutputError(f"{path} exists already and is not overwritten. Choose another --output or move it away.")
    return target


def _free(path: Path) -> Path:
    """The path, or the first of NAME-2, NAME-3... that is not taken."""
    k, free = 1, path
    while free.exists():
        k += 1
        free = path.with_name(f"{path.stem}-{k}{path.suffix}")
    return free


def _write(target: Path, atoms: Atoms, config: RelaxConfig, problem: str | None, judged: Judged | None) -> None:
    """A whole file or none: written beside, flushed to disk, renamed."""
    from ase.io import write

    kept = atoms.copy()
    kept.calc = atoms.calc
    kept.info.update(potential=" ".join(config.potential), converged=problem is None)
    if judged is not None and judged.minimum is not None:
        kept.info.update(judged.numbers, frequencies_cm1=judged.minimum.modes.frequencies_cm1)
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


def _header(config: RelaxConfig, source: str, atoms: Atoms, target: Path, potential: LoadedPotential, screen: Screen) -> None:
    from mdapp.jobs._charge import state_words
    from mdapp.jobs._long_range import long_range_words

    cell = f", cell at {config.pressure:g} bar" if config.cell else ""
    far = long_range_words(atoms, config.long_range_cutoff, potential, config.electrostatics)
    screen.header("mdapp relax", [
        ("structure", f"{source}, {len(atoms)} atoms, {atoms.symbols.formula.format('hill')}"), ("potential", " ".join(config.potential)),
        *([("charge", state_words(atoms, config.charge, config.multiplicity, potential.knows_spin))] if potential.knows_charge else []),
        *([("long range", far)] if far else []),
        ("search", f"{config.optimiser} to {config.sharp:g} eV/Å, {config.steps} steps at most{cell}{', frequencies' if config.frequencies else ''}"),
        ("output", str(target))])


def _show(one: One, config: RelaxConfig, screen: Screen) -> None:
    name = Path(one.source).name
    if one.relaxed is not None:
        end = one.relaxed
        word = "converged" if end.converged else "not converged"
        steps = f"{end.n_steps} step{'s' if end.n_steps != 1 else ''}"
        screen.say(f"{name}: {word} after {steps}  E {one.energy_start:.4f} -> {end.energy:.4f} eV "
                   f"({end.energy - one.energy_start:+.4f})  fmax {one.fmax_start:.3g} -> {end.fmax:.2g} eV/Å  moved {one.moved_A:.3f} Å")
    if one.judged is not None:
        screen.say(f"{name}: {one.judged.sentence}")
    elif one.problem and (one.relaxed is None or one.relaxed.n_steps < config.steps):  # that the steps ran out is in the line above
        screen.warn(f"{name}: {one.problem.rstrip('.')}.")
    if one.bonds_changed:
        more = f" and {len(one.bonds_changed) - 6} more" if len(one.bonds_changed) > 6 else ""
        screen.warn(f"{name}: bonds changed on the way: {', '.join(one.bonds_changed[:6])}{more}.")


def _close(config: RelaxConfig, one: One, stopped: str | None, target: Path, screen: Screen) -> RelaxResult:
    if stopped:
        verdict, exit_code, why = "interrupted", EXIT_STOPPED, f"{stopped}; {0 if one.problem else 1} of 1 structures converged."
    elif one.relaxed is None:
        verdict, exit_code, why = "stopped", EXIT_GUARD, "the potential gave numbers that are not finite."
    elif one.relaxed.converged and one.problem:
        verdict, exit_code, why = "not converged", EXIT_NOT_CONVERGED, f"{one.problem}."
    elif one.problem:
        verdict, exit_code, why = "not converged", EXIT_NOT_CONVERGED, (
            f"the structure has not come down to {config.sharp:g} eV/Å. Give more --steps, or try --optimiser fire.")
    else:
        verdict, exit_code, why = "finished", EXIT_FINISHED, "the structure is relaxed."
    summary = {"verdict": verdict, "why": why, "exit_code": exit_code, "potential": list(config.potential), "optimiser": config.optimiser,
               "fmax_asked_eV_A": config.sharp, "structures": [one.summary]}
    if config.output is not None and target.parent == Path(config.output) and one.written:
        _write_summary(target.parent / "summary.json", summary)
    following = f"mdapp run {one.written} --potential {' --potential '.join(shlex.quote(word) for word in config.potential)}" if exit_code == EXIT_FINISHED else None
    screen.close(verdict, why, [("written", str(one.written))] if one.written else [], following)
    return RelaxResult((one,), exit_code, summary)


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
