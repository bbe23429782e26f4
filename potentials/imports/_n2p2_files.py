"""The three files of an n2p2 (or RuNNer) potential, as plain records: input.nn, scaling.data, weights.ZZZ.data.

Lines of input.nn are `keyword values`, with # beginning a comment. A symmetry function is
``symfunction_short CENTRE TYPE ...`` with types 2 (G2), 3 (G4, narrow), 9 (G5, wide), 12 and 13 (weighted G2 and G4).
scaling.data and weights hold the functions of each element in n2p2's own sorted order, not in that of input.nn.

A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019).
"""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from potentials.layers.symmetry_functions import SymmetryFunction

CUTOFFS = ("hard", "cosine", "tanh3", "tanh3_norm", "exp", "poly3", "poly5", "poly7", "poly9")  # cutoff_type 0, 1, ...
ACTIVATIONS = {
    "l": "identity", "t": "tanh", "s": "sigmoid", "p": "softplus", "r": "relu", "g": "gaussian", "c": "cosine", "S": "reverse-sigmoid",
    "e": "exponential", "h": "harmonic",
}  # fmt: skip
KINDS = {2: "G2", 3: "G4", 9: "G5", 12: "W2", 13: "W4"}
NUMBERS = {2: 3, 3: 4, 9: 4, 12: 3, 13: 5}  # numbers behind the elements, optional shifts apart
MAX_BYTES = 1 << 28


class N2p2Error(ValueError):
    """A file that n2p2 would not read either, or one that says more than we can do."""


@dataclass(frozen=True)
class InputFile:
    """What input.nn says, in its own units."""

    path: Path
    elements: tuple[int, ...]  # ascending atomic numbers
    words: dict[str, list[list[str]]] = field(default_factory=dict)  # of each keyword: the values of each of its lines

    def has(self, keyword: str) -> bool:
        return keyword in self.words

    def value(self, keyword: str, default: str | None = None) -> str:
        """The first value of a keyword."""
        lines = self.words.get(keyword)
        if not lines or not lines[-1]:
            if default is None:
                raise N2p2Error(f"{self.path} lacks the keyword {keyword}.")
            return default
        return lines[-1][0]

    def number(self, keyword: str, default: float | None = None) -> float:
        return _number(self.value(keyword, None if default is None else repr(default)), f"{self.path}: {keyword}")


def read_input(path: Path) -> InputFile:
    """The keywords of input.nn.

    Raises
    ------
    N2p2Error : no such file, no elements in it, or an element that does not exist.
    """
    words: dict[str, list[list[str]]] = {}
    for line in _text(path).splitlines():
        parts = line.split("#")[0].split()
        if parts:
            words.setdefault(parts[0], []).append(parts[1:])
    if "elements" not in words:
        raise N2p2Error(f"{path} lacks the keyword elements: it is no input.nn of n2p2.")
    symbols = words["elements"][-1]
    unknown = [s for s in symbols if s not in atomic_numbers]
    if unknown or not symbols:
        raise N2p2Error(f"{path}: elements names {', '.join(unknown) or 'nothing'}, which is no element.")
    return InputFile(path, tuple(sorted(atomic_numbers[s] for s in symbols)), words)


def read_functions(source: InputFile, length: float) -> dict[int, list[SymmetryFunction]]:
    """The symmetry functions of each element, in the order of scaling.data and weights.

    Parameters
    ----------
    length : Å in one unit of length of the file.
    """
    kind = int(source.number("cutoff_type", 1.0))
    values = source.words.get("cutoff_type", [["1"]])[-1]
    inner = _number(values[1], f"{source.path}: cutoff_type") if len(values) > 1 else 0.0
    if not 0 <= kind < len(CUTOFFS):
        raise N2p2Error(f"{source.path}: cutoff_type {kind} is unknown; known: 0 to {len(CUTOFFS) - 1}.")
    name = CUTOFFS[kind]
    found: dict[int, list[SymmetryFunction]] = {z: [] for z in source.elements}
    for line in source.words.get("symfunction_short", []):
        where = f"{source.path}: symfunction_short {' '.join(line)}"
        function = _function(line, where, length, name, 0.0 if name.startswith("tanh3") else inner)
        assert function.centre is not None
        if function.centre not in found:
            raise N2p2Error(f"{where}: the central element is not among elements.")
        found[function.centre].append(function)
    return {z: sorted(functions, key=sort_key) for z, functions in found.items()}


def sort_key(f: SymmetryFunction) -> tuple[float, ...]:
    """What n2p2 sorts the functions of an element by."""
    kind = next((number for number, name in KINDS.items() if name == f.kind), 2)
    angle = (f.zeta, f.lam) if kind in (3, 9, 13) else ()
    return (kind, f.cutoff, f.eta, f.rs, *angle, *sorted(z for z in (f.neighbour, f.second) if z is not None))


def _function(line: list[str], where: str, length: float, cutoff_fn: str, inner: float) -> SymmetryFunction:
    try:
        centre, kind = atomic_numbers[line[0]], int(line[1])
    except (KeyError, ValueError, IndexError):
        raise N2p2Error(f"{where}: expected an element and a type.") from None
    if kind not in KINDS:
        raise N2p2Error(f"{where}: type {kind} is not read; those that are: {', '.join(f'{k} ({v})' for k, v in KINDS.items())}.")
    n_neighbours = {2: 1, 3: 2, 9: 2}.get(kind, 0)
    symbols, rest = line[2 : 2 + n_neighbours], line[2 + n_neighbours :]
    if any(s not in atomic_numbers for s in symbols) or len(rest) < NUMBERS[kind]:
        raise N2p2Error(f"{where}: expected {n_neighbours} neighbour elements and {NUMBERS[kind]} numbers.")
    x = [_number(word, where) for word in rest]
    lam = zeta = 1.0
    if kind in (2, 12):
        eta, rs, r_c = x[:3]
    elif kind == 13:
        eta, rs, lam, zeta, r_c = x[:5]
    else:
        eta, lam, zeta, r_c = x[:4]
        rs = x[4] if len(x) > 4 else 0.0
    neighbours = sorted(atomic_numbers[s] for s in symbols)
    a, b = (*neighbours, None, None)[:2]
    try:
        return SymmetryFunction(
            KINDS[kind], r_c * length, a, b, eta / length**2, rs * length, zeta, lam, cutoff_fn=cutoff_fn, inner=inner, centre=centre  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise N2p2Error(f"{where}: {error}") from None


@dataclass(frozen=True)
class ScalingFile:
    """Statistics of the functions of each element, (n, 4) each: minimum, maximum, mean, deviation."""

    statistics: dict[int, np.ndarray]  # by atomic number
    energy: tuple[float, ...] = ()  # the data set's, where scaling.data has a line of it


def read_scaling(path: Path, elements: tuple[int, ...]) -> ScalingFile:
    rows: dict[int, list[list[float]]] = {z: [] for z in elements}
    for line in _text(path).splitlines():
        parts = line.split("#")[0].split()
        if len(parts) < 5:
            continue  # minimum and maximum energy stand in two numbers on the last line of RuNNer's
        place, number = int(_number(parts[0], str(path))), int(_number(parts[1], str(path)))
        if not 1 <= place <= len(elements) or number != len(rows[elements[place - 1]]) + 1:
            raise N2p2Error(f"{path}: the line '{line.strip()}' does not follow the one before it.")
        values = [_number(word, str(path)) for word in parts[2:]]
        rows[elements[place - 1]].append([*values[:3], values[3] if len(values) > 3 else 0.0])
    return ScalingFile({z: np.array(r, dtype=float).reshape(-1, 4) for z, r in rows.items()})


def read_weights(path: Path, widths: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (n_out, n_in) and biases (n_out,) of each layer.

    Parameters
    ----------
    widths : of the layers, inputs and output included.

    Raises
    ------
    N2p2Error : not as many numbers as such a network has, or not in n2p2's order.
    """
    values = []
    for line in _text(path).splitlines():
        parts = line.split("#")[0].split()
        if parts:
            values.append((_number(parts[0], str(path)), parts[1] if len(parts) > 1 else ""))
    wanted = sum((a + 1) * b for a, b in zip(widths, widths[1:]))
    if len(values) != wanted:
        raise N2p2Error(f"{path} holds {len(values)} numbers; a network of {'-'.join(map(str, widths))} has {wanted}.")
    numbers, kinds = np.array([v for v, _ in values]), [k for _, k in values]
    weights, biases, at = [], [], 0
    for a, b in zip(widths, widths[1:]):
        if set(kinds[at : at + a * b]) - {"a", ""} or set(kinds[at + a * b : at + (a + 1) * b]) - {"b", ""}:
            raise N2p2Error(f"{path}: weights and biases do not stand in n2p2's order near line {at + 1}.")
        weights.append(numbers[at : at + a * b].reshape(a, b).T)
        biases.append(numbers[at + a * b : at + (a + 1) * b])
        at += (a + 1) * b
    return weights, biases


def _text(path: Path) -> str:
    if not path.is_file():
        raise N2p2Error(f"There is no file {path}; an n2p2 potential is a folder with input.nn, scaling.data and weights.ZZZ.data for each element.")
    if path.stat().st_size > MAX_BYTES:
        raise N2p2Error(f"{path} has {path.stat().st_size / 1e6:.0f} MB; such files have a few at most.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise N2p2Error(f"{path} is not a text file.") from None


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise N2p2Error(f"{where}: '{word}' is not a number.") from None
    if not np.isfinite(value):
        raise N2p2Error(f"{where}: '{word}' is not a finite number.")
    return value
