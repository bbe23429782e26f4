"""What all configurations share: options with help and unit, and the checks of their values.

A record is a frozen dataclass whose fields are options of the command line: the field's name is the option's name with underscores, its
metadata hold the help text and the unit that a bare number carries.
"""
from __future__ import annotations

import dataclasses
import difflib
import os
import typing
from typing import Any

from mdapp.quantities import quantity


def option(default: Any = dataclasses.MISSING, help: str = "", unit: str | None = None, short: str | None = None, metavar: str | None = None,
           duration: bool = False) -> Any:
    """A field that is an option of the command line; without a default it is a positional argument or must be given."""
    return dataclasses.field(default=default, metadata={"help": help, "unit": unit, "short": short, "metavar": metavar, "duration": duration})


class Record:
    """What all configurations share: text with units becomes numbers, a single value becomes a tuple."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, f.name, normalised(f, getattr(self, f.name)))
        self.check()

    def check(self) -> None:
        """Raise ValueError where a value is out of range or two do not fit together."""

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def normalised(f: dataclasses.Field, value: Any) -> Any:
    """A value as its field wants it: quantities as floats, one word as a tuple of words."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if f.metadata.get("unit") and value is not None:
        return quantity(value, f.metadata["unit"], f.name)
    if str(f.type).startswith("tuple") and isinstance(value, str):
        return (value,)
    if str(f.type).startswith("tuple") and isinstance(value, (list, tuple)):
        return tuple(os.fspath(v) if isinstance(v, os.PathLike) else v for v in value)
    return value


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """' (did you mean ...?)' where something known is near, else nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            unit = next(f.metadata["unit"] for f in dataclasses.fields(config) if f.name == name)
            raise ValueError(f"{name} must be > 0 {unit}, got {value:g}.")


def whole(config: Any, name: str, least: int, most: int | None = None) -> None:
    value = getattr(config, name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, got {value!r}.")
    if value < least or (most is not None and value > most):
        allowed = f">= {least}" if value < least else f"<= {most}"
        raise ValueError(f"{name} must be {allowed}, got {value}.")


def chosen(name: str, value: str, known: list[str]) -> str:
    if value not in known:
        raise ValueError(f"{name} '{value}' is unknown{nearest(value, known)}; known: {', '.join(known)}.")
    return value
