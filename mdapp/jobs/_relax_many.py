"""`mdapp relax` of many structures: together where the optimiser can, into one folder that survives anything.

A structure that cannot be used, or that the potential fails on, is said and left behind; it never costs the others.
"""
from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import RelaxConfig
from mdapp.errors import EXIT_FINISHED, EXIT_NOT_CONVERGED, EXIT_STOPPED, StructureError, UserError
from mdapp.jobs._relax_folder import LOCK, RelaxFolder
from mdapp.jobs._structures import Source
from mdapp.jobs._relax_measures import bonds_changed, cell_relaxation, check_structure, moved
from mdapp.jobs._relax_vibrations import judge
from mdapp.jobs._unknown import unknown_words
from mdapp.screen import Screen

if TYPE_CHECKING:
    from ase import Atoms

    from mdapp.jobs._potential import LoadedPotential
    from mdapp.relax import RelaxationPool, Relaxed

SYNC_S = 5.0
TOGETHER = ("lbfgs", "internal", "fire")


def relax_many(config: RelaxConfig, sources: Sequence[Source], potential: LoadedPotential, screen: Screen) -> tuple[dict[str, Any], int]:
    """The summary and the exit code; see `mdapp.jobs.relax.relax`."""
    from mdapp.jobs._stopping import Stopping
    from mdapp.trajectory import RunLock
    from potentials.calculator import batch_evaluator

    sources = [_checked(source, config, potential, screen) for source in sources]
    first = {str(source.atoms.symbols): source for source in reversed(sources) if source.atoms is not None}  # of each kind: conformers are told of once
    for source in reversed(first.values()):
        for warning in unknown_words(source.atoms, potential):  # type: ignore[arg-type]
            screen.warn(f"{source.name}: {warning}")
    good = {k: source.atoms for k, source in enumerate(sources) if source.atoms is not None}
    if not good:
        raise StructureError(f"None of the {len(sources)} structures can be used. The first: {sources[0].problem}")
    path = Path(config.output) if config.output else _free(Path(f"{Path(config.structure[0]).stem.strip('*?') or 'structures'}-relaxed"))
    with RelaxFolder(path, _asked(config, sources, potential), config.resume) as folder, RunLock(path, LOCK):
        rows = folder.rows()
        _header(config, sources, path, potential, len(rows), screen)
        for k, source in enumerate(sources):
            if source.atoms is None:
                screen.warn(f"{source.name}: left out: {source.problem}")
                rows[k] = _row(k, source, converged=False, reason=source.problem)
        evaluate = _Starting(batch_evaluator(potential.calculator, compiled=config.compile))
        under_way = folder.under_way()
        todo = [k for k in good if k not in rows]
        starts = [_start(good[k], under_way.get(k)) for k in todo]
        with Stopping(path / "STOP", None) as stop:
            progress = _Progress(folder, screen, len(sources), rows, todo)
            for index, end in _ends(config, starts, evaluate, potential, progress, stop):
                k = todo[index]
                if end.reason == "stopped from outside":
                    continue
                judged = judge(end, evaluate, config)
                end, start = judged.relaxed, good[k]
                finite = math.isfinite(end.energy)
                rows[k] = _row(
                    k, sources[k], converged=end.converged, steps=end.n_steps, energy_start_eV=None if k in under_way else evaluate.starts.get(index),
                    energy_eV=end.energy if finite else None, fmax_eV_A=end.fmax if finite else None, stress_max_eV_A3=end.stress_max,
                    moved_A=moved(start, end.atoms) if finite else None, bonds_changed=" ".join(bonds_changed(start, end.atoms)) if finite else None,
                    reason=end.reason, **judged.numbers)
                kept = end.atoms.copy()
                kept.calc = end.atoms.calc
                kept.info = {key: value for key, value in start.info.items() if key in ("charge", "multiplicity")}
                kept.info.update({name: value for name, value in rows[k].items() if value not in (None, "") and name != "energy_eV"}, potential=potential.title)
                if judged.minimum is not None:
                    kept.info["frequencies_cm1"] = judged.minimum.modes.frequencies_cm1
                folder.keep(k, kept)
                if not end.converged:
                    screen.warn(f"{sources[k].name}: {end.reason.rstrip('.')}.")
        ordered = [rows[k] for k in sorted(rows)]
        complete = len(rows) == len(sources)
        folder.close(ordered, complete)
    return _close(config, ordered, len(sources), stop.reason, path, screen)


def _ends(
    config: RelaxConfig, starts: list[Atoms], evaluate: _Starting, potential: LoadedPotential, progress: _Progress, stop: Any
) -> Iterator[tuple[int, Relaxed]]:
    from mdapp.relax import BatchOptions, relax_batch

    if config.optimiser in TOGETHER and not config.cell:
        options = BatchOptions(config.optimiser, config.sharp, config.steps)
        yield from relax_batch(starts, evaluate, options, config.in_flight, progress, stop)
    else:
        yield from _one_by_one(config, starts, evaluate, potential, progress, stop)


def _one_by_one(
    config: RelaxConfig, starts: list[Atoms], evaluate: _Starting, potential: LoadedPotential, progress: _Progress, stop: Any
) -> Iterator[tuple[int, Relaxed]]:
    from mdapp.relax import RelaxationFailed, Relaxed, relax

    for index, atoms in enumerate(starts):
        atoms.calc = potential.calculator
        note = lambda step, energy, force, index=index: evaluate.starts.setdefault(index, energy)
        try:
            end = relax(atoms, config.optimiser, config.sharp, config.steps, cell_relaxation(config), note, stop)
        except RelaxationFailed as error:
            end = Relaxed(error.last or atoms.copy(), False, 0, math.nan, math.nan, None, str(error))
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:
            from mdapp.jobs._potential import first_line

            end = Relaxed(atoms.copy(), False, 0, math.nan, math.nan, None, first_line(error))
        atoms.calc = None
        yield index, end
        progress(None)
        if stop.reason:
            return


class _Starting:
    """An evaluator that remembers the first energy of each structure (structures have whole numbers as keys)."""

    def __init__(self, evaluate: Any):
        self.evaluate, self.forget = evaluate, evaluate.forget
        self.starts: dict[int, float] = {}

    def __call__(self, items: Sequence[Any]) -> tuple[np.ndarray, list[np.ndarray]]:
        energies, forces = self.evaluate(items)
        for item, energy in zip(items, energies.tolist(), strict=True):
            if isinstance(item.key, int) and math.isfinite(energy):
                self.starts.setdefault(item.key, energy)
        return energies, forces


class _Progress:
    """The live line, and the positions of those on their way to the disk every few seconds."""

    def __init__(self, folder: RelaxFolder, screen: Screen, n: int, rows: dict[int, Any], todo: list[int]):
        self.folder, self.screen, self.n, self.rows, self.todo = folder, screen, n, rows, todo
        self.begin = self.synced = time.monotonic()
        self.before = len(rows)

    def __call__(self, pool: RelaxationPool | None) -> None:
        now = time.monotonic()
        if now - self.synced > SYNC_S:
            self.folder.sync({} if pool is None else {self.todo[key]: x for key, x in pool.positions().items()})  # type: ignore[index]
            self.synced = now
        done = len(self.rows)
        if self.screen.due(done / self.n):
            rate = (done - self.before) / max(now - self.begin, 1e-9)
            left = f"  {3600 * rate:.0f} an hour, {(self.n - done) / rate:.0f} s left" if rate > 0 else ""
            self.screen.live(f"{done}/{self.n} there{f', {len(pool)} on their way, {pool.evaluations} evaluations' if pool is not None else ''}{left}")


def _checked(source: Source, config: RelaxConfig, potential: LoadedPotential, screen: Screen) -> Source:
    if source.atoms is None:
        return source
    try:
        check_structure(config, source.name, source.atoms, potential, screen)
    except UserError as error:
        return replace(source, atoms=None, problem=str(error))
    return source


def _start(atoms: Atoms, positions: np.ndarray | None) -> Atoms:
    start = atoms.copy()
    if positions is not None and positions.shape == start.positions.shape and np.isfinite(positions).all():
        start.positions[:] = positions
    return start


def _asked(config: RelaxConfig, sources: Sequence[Source], potential: LoadedPotential) -> dict[str, Any]:
    """What the results hang on, in the words of the options."""
    digest = hashlib.sha256()
    for source in sources:
        if source.atoms is not None:
            a = source.atoms
            for part in (a.numbers, a.positions, a.cell.array, a.pbc, np.array([float(a.info.get("charge", 0)), float(a.info.get("multiplicity", 1))])):
                digest.update(np.ascontiguousarray(part).tobytes())
    settings = {name: getattr(config, name) for name in ("optimiser", "fmax", "steps", "frequencies", "temperature", "cell", "pressure", "mask", "hydrostatic",
                                                         "constant_volume", "dtype", "long_range_cutoff", "electrostatics")}
    return {"format": 1, "structure": digest.hexdigest(), "n_structures": len(sources), "potential": potential.fingerprint, **settings}


def _row(k: int, source: Source, **values: Any) -> dict[str, Any]:
    quiet = str(values.pop("reason", "") or "").replace('"', "'").replace("\n", " ")
    return {"structure": k, "file": source.file, "frame": source.frame, **values, "reason": quiet}


def _header(config: RelaxConfig, sources: Sequence[Source], path: Path, potential: LoadedPotential, done: int, screen: Screen) -> None:
    sizes = [len(source.atoms) for source in sources if source.atoms is not None]
    way = f"{config.in_flight} at most together" if config.optimiser in TOGETHER and not config.cell else "one after another"
    screen.header("mdapp relax", [
        ("structures", f"{len(sources)}, of {min(sizes)} to {max(sizes)} atoms" + (f"; {done} done before" if done else "")), ("potential", potential.title),
        ("search", f"{config.optimiser} to {config.sharp:g} eV/Å, {config.steps} steps at most, {way}"
                   + (f", cell at {config.pressure:g} bar" if config.cell else "") + (", frequencies" if config.frequencies else "")),
        ("output", str(path))])


def _close(config: RelaxConfig, rows: list[dict[str, Any]], n: int, stopped: str | None, path: Path, screen: Screen) -> tuple[dict[str, Any], int]:
    from mdapp.trajectory.files import write_text

    done = sum(bool(row.get("converged")) for row in rows)
    saddles = sum((row.get("n_imaginary") or 0) > 0 for row in rows)
    if stopped and len(rows) < n:
        verdict, exit_code, why = "interrupted", EXIT_STOPPED, f"{stopped}; {len(rows)} of {n} structures have ended. Go on with --resume --output {path}."
    elif done < n:
        verdict, exit_code, why = "not converged", EXIT_NOT_CONVERGED, f"{n - done} of {n} structures have not come down to {config.sharp:g} eV/Å; the table says why."
    elif saddles:
        verdict, exit_code, why = "not converged", EXIT_NOT_CONVERGED, f"{saddles} of {n} structures are no minima: imaginary modes are left."
    else:
        verdict, exit_code, why = "finished", EXIT_FINISHED, f"all {n} structures are relaxed."
    changed = [row for row in rows if row.get("bonds_changed")]
    summary = {"verdict": verdict, "why": why, "exit_code": exit_code, "potential": list(config.potential), "optimiser": config.optimiser,
               "fmax_asked_eV_A": config.sharp, "output": str(path), "n_structures": n, "n_converged": done, "n_bonds_changed": len(changed), "structures": rows}
    write_text(path / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    screen.end_live()
    if changed:
        screen.warn(f"bonds changed on the way of {len(changed)} of {n} structures, as the column bonds_changed says: {changed[0]['bonds_changed']} in the first.")
    screen.close(verdict, why, [("written", f"{path}/relaxed.extxyz and relaxed.csv")], None)
    return summary, exit_code


def _free(path: Path) -> Path:
    k, free = 1, path
    while free.exists():
        k += 1
        free = path.with_name(f"{path.name}-{k}")
    return free
