"""One structure labelled: what a worker process does, here or on another machine.

A task and what comes of it are plain data. A calculator is made once in a process and told to forget between structures, so that a label does not hang on
what was labelled before it. Heavy packages are imported when the first task comes, after the number of threads has been set.
"""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

_calculators: dict[Any, Any] = {}


@dataclass(frozen=True)
class Recipe:
    """How a calculator is made."""

    word: str
    options: tuple[tuple[str, Any], ...] = ()
    threads: int = 1


@dataclass(frozen=True)
class Task:
    """A structure to label."""

    number: int
    numbers: Any  # (n_atoms,)
    positions: Any  # (n_atoms, 3), Å
    cell: Any  # (3, 3), Å
    pbc: Any  # (3,)
    info: dict[str, Any] = field(default_factory=dict)  # charge, multiplicity


@dataclass(frozen=True)
class Labelled:
    """What came of it: labels in eV and Å, or the reason why there are none."""

    number: int
    labels: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def set_threads(threads: int) -> None:
    """For libraries that are imported from here on."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def make(recipe: Recipe) -> Any:
    """The calculator of a recipe.

    Raises
    ------
    ValueError : no such calculator, or options that it does not take.
    """
    from potentials.calculator import load_calculator
    from potentials.words import ase_calculator

    if not recipe.options:
        return load_calculator(recipe.word)
    if recipe.word.startswith("ase:"):
        return ase_calculator(recipe.word, **dict(recipe.options))
    calculator = load_calculator(recipe.word)
    unknown = [key for key, _ in recipe.options if key not in calculator.default_parameters]
    if unknown:
        raise ValueError(f"{recipe.word} has no option '{unknown[0]}'; known: {', '.join(sorted(calculator.default_parameters))}.")
    calculator.set(**dict(recipe.options))
    return calculator


def label(recipe: Recipe, task: Task) -> Labelled:
    """Label one structure; whatever the calculator raises is the reason why there is no label."""
    set_threads(recipe.threads)
    from ase import Atoms

    from mdapp.jobs._potential import first_line

    atoms = Atoms(numbers=task.numbers, positions=task.positions, cell=task.cell, pbc=task.pbc, info=dict(task.info))
    try:
        calculator = _calculator(recipe)
        atoms.calc = calculator
        labels = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces()}
        if atoms.pbc.all() and "stress" in calculator.implemented_properties:
            labels["stress"] = atoms.get_stress()
        labels.update({name: calculator.results[name] for name in ("charges", "dipole") if calculator.results.get(name) is not None})
    except MemoryError:
        return Labelled(task.number, problem="there is not enough memory for it")
    except Exception as error:
        return Labelled(task.number, problem=first_line(error) or type(error).__name__)
    return _sound(task.number, labels, len(atoms), bool(atoms.pbc.all()))


def _sound(number: int, labels: dict[str, Any], n_atoms: int, periodic: bool) -> Labelled:
    import numpy as np

    shapes = {"energy": (), "forces": (n_atoms, 3), "stress": (6,), "charges": (n_atoms,), "dipole": (3,)}
    for name, value in list(labels.items()):
        array = np.asarray(value, dtype=float)
        fine = array.shape == shapes[name] and bool(np.isfinite(array).all())
        if not fine and name in ("energy", "forces"):
            why = "not finite" if array.shape == shapes[name] else f"of shape {array.shape}, expected {shapes[name]}"
            return Labelled(number, problem=f"the {name} that the calculator gives {'is' if name == 'energy' else 'are'} {why}")
        if not fine or (name == "dipole" and periodic):
            del labels[name]  # a dipole of a cell has no meaning of its own
        else:
            labels[name] = float(array) if name == "energy" else array.copy()
    return Labelled(number, labels)


def _calculator(recipe: Recipe) -> Any:
    calculator = _calculators.get(recipe)
    if calculator is None:
        calculator = make(recipe)
        if recipe.word.startswith("ase:"):
            return calculator  # a stranger may keep anything: each structure gets a new one
        _calculators[recipe] = calculator
        import torch

        torch.set_num_threads(recipe.threads)
    getattr(calculator, "forget", calculator.reset)()
    if hasattr(calculator, "forget"):
        calculator.reset()
    return calculator
