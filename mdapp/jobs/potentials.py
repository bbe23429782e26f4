"""`mdapp potentials`: what is installed or shipped, and the card of one."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mdapp.errors import EXIT_FINISHED
from mdapp.jobs._potential import load


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
    from potentials.calculator import shipped
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
        "level_of_theory": getattr(card, "level_of_theory", "not stated"), "energy_zero": getattr(card, "energy_zero", "not stated"),
        "description": getattr(card, "description", ""), "licence": getattr(card, "licence", ""), "parameters": _n_parameters(potential.calculator),
        "training": dict(getattr(card, "training", {}) or {}), "data_sha256": getattr(card, "data_hash", ""),
        "sha256": potential.fingerprint if Path(potential.source).is_file() else "",
        "model_card": _beside(potential.source),
    }  # fmt: skip


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
