"""`mdapp label`: reference energies and forces of structures, from any ASE calculator, on many processes or machines.

Every label is on the disk as soon as it is there, so that a job that was killed goes on where it was. A structure that cannot be read, that kills its
process or on which the calculator fails is said and left behind; it never costs the others.
"""
from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import pairs
from mdapp.config.label import LabelConfig
from mdapp.errors import EXIT_FINISHED, EXIT_INPUT, EXIT_STOPPED, PotentialError, StructureError, UserError
from mdapp.jobs._label_file import LabelFile
from mdapp.jobs._label_work import Labelled, Recipe, Task
from mdapp.jobs._structures import Source, read_all
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class LabelResult:
    """What has been labelled, and how the job ended."""

    summary: dict[str, Any]
    exit_code: int = EXIT_FINISHED


def label(config: LabelConfig, screen: Screen | None = None) -> LabelResult:
    """Label structures with a reference calculator.

    Raises
    ------
    StructureError : no structure that can be labelled.
    PotentialError : a calculator that cannot be made.
    OutputError, RunFolderError : see `LabelFile`.
    """
    screen = screen or silent()
    path = Path(config.output) if config.output else _free(Path(f"{Path(config.structure[0]).stem.strip('*?') or 'structures'}-labelled.xyz"))
    return label_all(config, read_all(config.structure, config.stride), path, screen)


def label_all(config: LabelConfig, sources: Sequence[Source], path: Path, screen: Screen, should_stop: Any = lambda: False) -> LabelResult:
    """The same of structures that are there; `should_stop` is asked beside signals and the file STOP."""
    from mdapp.jobs._stopping import Stopping
    from mdapp.trajectory import RunLock

    recipe = Recipe(config.calculator, tuple(sorted(pairs(config.calculator_option, "calculator_option").items())), config.threads)
    calculator = _probe(recipe)
    sources = [_checked(source, config, calculator, screen) for source in sources]
    good = {k: source.atoms for k, source in enumerate(sources) if source.atoms is not None}
    failed = {k: str(source.problem) for k, source in enumerate(sources) if source.atoms is None}
    if not good:
        raise StructureError(f"None of the {len(sources)} structures can be labelled. The first: {sources[0].problem if sources else 'there is none.'}")
    begin = time.monotonic()
    deadline = None if config.wall_time is None else begin + config.wall_time
    theory = str(getattr(getattr(calculator, "card", None), "level_of_theory", "")) or config.calculator
    path.parent.mkdir(parents=True, exist_ok=True)
    with RunLock(path.parent, f".{path.name}.lock"), LabelFile(path, _asked(config, sources), config.resume) as file:
        before = len(file.places)
        todo = [k for k in good if k not in file.places]
        n_workers = min(config.workers or _cores(), max(1, len(todo)))
        _header(config, sources, path, before, n_workers, theory, screen)
        for k, problem in failed.items():
            screen.warn(f"{sources[k].name}: left out: {problem}")
        with Stopping(path.parent / "STOP", deadline) as stop:
            if todo:
                with _pool(config, recipe, n_workers) as pool:
                    for found in pool.label([_task(k, good[k]) for k in todo], lambda: stop() or should_stop()):
                        _take(found, sources, good, file, failed, theory, screen)
                        _show(len(file.places), len(failed), before, len(sources), begin, screen)
        ended = len(file.places) + len(failed)
        file.close([{"structure": k, "file": sources[k].file, "frame": sources[k].frame, "reason": failed[k]} for k in sorted(failed)], ended == len(sources))
        kept = len(file.places)
        if not kept and ended == len(sources):
            file.forget()
    return _close(config, path, len(sources), kept, {sources[k].name: failed[k] for k in sorted(failed)}, ended < len(sources), stop.reason or "the caller",
                  time.monotonic() - begin, theory, screen)


def _take(found: Labelled, sources: Sequence[Source], good: dict[int, Atoms], file: LabelFile, failed: dict[int, str], theory: str, screen: Screen) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator

    from potentials.data.named_labels import is_label

    k = found.number
    if found.problem is not None:
        failed[k] = found.problem
        screen.warn(f"{sources[k].name}: no label: {found.problem.rstrip('.')}.")
        return
    atoms = good[k].copy()
    atoms.arrays = {name: value for name, value in atoms.arrays.items() if name in ("numbers", "positions")}
    atoms.info = {name: value for name, value in atoms.info.items() if name not in ("notes", *found.labels, "structure") and not is_label(name)}
    atoms.info.update(structure=k, level_of_theory=theory)
    charges = found.labels.pop("charges", None)
    atoms.calc = SinglePointCalculator(atoms, **found.labels)
    if charges is not None:
        atoms.arrays["charges"] = charges  # of atoms; ASE would call the column "charge", as the total charge is called
    file.keep(k, atoms)


def _probe(recipe: Recipe) -> Any:
    """The calculator, made here once, so that a wrong word is answered at once."""
    from mdapp.jobs._label_work import make
    from mdapp.jobs._potential import translated

    with translated(recipe.word):
        calculator = make(recipe)
    if not {"energy", "forces"} <= set(calculator.implemented_properties):
        missing = [name for name in ("energy", "forces") if name not in calculator.implemented_properties]
        raise PotentialError(f"{recipe.word} gives no {' and no '.join(missing)}, and a label is both. Take another calculator.")
    return calculator


def _checked(source: Source, config: LabelConfig, calculator: Any, screen: Screen) -> Source:
    """The structure with its charge settled, or with the reason why it cannot be labelled."""
    from mdapp.jobs._charge import settle_charge
    from potentials.calculator import refuse_unknown_elements

    if source.atoms is None:
        return source
    atoms = source.atoms
    try:
        knows = getattr(calculator, "knows_charge", None)
        warnings = settle_charge(atoms, config.charge, knows, config.calculator, config.multiplicity, getattr(calculator, "knows_spin", None))
        refuse_unknown_elements(getattr(calculator, "elements", None), atoms.numbers, config.calculator)
        closest = _closest(atoms)
        if closest < 0.1:
            raise StructureError(f"two atoms are {closest:.3f} Å apart")
    except (UserError, ValueError) as error:
        return replace(source, atoms=None, problem=str(error))
    if atoms.info.get("charge") and knows is None:
        warnings.append(f"its charge of {atoms.info['charge']:+g} e is in atoms.info; whether {config.calculator} reads it there is not known.")
    for warning in warnings:
        screen.warn(f"{source.name}: {warning}")
    return source


def _closest(atoms: Atoms) -> float:
    """Shortest distance between two atoms, Å; infinity for one."""
    from ase.neighborlist import neighbor_list

    distances = neighbor_list("d", atoms, 0.5)
    return float(distances.min()) if len(distances) else math.inf


def _task(k: int, atoms: Atoms) -> Task:
    state = {name: atoms.info[name] for name in ("charge", "multiplicity") if name in atoms.info}
    return Task(k, atoms.numbers, atoms.positions, np.array(atoms.cell.array), np.array(atoms.pbc), state)


def _pool(config: LabelConfig, recipe: Recipe, n: int) -> Any:
    from mdapp.jobs._label_pool import OnCluster, Processes

    if config.cluster is None:
        return Processes(recipe, n, config.time_limit)
    from mdapp.cluster import Cluster

    return OnCluster(recipe, Cluster(config.cluster, config.workers, pairs(config.cluster_option, "cluster_option")))


def _asked(config: LabelConfig, sources: Sequence[Source]) -> dict[str, Any]:
    """What the labels hang on, in the words of the options."""
    digest = hashlib.sha256()
    for source in sources:
        a = source.atoms
        parts = () if a is None else (a.numbers, a.positions, a.cell.array, a.pbc, np.array([float(a.info.get(n, d)) for n, d in (("charge", 0), ("multiplicity", 1))]))
        for part in parts or (np.zeros(1),):
            digest.update(np.ascontiguousarray(part).tobytes())
    return {"format": 1, "structure": digest.hexdigest(), "n_structures": len(sources), "calculator": _calculator_words(config.calculator),
            "calculator_option": list(config.calculator_option)}


def _calculator_words(word: str) -> str:
    """The word, with the hash of the file where it is one."""
    from potentials.checkpoint import fingerprint
    from potentials.words import file_of

    file = file_of(word)
    return word if file is None else f"{word} sha256:{fingerprint(file)}"


def _cores() -> int:
    from mdapp.jobs._compute import free_cores

    return free_cores()


def _header(config: LabelConfig, sources: Sequence[Source], path: Path, before: int, n_workers: int, theory: str, screen: Screen) -> None:
    sizes = [len(source.atoms) for source in sources if source.atoms is not None]
    where = f"{n_workers} process{'es' if n_workers > 1 else ''}" if config.cluster is None else f"Dask, {config.cluster}"
    screen.header("mdapp label", [
        ("structures", f"{len(sources)}, of {min(sizes)} to {max(sizes)} atoms" + (f"; {before} labelled before" if before else "")),
        ("calculator", f"{config.calculator} ({theory})" if theory != config.calculator else theory),
        ("work", f"{where}, {config.threads} thread{'s' if config.threads > 1 else ''} each"), ("output", str(path))])


def _show(done: int, failed: int, before: int, n: int, begin: float, screen: Screen) -> None:
    if screen.due((done + failed) / n):
        rate = (done - before) / max(time.monotonic() - begin, 1e-9)
        left = f"  {rate:.3g} a second, {(n - done - failed) / rate:.0f} s left" if rate > 0 else ""
        screen.live(f"{done}/{n} labelled{f', {failed} failed' if failed else ''}{left}", (done + failed) / n)


def _close(config: LabelConfig, path: Path, n: int, kept: int, failed: dict[str, str], unfinished: bool, stopped: str, seconds: float, theory: str,
           screen: Screen) -> LabelResult:  # fmt: skip
    if unfinished:
        verdict, exit_code, why = "interrupted", EXIT_STOPPED, f"{stopped}; {kept} of {n} structures are labelled. Go on with --resume --output {path}."
    elif failed:
        verdict, exit_code = "not finished", EXIT_INPUT
        why = f"{len(failed)} of {n} structures have no label; {path.with_suffix('.failed.csv')} says why." if kept else \
            f"none of {n} structures has a label. The first: {next(iter(failed.values())).rstrip('.')}."
    else:
        verdict, exit_code, why = "finished", EXIT_FINISHED, f"all {n} structures are labelled."
    summary = {"verdict": verdict, "why": why, "exit_code": exit_code, "output": str(path) if kept else None, "calculator": config.calculator,
               "level_of_theory": theory, "n_structures": n, "n_labelled": kept, "failed": failed, "seconds": round(seconds, 3)}
    screen.end_live()
    screen.close(verdict, why, [("written", str(path))] if kept else [], None)
    return LabelResult(summary, exit_code)


def _free(path: Path) -> Path:
    k, free = 1, path
    while free.exists() or free.with_suffix(".label.json").exists():
        k += 1
        free = path.with_name(f"{path.stem}-{k}{path.suffix}")
    return free
