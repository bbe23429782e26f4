"""`mdapp potentials`: what is installed or shipped, the card of one, and foreign weights made into a potential file."""
from __future__ import annotations

import json
import math
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdapp.errors import EXIT_FINISHED, OutputError, UserError
from mdapp.jobs._potential import LoadedPotential, load, translated
from mdapp.record import nearest


def show(name: str | None = None, *, as_json: bool = False) -> int:
    """List all potentials, or print the card of one; returns the exit code."""
    found = card_of(name) if name else listing()
    if as_json:
        print(json.dumps(found, indent=1, default=str))
    elif name:
        for label, value in _flat(found):
            print(f"{label:<18} {value}")
    else:
        _print_listing(found)
    return EXIT_FINISHED


def listing() -> dict[str, list[dict[str, str]]]:
    """Names that need no file, files that come with the program, architectures that files may have. Strangers are listed by name, unopened."""
    from potentials.architectures import architectures
    from potentials.words import shipped
    from potentials.named import named

    return {
        "named": [{"name": name} for name in named.names()],
        "shipped": [{"name": file.name, "file": str(file)} for file in shipped()],
        "architectures": [{"name": name} for name in architectures.names()],
    }


def card_of(name: str) -> dict[str, Any]:
    """Everything that a potential says of itself: elements, cutoff, units, level of theory, training and errors."""
    from ase.data import chemical_symbols

    potential = load((name,), "cpu")
    card = getattr(potential.calculator, "card", None)
    return {
        "name": name, "source": potential.source, "architecture": potential.architecture,
        "elements": "any, or it does not say" if potential.elements is None else " ".join(chemical_symbols[z] for z in potential.elements),
        "cutoff_A": potential.cutoff, "units": "eV, Å", "dtype": potential.dtype, "knows_charge": potential.knows_charge,
        "provides": list(potential.provides), "conservative": potential.conservative, "equivariant": potential.equivariant,
        "net_force_zero": potential.net_force_zero,
        "charge": _charge_words(potential), "long_range": _long_range_words(potential),
        "training_domain": "" if getattr(getattr(potential.calculator, "potential", None), "domain", None) is None else "kept: a structure outside it is told of",
        "level_of_theory": getattr(card, "level_of_theory", "not stated"), "energy_zero": getattr(card, "energy_zero", "not stated"),
        "description": getattr(card, "description", ""), "licence": getattr(card, "licence", ""), "parameters": _n_parameters(potential.calculator),
        "training": measured(getattr(card, "training", {}) or {}), "data_sha256": getattr(card, "data_hash", ""),
        "sha256": potential.fingerprint if Path(potential.source).is_file() else "",
        "model_card": _beside(potential.source),
    }  # fmt: skip


def measured(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that were measured: what is not finite (stress where nothing labelled it) is left out, at any depth."""
    kept = {key: measured(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key: value for key, value in kept.items() if not (isinstance(value, float) and not math.isfinite(value))}


def bring(words: tuple[str, ...], output: str | None, *, as_json: bool = False) -> int:
    """Read foreign weights and write them as a potential file, whole or not at all; returns the exit code.

    Parameters
    ----------
    words : the format and the source file.
    output : the file to write; FORMAT.pt in this folder when not given.

    Raises
    ------
    UserError : an unknown format, or not one format and one source.
    PotentialError : a source that cannot be used, or would run code.
    OutputError : the file exists or cannot be written.
    """
    from potentials.checkpoint import save_potential
    from potentials.imports import imports

    known = imports.names()
    if len(words) != 2:
        raise UserError(f"mdapp potentials import takes a format and a file, got {' '.join(words) or 'nothing'}; known formats: {', '.join(known)}.")
    kind, source = words
    if kind not in known:
        raise UserError(f"import format '{kind}' is unknown{nearest(kind, known)}; known: {', '.join(known)}.")
    target = new_file(output or f"{kind}.pt")
    with translated(source):
        potential = imports.get(kind)(source)
    try:
        save_potential(target, potential)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from None
    found = card_of(str(target))  # read back: what stands on the disk can be used
    if as_json:
        print(json.dumps({"output": str(target), **found}, indent=1, default=str))
        return EXIT_FINISHED
    print(f"{target}: written from {source} ({kind}), {found['parameters']:,} parameters")
    for key in ("description", "elements", "level_of_theory", "energy_zero", "licence", "long_range", "charge"):
        if found[key]:
            print(f"  {key.replace('_', ' '):<16} {found[key]}")
    print(f"Run it: mdapp run STRUCTURE --potential {shlex.quote(str(target))}")
    return EXIT_FINISHED


def send(words: tuple[str, ...], kind: str | None, output: str | None, *, as_json: bool = False) -> int:
    """Write a potential in another program's format into a new folder, whole or not at all; returns the exit code.

    Parameters
    ----------
    words : the potential: a file, or a shipped one by its name.
    kind : the format.
    output : the folder to make; FILE-FORMAT in this folder when not given.

    Raises
    ------
    UserError : an unknown format, or not one potential.
    PotentialError : a file that cannot be used, or a potential that the format cannot hold.
    OutputError : the folder exists or cannot be made.
    """
    from potentials.calculator import load_potential
    from potentials.exports import exports

    known = exports.names()
    if len(words) != 1 or kind is None:
        what = "no --format" if kind is None else " ".join(words) or "nothing"
        raise UserError(f"mdapp potentials export takes one potential file and a --format, got {what}; known formats: {', '.join(known)}.")
    if kind not in known:
        raise UserError(f"export format '{kind}' is unknown{nearest(kind, known)}; known: {', '.join(known)}.")
    target = new_file(output or f"{Path(words[0]).stem}-{kind}", "folder")
    with translated(words[0]):
        potential = load_potential(words[0])
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            made = Path(scratch) / "made"
            try:
                made.mkdir()
                names = [file.name for file in exports.get(kind)(potential, made)]
                made.rename(target)
            except OSError as error:
                raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from None
    if as_json:
        print(json.dumps({"output": str(target), "format": kind, "files": names}))
    else:
        print(f"{target}: written from {words[0]} ({kind}): {', '.join(names)}")
    return EXIT_FINISHED


def new_file(given: str | Path, kind: str = "file") -> Path:
    """The path, if a file or a folder can be made there.

    Raises
    ------
    OutputError : it is there already, or has no place to be.
    """
    path = Path(given)
    if path.is_dir() and kind == "file":
        raise OutputError(f"output = '{path}' is a folder. Name the file to write, for example {path / 'potential.pt'}.")
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} exists already and is not overwritten. Choose another --output or move it away.")
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent} to write {path.name} in. Make it first, or choose another --output.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"No permission to write in {path.parent}. Choose another --output.")
    return path


def _charge_words(potential: LoadedPotential) -> str:
    """Which of charge and spin it takes, and how they are given."""
    known = [f"{words} (--{option})" for words, option, knows in (
        ("total charge", "charge", potential.knows_charge), ("multiplicity", "multiplicity", potential.knows_spin)) if knows]  # fmt: skip
    return f"takes {' and '.join(known)}, from the structure file or the option" if known else ""


def _long_range_words(potential: LoadedPotential) -> str:
    own = getattr(potential.calculator, "potential", None)
    if not getattr(own, "has_long_range", False):
        return ""
    return f"all pairs of an isolated molecule, {own.far_cutoff(True):g} Å in a cell; --long-range-cutoff changes it"


def _n_parameters(calculator: Any) -> int | None:
    weights = getattr(getattr(calculator, "potential", None), "parameters", None)
    return None if weights is None else sum(w.numel() for w in weights())


def _beside(source: str) -> str:
    """The model card that stands beside a shipped file."""
    text = Path(source).with_suffix(".md")
    return str(text) if Path(source).suffix == ".pt" and text.is_file() else ""


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Rows of (label, value); nested tables with their name before the key, what is empty left out."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif value not in (None, "", []):
            rows.append((f"{prefix}{key}", f"{value:.6g}" if isinstance(value, float) else value))
    return rows


def _print_listing(found: dict[str, list[dict[str, str]]]) -> None:
    print("shipped files")
    for entry in found["shipped"]:
        print(f"  {entry['name']:<24} {entry['file']}")
    if not found["shipped"]:
        print("  none")
    print("names that need no file")
    for entry in found["named"]:
        print(f"  {entry['name']}")
    print("architectures of potential files")
    for entry in found["architectures"]:
        print(f"  {entry['name']}")
    print("Any ASE calculator: ase:package.module:Class. The card of one: mdapp potentials NAME.")
