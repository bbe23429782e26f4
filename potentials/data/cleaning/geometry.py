"""What a geometry looks like to one who does not know where it lies: contacts, bonds, and two fingerprints.

The first fingerprint is a set of distances between fixed pairs of atoms in the file's order: blind to where the molecule is
and how it is turned, and as sharp as a superposition. The second sums smooth functions of all distances: blind to the order
of atoms too. Neither sees the hand of a molecule: a mirror image passes for a copy, and has the same energy.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.data import covalent_radii

from potentials.data.labelled import LabelledStructure
from potentials.neighbours import all_pairs, pairs
from potentials.neighbours.search import complete_cell

REACH = 6.0  # Å; pairs of a periodic or large structure are looked at up to here
ALL_PAIRS_UP_TO = 150  # atoms of an isolated structure of which all pairs are looked at
N_DISTANCES = 32  # of the first fingerprint; the metric of the cell adds six
N_SUMS = 6  # of the second
CELL = 4.0  # weight of the cell's lengths in the first fingerprint: a strain of 1 % is another state
BONDED = 1.25  # times the sum of covalent radii
_MIX = np.random.default_rng(20).integers(1, 2**62, 512, dtype=np.uint64)  # hash values of elements and of bonds


@dataclass(frozen=True)
class Geometry:
    """One frame's geometry in a few numbers."""

    shortest: float  # smallest d / (r_i + r_j) with covalent radii; NaN for a lone atom
    shortest_A: float  # that distance, Å
    nearest: float  # median over atoms of the distance to the nearest atom over the sum of radii
    bonds: int  # hash of the bond graph; 0 for periodic structures
    distances: np.ndarray  # (N_DISTANCES + 6,) float32, Å (those of the cell times CELL)
    sums: np.ndarray  # (N_SUMS,) float64


def measure(s: LabelledStructure) -> Geometry:
    """Contacts and fingerprints of a structure with finite positions."""
    n, periodic = len(s.numbers), bool(s.pbc.any())
    if not periodic and n <= ALL_PAIRS_UP_TO:
        i, j = _upper(n)
        r_ij = s.positions[j] - s.positions[i]
    else:
        i, j, shifts = pairs(s.positions, s.cell, s.pbc, REACH)
        r_ij = s.positions[j] - s.positions[i] + shifts @ s.cell
    d = np.sqrt(np.einsum("ij,ij->i", r_ij, r_ij))  # (n_pairs,)
    distances = ordered_distances(s)
    if not len(d):
        return Geometry(np.nan, np.nan, np.nan, int(_MIX[s.numbers].sum() >> np.uint64(2)), distances, np.zeros(N_SUMS))
    radii = covalent_radii[s.numbers]
    ratio = d / (radii[i] + radii[j])
    closest = int(np.argmin(ratio))
    nearest = np.full(n, np.inf)
    np.minimum.at(nearest, i, ratio)
    np.minimum.at(nearest, j, ratio)
    nearest = nearest[np.isfinite(nearest)]
    bonds = 0 if periodic else bond_hash(s.numbers, i, j, ratio < BONDED)
    return Geometry(float(ratio[closest]), float(d[closest]), float(np.median(nearest)), bonds, distances, _sums(s.numbers, i, j, d, n, periodic or n > ALL_PAIRS_UP_TO))


def bond_hash(numbers: np.ndarray, i: np.ndarray, j: np.ndarray, bonded: np.ndarray) -> int:
    """A number that equal bond graphs share, whatever the order of their atoms: two rounds of telling one's neighbours who one is."""
    i, j = i[bonded], j[bonded]
    h = _MIX[numbers]
    for k in (300, 301, 302):
        told = np.zeros(len(numbers), dtype=np.uint64)
        np.add.at(told, i, h[j])
        np.add.at(told, j, h[i])
        h = (h ^ (told * _MIX[k])) * _MIX[k + 10]  # wraps around, as a hash may
        h ^= h >> np.uint64(29)
    return int(h.sum() >> np.uint64(2))


def ordered_distances(s: LabelledStructure) -> np.ndarray:
    """(N_DISTANCES + 6,) distances of fixed pairs of atoms, nearest images in a cell, then lengths of cell vectors and of their sums."""
    i, j = _fixed_pairs(len(s.numbers))
    r_ij = s.positions[j] - s.positions[i]
    found = np.zeros(N_DISTANCES + 6, dtype=np.float32)
    if s.pbc.any():
        r_ij = nearest_image(r_ij, s.cell, s.pbc)
        a, b, c = np.where(s.pbc[:, None], s.cell, 0.0)
        found[N_DISTANCES:] = [CELL * np.linalg.norm(v) for v in (a, b, c, a + b, a + c, b + c)]
    found[: len(i)] = np.sqrt(np.einsum("ij,ij->i", r_ij, r_ij))
    return found


def nearest_image(r_ij: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """(n, 3) vectors brought into the cell around the origin: the nearest images in all but skewed cells, and the same for any image that comes in."""
    fractional = r_ij @ np.linalg.inv(complete_cell(cell, pbc))
    return r_ij - np.where(pbc, np.round(fractional), 0.0) @ cell


@lru_cache(maxsize=4096)
def _fixed_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """At most N_DISTANCES pairs of n atoms: all of them where there are few, else as many atoms as can be, each with a partner drawn by a seed."""
    i, j = np.triu_indices(n, 1)
    if len(i) <= N_DISTANCES:
        return i, j
    rng = np.random.default_rng(n)
    first = rng.permutation(np.resize(rng.permutation(n), N_DISTANCES))
    second = (first + rng.integers(1, n, N_DISTANCES)) % n
    return first, second


@lru_cache(maxsize=256)
def _upper(n: int) -> tuple[np.ndarray, np.ndarray]:
    i, j, _ = all_pairs(n)
    return i, j


def _sums(numbers: np.ndarray, i: np.ndarray, j: np.ndarray, d: np.ndarray, n: int, cut: bool) -> np.ndarray:
    """Sums over pairs of smooth functions of their distance, per atom, and of squares and cubes of what each atom sees, which
    tells arrangements with the same pairs apart; they fade out at REACH where pairs end there."""
    Z = numbers.astype(np.float64)
    product, mean = Z[i] * Z[j], Z[i] + Z[j]
    fade = np.where(d < REACH, (1 - (d / REACH) ** 2) ** 2, 0.0) if cut else 1.0
    slow, fast = np.exp(-d / 3.0) * fade, np.exp(-d) * fade
    seen = np.bincount(i, Z[j] * fast, n) + np.bincount(j, Z[i] * fast, n)  # (n_atoms,)
    return np.array([slow.sum(), (slow * product).sum(), (fast * mean).sum(), (np.sqrt(product) * fast * d).sum(), (Z * seen**2).sum(), (seen**3).sum()]) / n
