"""A mapping becomes a frozen dataclass, or an error that names the key.

Serves configurations of the command line, of training runs and of architectures stored in potential files.
"""
from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A key or value that does not fit; the message names it."""


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass `cls` from a mapping, nested dataclasses included.

    Parameters
    ----------
    values : keys are field names; whole numbers may stand for floats, lists for tuples.
    where : the section's name for messages, e.g. "[train.loss]".

    Raises
    ------
    ConfigError : an unknown key (with the nearest known one), a missing key, a value of another type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a table of settings, got {values!r}.")
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'{_nearest(key, known)}; known: {', '.join(known)}.")
    for name, f in known.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: missing key '{name}'.")
    converted = {key: convert(value, hints[key], f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**converted)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint`: exact types, int for float, list for tuple, mapping for dataclass; no other guess."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in args:
            if option is type(None):
                continue
            try:
                return convert(value, option, where)
            except ConfigError as error:
                errors.append(str(error))
        raise ConfigError(errors[0] if errors else f"{where}: {shown(value)} does not fit.")
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: got {shown(value)}{_nearest(str(value), args)}; allowed: {', '.join(map(str, args))}.")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: expected a list, got {shown(value)}.")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(convert(v, args[0], where) for v in value)
        if len(value) != len(args):
            raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}.")
        return tuple(convert(v, a, where) for v, a in zip(value, args))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {shown(value)}.")
        return {convert(k, args[0], where): convert(v, args[1], f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise ConfigError(f"{where}: expected {_PLAIN.get(name, name)}, got {shown(value)}.")


def shown(value: Any) -> str:
    """A value as messages show it: in full where it is short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_PLAIN = {"float": "a number", "int": "a whole number", "str": "text", "bool": "true or false"}


def to_mapping(record: Any) -> dict[str, Any]:
    """A dataclass as plain data (nested dicts, lists, numbers, text), the inverse of `from_mapping`."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return to_mapping(value)
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    return {f.name: plain(getattr(record, f.name)) for f in dataclasses.fields(record) if f.init}


def _nearest(key: str, known: typing.Iterable[Any]) -> str:
    near = difflib.get_close_matches(key, [str(k) for k in known], n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
