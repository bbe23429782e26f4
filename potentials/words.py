"""What `--potential` takes, read: words become files, shipped potentials, or ASE's calculators by the name of their class."""
from __future__ import annotations

import difflib
import glob
import importlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator, Calculator

from potentials.checkpoint import Card

SHIPPED = files("potentials") / "shipped"


def shipped() -> list[Path]:
    """The potential files that come with the program."""
    return sorted(Path(str(f)) for f in SHIPPED.iterdir() if f.name.endswith(".pt"))


def members_of(spec: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """The words one by one, patterns of files opened.

    Raises
    ------
    ValueError : no word.
    """
    specs = [spec] if isinstance(spec, (str, Path)) else list(spec)
    if not specs:
        raise ValueError("No potential given.")
    found: list[str | Path] = []
    for one in specs:
        matches = sorted(glob.glob(str(one))) if any(c in str(one) for c in "*?[") and not Path(one).exists() else []
        found.extend(matches or [one])
    return found


def file_of(spec: str | Path) -> Path | None:
    """The file that a word stands for: itself, or a shipped potential by its name or file name."""
    path = Path(spec)
    if path.exists() and not path.is_dir():
        return path
    text = str(spec)
    for candidate in shipped():
        if text in (candidate.name, candidate.stem):
            return candidate
    return None


def not_found(text: str) -> str:
    """What to say of a word that stands for nothing: the nearest name, and all names."""
    from potentials.named import named

    if text and Path(text).is_dir():
        return f"{text} is a folder, not a potential file."
    names = [*named.names(), *(f.name for f in shipped())]
    near = difflib.get_close_matches(text, [*names, *(f.stem for f in shipped())], n=1)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    return f"No potential '{text}': no such file, and no potential of that name.{guess} Known names: {', '.join(names)}; or ase:package.module:Class."


def ase_calculator(text: str, **options: Any) -> Calculator:
    """An instance of the class that `ase:package.module:Class` names, called with `options`.

    Raises
    ------
    ValueError : no such class, no calculator, or one that needs arguments.
    """
    module_name, _, class_name = text[len("ase:") :].rpartition(":")
    if not module_name or not class_name:
        raise ValueError(f"--potential is '{text}'; expected ase:package.module:Class, for instance ase:ase.calculators.lj:LennardJones.")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise ValueError(f"'{text}': cannot import {module_name} ({error}). Is its package installed?") from error
    except AttributeError:
        raise ValueError(f"'{text}': {module_name} has no class {class_name}.") from None
    if not (isinstance(kind, type) and issubclass(kind, BaseCalculator)):
        raise ValueError(f"'{text}': {class_name} is not an ASE calculator class, so it was not called.")
    try:
        calculator = kind(**options)
    except Exception as error:
        further = "further " if options else ""
        raise ValueError(f"'{text}': {class_name}({', '.join(options)}) failed: {error}. It must work without {further}arguments; "
                         "wrap it in a class of yours that does.") from error
    calculator.elements = None
    calculator.card = Card(level_of_theory=f"whatever {class_name} of {module_name} computes")
    return calculator
