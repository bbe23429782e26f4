"""What is known of a landscape beside its minima: `landscape.jsonl`, one line for each pair of minima that was tried, and for the
frequencies of a minimum.

A line is written when its pair is done, so a search for saddles may be killed at any time and goes on where it was; a half line at the end is dropped. The minima that
saddles lead to are those of the library where it has them; others get numbers of their own here ("x0", "x1", ...) and follow the library's in the network.
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mdapp.errors import OutputError, RunFolderError
from mdapp.minima.landscape.network import Edge, Network, Pair

LANDSCAPE = "landscape.jsonl"
FORMAT = 1


class Minima(Protocol):
    """What a landscape asks of a library (`mdapp.minima.library.Library`)."""

    def __len__(self) -> int: ...

    def energies(self) -> np.ndarray: ...

    def frequencies(self, index: int) -> np.ndarray | None: ...

    def positions(self) -> np.ndarray: ...

    def fingerprints(self) -> np.ndarray: ...

    def transitions(self) -> dict[Pair, int]: ...

    def find(self, positions: np.ndarray, energy_eV: float) -> Any: ...

    @property
    def sameness(self) -> Any: ...

    @property
    def identity(self) -> Any: ...


@dataclass
class Landscape:
    """Tried pairs, saddles and minima that saddles led to, in memory and on disk."""

    minima: Minima
    path: Path
    potential: str = ""  # what evaluated the saddles: saddles of two potentials are never mixed
    tried: dict[Pair, tuple[str, ...]] = field(default_factory=dict)  # reasons why there are not more saddles
    saddles: list[dict[str, Any]] = field(default_factory=list)
    extra_energies: list[float] = field(default_factory=list)
    extra_positions: list[np.ndarray] = field(default_factory=list)
    frequencies: dict[int, np.ndarray] = field(default_factory=dict)  # 1/cm, by a minimum's place in the network
    _own: list[int] = field(default_factory=list)  # which of the extra minima the library does not have
    _same: dict[int, int] = field(default_factory=dict)  # and where it has the others
    _named: dict[str, np.ndarray] = field(default_factory=dict)  # frequencies as read

    @staticmethod
    def read(minima: Minima, path: Path, potential: str = "") -> Landscape:
        """What the file holds; nothing where there is none.

        Raises
        ------
        RunFolderError : damaged, or made with another potential than the one named.
        """
        found = Landscape(minima, Path(path), potential)
        for number, line in _lines(found.path):
            try:
                found._take(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise RunFolderError(f"{path}, line {number}, is damaged ({error}). Remove the file to look for saddles anew.") from None
        found._look_up()
        return found

    def network(self) -> Network:
        """Minima of the library, then those that saddles led to; all saddles as edges."""
        energies = np.concatenate([self.minima.energies(), np.array([self.extra_energies[k] for k in self._own])])
        edges = (Edge(*(self.node(name) for name in s["ends"]), s["energy_eV"], s["frequencies_cm1"][0]) for s in self.saddles)
        return Network(energies, tuple(e for e in edges if e.energy >= max(energies[e.a], energies[e.b])))

    @property
    def n_extra(self) -> int:
        """Minima that only saddles know."""
        return len(self._own)

    def positions(self) -> np.ndarray:
        """(n_minima + n_extra, n_atoms, 3), Å, in the order of the network."""
        own = self.minima.positions()
        return np.concatenate([own, np.stack([self.extra_positions[k] for k in self._own])]) if self._own else own

    def name_of(self, node: int) -> str:
        """The library's number, or that of a minimum that only saddles know."""
        return str(node) if node < len(self.minima) else f"x{self._own[node - len(self.minima)]}"

    def node(self, name: str) -> int:
        """Where a minimum of that name stands in the network."""
        if not name.startswith("x"):
            if not 0 <= int(name) < len(self.minima):
                raise IndexError(f"minimum {name} is not among the library's {len(self.minima)}")
            return int(name)
        k = int(name[1:])
        return self._same[k] if k in self._same else len(self.minima) + self._own.index(k)

    def place(self, positions: np.ndarray, energy: float) -> str:
        """The name of a minimum at the end of a way down; a new one where nobody has it."""
        placed, same = self.minima.find(positions, energy), self.minima.sameness
        if not placed.is_new:
            return str(placed.index)
        for k, (e, x) in enumerate(zip(self.extra_energies, self.extra_positions, strict=True)):
            if abs(e - energy) <= same.energy_window_eV and self.minima.identity.same(x, positions, same.rmsd_max):
                return f"x{k}"
        self._own.append(len(self.extra_energies))
        self.extra_energies.append(float(energy))
        self.extra_positions.append(np.array(positions))
        return f"x{len(self.extra_energies) - 1}"

    def known_saddle(self, positions: np.ndarray, energy: float) -> bool:
        return any(abs(s["energy_eV"] - energy) < 2e-3 and self.minima.identity.same(np.array(s["positions"]), positions) for s in self.saddles)

    def add(self, pair: Pair, crossed: Any) -> int:
        """Write down what came of a pair (`saddles.Crossed`); how many saddles are new."""
        n_extra, new = len(self.extra_energies), []
        for s in crossed.saddles:
            if self.known_saddle(s.positions, s.energy) or any(abs(s.energy - o["energy_eV"]) < 1e-6 for o in new):
                continue
            ends = [self.place(x, e) for x, e in zip(s.ends, s.end_energies, strict=True)]
            new.append({"ends": ends, "energy_eV": s.energy, "frequencies_cm1": np.round(s.frequencies_cm1, 3).tolist(), "positions": np.round(s.positions, 8).tolist()})
        extra = [{"energy_eV": e, "positions": np.round(x, 8).tolist()} for e, x in
                 zip(self.extra_energies[n_extra:], self.extra_positions[n_extra:], strict=True)]
        self._write({"pair": list(pair), "reasons": list(crossed.reasons), "evaluations": crossed.evaluations, "saddles": new, "minima": extra,
                     "potential": self.potential})
        self.tried[pair] = tuple(crossed.reasons)
        self.saddles += new
        return len(new)

    def add_frequencies(self, node: int, frequencies_cm1: np.ndarray) -> None:
        """Write down a minimum's harmonic frequencies."""
        self._write({"minimum": self.name_of(node), "frequencies_cm1": np.round(frequencies_cm1, 3).tolist(), "potential": self.potential})
        self.frequencies[node] = np.asarray(frequencies_cm1)

    def _look_up(self) -> None:
        """Find the minima that only saddles knew in a library that has grown since, and hold the saddles' ends against what there is."""
        self._same, self._own = {}, []
        for k, (e, x) in enumerate(zip(self.extra_energies, self.extra_positions, strict=True)):
            placed = self.minima.find(x, e)
            if placed.is_new:
                self._own.append(k)
            else:
                self._same[k] = placed.index
        try:
            for s in self.saddles:
                for name in s["ends"]:
                    self.node(name)
            self.frequencies = {self.node(name): f for name, f in self._named.items()}
        except (ValueError, IndexError) as error:
            raise RunFolderError(f"{self.path} belongs to another library ({error}). Remove it to look for saddles anew.") from None

    def _take(self, row: dict[str, Any]) -> None:
        if self.potential and row["potential"] != self.potential:
            raise RunFolderError(f"{self.path} holds saddles of {row['potential']}, not of {self.potential}. Remove it to look for saddles anew.")
        if "minimum" in row:
            self._named[row["minimum"]] = np.array(row["frequencies_cm1"], dtype=float)
            return
        for e in row["minima"]:
            self.extra_energies.append(_finite(e["energy_eV"]))
            self.extra_positions.append(np.array(e["positions"], dtype=float).reshape(-1, 3))
        for s in row["saddles"]:
            _finite(s["energy_eV"])
            s["ends"][0], s["ends"][1], s["frequencies_cm1"][0]
            self.saddles.append(s)
        a, b = row["pair"]
        self.tried[(int(a), int(b))] = tuple(row["reasons"])

    def _write(self, row: dict[str, Any]) -> None:
        try:
            _drop_half_line(self.path)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"format": FORMAT, **row}, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from None


def known_frequencies(minima: Minima, landscape: Landscape) -> dict[int, np.ndarray]:
    """Frequencies, 1/cm, by number of the minimum: those that the library keeps, and those that an analysis has written beside it."""
    found = {k: f for k in range(len(minima)) if (f := minima.frequencies(k)) is not None}
    return found | {k: f for k, f in landscape.frequencies.items() if k < len(minima)}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Whole lines and their numbers; a last one that was cut off is no line."""
    if not path.exists():
        return
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}.") from None
    for number, line in enumerate(text.split("\n")[:-1], 1):
        yield number, line


def _drop_half_line(path: Path) -> None:
    """Cut off what a killed process left behind the last whole line."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        data = file.read()
        if data and not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no finite number")
    return number
