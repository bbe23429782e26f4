"""Bonds that can be turned, and turning about them.

A bond is a rotor when nothing but an angle changes by turning: it closes no ring, its ends have other partners, it is no amide bond and no double bond, and
it is no methyl (three equal ends: turning by 120° changes nothing). Bond orders are not known; a bond between two atoms of trigonal (or lower)
coordination that is clearly shorter than a single bond counts as double.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii

from mdapp.minima.molecule import Molecule
from mdapp.monitors._graph import classes_of, neighbours_of

SHORT = 0.92  # of the sum of covalent radii: a bond of order 1.5 and more


@dataclass(frozen=True)
class Rotor:
    """A bond that can be turned."""

    axis: tuple[int, int]  # from the side that stays to the side that turns
    turning: np.ndarray  # (n,) atoms on the far side, the second of the axis left out
    kind: str = "single"  # or amide, double


def rotors(molecule: Molecule, *, amides: bool = False, doubles: bool = False, methyls: bool = False) -> list[Rotor]:
    """The bonds of a molecule that can be turned; the smaller side turns.

    Parameters
    ----------
    amides, doubles, methyls : also those kinds, which are left out otherwise. Ring bonds never are among them.
    """
    n = len(molecule)
    neighbours = neighbours_of(n, molecule.bonds)
    labels = classes_of(molecule.numbers, neighbours)
    found = []
    for i, j in molecule.bonds.tolist():
        if len(neighbours[i]) < 2 or len(neighbours[j]) < 2:
            continue
        beyond = _beyond(neighbours, i, j)
        if i in beyond:  # a ring
            continue
        kind = _kind(molecule, neighbours, i, j)
        if (kind == "amide" and not amides) or (kind == "double" and not doubles):
            continue
        if not methyls and (_is_top(neighbours, labels, i, j) or _is_top(neighbours, labels, j, i)):
            continue
        home = _piece(neighbours, i)
        if 2 * len(beyond) <= len(home):
            found.append(Rotor((i, j), np.array(sorted(beyond - {j}), dtype=np.int64), kind))
        else:
            found.append(Rotor((j, i), np.array(sorted(home - beyond - {i}), dtype=np.int64), kind))
    return found


def double_bonds(molecule: Molecule) -> np.ndarray:
    """(n, 4): a double bond outside rings whose two sides could be exchanged, with one partner of each end: its cis-trans dihedral."""
    neighbours = neighbours_of(len(molecule), molecule.bonds)
    rows = []
    for i, j in molecule.bonds.tolist():
        if _kind(molecule, neighbours, i, j) != "double" or len(neighbours[i]) < 2 or len(neighbours[j]) < 2 or i in _beyond(neighbours, i, j):
            continue
        rows.append((next(k for k in neighbours[i] if k != j), i, j, next(k for k in neighbours[j] if k != i)))
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def turned(positions: np.ndarray, rotor: Rotor, angle_rad: float) -> np.ndarray:
    """Positions with one side of a rotor turned by an angle, right-handed about its axis; bond lengths and angles stay."""
    a, b = positions[rotor.axis[0]], positions[rotor.axis[1]]
    u = (b - a) / np.linalg.norm(b - a)
    r = positions[rotor.turning] - b
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    result = np.array(positions)
    result[rotor.turning] = b + c * r + s * np.cross(u, r) + (1 - c) * (r @ u)[:, None] * u  # Rodrigues
    return result


def _kind(molecule: Molecule, neighbours: Sequence[Sequence[int]], i: int, j: int) -> str:
    z = molecule.numbers
    for c, n in ((i, j), (j, i)):
        if z[c] == 6 and z[n] == 7 and len(neighbours[c]) == 3 and len(neighbours[n]) == 3:
            if any(z[o] in (8, 16) and len(neighbours[o]) == 1 for o in neighbours[c]):
                return "amide"
    trigonal = all(len(neighbours[k]) <= (3 if z[k] == 6 else 2) or (z[k] == 7 and len(neighbours[k]) == 3) for k in (i, j))
    length = float(np.linalg.norm(molecule.reference[j] - molecule.reference[i]))
    if trigonal and z[i] in (6, 7) and z[j] in (6, 7) and length < SHORT * (covalent_radii[z[i]] + covalent_radii[z[j]]):
        return "double"
    return "single"


def _is_top(neighbours: Sequence[Sequence[int]], labels: np.ndarray, i: int, j: int) -> bool:
    """Are the ends of j beyond i three equal single atoms?"""
    ends = [k for k in neighbours[j] if k != i]
    return len(ends) == 3 and all(len(neighbours[k]) == 1 for k in ends) and len({int(labels[k]) for k in ends}) == 1


def _beyond(neighbours: Sequence[Sequence[int]], i: int, j: int) -> set[int]:
    """Atoms that hang on i by its bond to j; i itself is among them where the bond closes a ring."""
    seen, waiting = {j}, [k for k in neighbours[j] if k != i]
    while waiting:
        k = waiting.pop()
        if k not in seen:
            seen.add(k)
            if k != i:
                waiting += [p for p in neighbours[k] if p not in seen]
    return seen


def _piece(neighbours: Sequence[Sequence[int]], i: int) -> set[int]:
    """The atoms of i's molecule."""
    seen, waiting = {i}, list(neighbours[i])
    while waiting:
        k = waiting.pop()
        if k not in seen:
            seen.add(k)
            waiting += [p for p in neighbours[k] if p not in seen]
    return seen
