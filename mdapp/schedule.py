"""A temperature that follows a schedule: `--anneal "500K 20ps, 500K 10ps, 300K 40ps"`.

Each leg is a temperature and the time that it takes to get there, in a straight line, from the temperature before; a hold is the same
temperature again. The first leg begins at `temperature`; after the last one the temperature stays.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mdapp.quantities import quantity, shown_time

_LEG = re.compile(r"\s*([-+]?[\d._]+(?:[eE][-+]?\d+)?\s*(?:m?K)?)\s+([-+]?[\d._]+(?:[eE][-+]?\d+)?\s*[a-zµ]*)\s*$")


@dataclass(frozen=True)
class Schedule:
    """Temperature in K against time in fs; call it with a time."""

    start_K: float
    legs: tuple[tuple[float, float], ...]  # temperature at the end in K, length in fs

    @property
    def length_fs(self) -> float:
        return sum(length for _, length in self.legs)

    @property
    def highest_K(self) -> float:
        return max(self.start_K, *(temperature for temperature, _ in self.legs))

    def __call__(self, time_fs: float) -> float:
        temperature, begin = self.start_K, 0.0
        for target, length in self.legs:
            if time_fs < begin + length:
                return temperature + (target - temperature) * max(0.0, time_fs - begin) / length
            temperature, begin = target, begin + length
        return temperature

    def __str__(self) -> str:
        return f"{self.start_K:g} K" + "".join(f", to {T:g} K in {shown_time(length)}" for T, length in self.legs)


def parse_schedule(words: Iterable[str], start_K: float) -> Schedule:
    """The schedule that begins at `start_K` and has these legs; several may stand in one word, with commas between them.

    Raises
    ------
    ValueError : a leg that is not a temperature and a time, or one out of range.
    """
    legs = []
    for leg in (leg for word in words for leg in word.split(",")):
        match = _LEG.match(leg)
        if match is None:
            raise ValueError(f"anneal: expected a temperature and the time to get there, such as '500K 20ps', got '{leg.strip()}'.")
        temperature, length = quantity(match[1].strip(), "K", "anneal"), quantity(match[2].strip(), "fs", "anneal")
        if not 0 < temperature <= 1e5:
            raise ValueError(f"anneal: a temperature must be above 0 and at most 100000 K, got {temperature:g}.")
        if not length > 0:
            raise ValueError(f"anneal: the time to get to {temperature:g} K must be above 0 fs, got {length:g}.")
        legs.append((temperature, length))
    return Schedule(start_K, tuple(legs))
