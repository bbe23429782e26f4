"""A value with its unit becomes a number: `0.5fs`, `10 ps`, `1bar`, `0.1GPa`, `2/ps`, `01:30:00`.

Every kind of quantity has a house unit, which a bare number carries: fs, K, bar, 1/ps, Å, eV, eV/Å, amu, s. Conversion happens here and nowhere else,
so what comes out of a configuration is a plain float in the house unit.
"""
from __future__ import annotations

import difflib
import math
import re

_TIME = {"as": 1e-3, "fs": 1.0, "ps": 1e3, "ns": 1e6, "us": 1e9, "µs": 1e9, "ms": 1e12}
_EV_PER_A3_IN_BAR = 1602176.634  # CODATA 2018, exact elementary charge
_J_PER_MOL_IN_EV = 96485.33212331  # CODATA 2018, Faraday's constant
_UNITS: dict[str, dict[str, float]] = {
    "fs": _TIME,
    "1/ps": {f"{one}{name}{power}": 1e3 / size for name, size in _TIME.items() for one, power in (("1/", ""), ("/", ""), ("", "^-1"), ("", "-1"))},
    "K": {"K": 1.0, "mK": 1e-3},
    "bar": {"bar": 1.0, "mbar": 1e-3, "kbar": 1e3, "Pa": 1e-5, "kPa": 1e-2, "MPa": 10.0, "GPa": 1e4, "atm": 1.01325,
            "eV/A^3": _EV_PER_A3_IN_BAR, "eV/Å^3": _EV_PER_A3_IN_BAR, "eV/Å³": _EV_PER_A3_IN_BAR},
    "Å": {"Å": 1.0, "A": 1.0, "Ang": 1.0, "Angstrom": 1.0, "nm": 10.0, "pm": 0.01, "bohr": 0.529177210903},
    "eV": {"eV": 1.0, "meV": 1e-3, "kcal/mol": 4184.0 / _J_PER_MOL_IN_EV, "kJ/mol": 1000.0 / _J_PER_MOL_IN_EV, "Ha": 27.211386245981},
    "eV/Å": {"eV/Å": 1.0, "eV/A": 1.0, "meV/Å": 1e-3, "meV/A": 1e-3},
    "amu": {"amu": 1.0, "u": 1.0, "Da": 1.0},
    "s": {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
}
_NUMBER = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$", re.DOTALL)
_CLOCK = re.compile(r"\s*(?:(\d+)-)?(\d+):(\d\d):(\d\d)\s*$")


def quantity(value: object, unit: str, name: str) -> float:
    """`value` as a number in `unit`.

    Parameters
    ----------
    value : a number (already in `unit`) or text such as "0.5fs" or "0.5 fs". For seconds also "hh:mm:ss" and "d-hh:mm:ss".
    unit : the house unit, one of fs, 1/ps, K, bar, Å, eV, eV/Å, amu, s.
    name : the setting's name, for messages.

    Raises
    ------
    ValueError : not a number, not finite, or a unit of another kind; the message lists the units that fit.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str):
        number = _parse(value, unit, name)
    else:
        raise ValueError(f"{name} must be a number in {unit}, got {value!r}.")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number in {unit}, got {value}.")
    return number


def _parse(text: str, unit: str, name: str) -> float:
    if unit == "s" and (clock := _CLOCK.match(text)):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{name} must be a number in {unit}, bare or with its unit, got '{text}'.")
    number, given = float(match[1]), match[2].replace(" ", "")
    if not given:
        return number
    if given not in _UNITS[unit]:
        near = difflib.get_close_matches(given, _UNITS[unit], n=1)
        guess = f" Did you mean '{match[1]}{near[0]}'?" if near else ""
        raise ValueError(f"{name} is a quantity in {unit}, got '{text}' with the unit '{given}'; known: {', '.join(_shown(unit))}.{guess}")
    return number * _UNITS[unit][given]


def _shown(unit: str) -> list[str]:
    """The units worth listing in a message: one spelling of each."""
    if unit == "1/ps":
        return ["1/fs", "1/ps", "1/ns"]
    return [known for known in _UNITS[unit] if known not in ("µs", "as", "ms", "mK", "mbar", "A", "Ang", "eV/A^3", "eV/Å³", "eV/A", "meV/A")]


def shown_time(time_fs: float) -> str:
    """A simulated time in the unit that reads best: '250 fs', '10 ps', '1.5 ns'."""
    for unit, size in (("µs", 1e9), ("ns", 1e6), ("ps", 1e3)):
        if abs(time_fs) >= size:
            return f"{time_fs / size:.6g} {unit}"
    return f"{time_fs:.6g} fs"
