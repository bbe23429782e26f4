"""Configurations as TOML: read from a file, filled with the command line's words, written out whole.

A file holds a table a verb (`[run]`, `[relax]`, ...), or the keys of one verb at the top. `[provenance]`, which a run writes beside its
settings, is skipped, so that the `run.toml` of a run folder starts the same run again.
"""
from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mdapp.errors import UserError
from mdapp.record import Record, nearest, normalised
from potentials.typed import ConfigError, convert

R = TypeVar("R", bound=Record)
_TABLES = ("run", "resume", "relax", "analyse", "evaluate", "data-report", "check", "train", "minima", "library", "label", "learn", "bench")
_LARGEST_FILE = 1_000_000  # bytes; a configuration is never that long


def read_settings(path: str, verb: str) -> dict[str, Any]:
    """The settings of `verb` in a TOML file, as written there.

    Raises
    ------
    UserError : the file cannot be read or is not TOML.
    """
    try:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise UserError(f"{path}: {Path(path).stat().st_size} bytes are too many for a configuration.")
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"No configuration file '{path}'.") from None
    except IsADirectoryError:
        raise UserError(f"'{path}' is a folder; --config wants a TOML file.") from None
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not a TOML file: {error}.") from None
    data.pop("provenance", None)
    tables = {name for name in _TABLES if isinstance(data.get(name), dict)}
    if verb not in tables:
        return {key: value for key, value in data.items() if key not in tables}
    strange = [key for key in data if key not in tables]
    if strange:
        raise UserError(f"{path}: key '{strange[0]}' stands outside the table [{verb}]{nearest(strange[0], _TABLES)}. Move it below [{verb}].")
    return data[verb]


def fill(cls: type[R], values: Mapping[str, Any], where: str) -> R:
    """A record from settings by name; text with a unit may stand for a quantity.

    Raises
    ------
    UserError : an unknown or missing key, or a value that does not fit; the message begins with `where`.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'{nearest(key, known)}; known: {', '.join(known)}.")
    for name, f in known.items():
        if name not in values and f.default is dataclasses.MISSING:
            raise UserError(f"{where}: '{name}' is missing. {_ask_for(name)}")
    try:
        words = {key: normalised(known[key], value) for key, value in values.items()}
        typed = {key: v if _is_duration(known[key], v) else convert(v, hints[key], key) for key, v in words.items()}
        return cls(**typed)
    except (ConfigError, ValueError, TypeError) as error:
        raise UserError(f"{where}: {error}") from error


def _ask_for(name: str) -> str:
    if name == "potential":
        return "Name one, for example --potential so3krates.pt; `mdapp potentials` lists what is installed."
    return f"Give it on the command line or as {name} = ... in the configuration."


def _is_duration(f: dataclasses.Field, value: Any) -> bool:
    """Whether text stands for a whole number that the record itself works out (`every = "50fs"`)."""
    return bool(f.metadata.get("duration")) and isinstance(value, str)


def to_toml(config: Record, verb: str) -> str:
    """The whole record as a TOML table; read back, it is equal. What is not given stands as a comment."""
    lines = [f"[{verb}]"]
    for f in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, f.name)
        unit = f"  # {f.metadata['unit']}" if f.metadata.get("unit") else ""
        lines.append(f"# {f.name}: not given" if value is None else f"{f.name} = {toml_value(value)}{unit}")
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Plain data as TOML writes it; floats keep every bit."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    # JSON's text is TOML's basic text, but for DEL, which TOML wants escaped, and for surrogate pairs, which ensure_ascii=False avoids
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")
