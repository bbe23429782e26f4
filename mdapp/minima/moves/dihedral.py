"""Dihedral moves: some rotatable bonds of a chain are turned, the rest of the geometry stays.

Costs no evaluation: angles are drawn until no two atoms are on top of each other. Amide, double and ring bonds stay unless asked otherwise.
How many bonds turn at once follows what was found, from about `bonds` upwards.

Z. Li and H. A. Scheraga, Proc. Natl. Acad. Sci. USA 84, 6611 (1987): turning dihedrals and relaxing, in peptides.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from ase.data import covalent_radii

from mdapp.minima.dihedrals import Rotor, rotors, turned
from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves
from mdapp.minima.moves._base import Acceptance, Escape, Fate, Here, require_positive, within
from mdapp.monitors._graph import neighbours_of

TRIES = 60


@moves.register("dihedral")
@dataclass(frozen=True)
class Dihedral:
    """Its strength is the mean number of bonds that are turned at once."""

    acceptance: ClassVar[Acceptance] = "threshold"
    guess: ClassVar[float] = 40.0  # evaluations that a new minimum costs, at first sight (Ac-Ala3-NHMe)
    bonds: float = 1.5  # turned at once, on average, at first
    most_bonds: float = 6.0
    smallest_deg: float = 30.0  # of a turn; smaller ones fall back
    amides: bool = False  # turn amide bonds by 180° too
    closest: float = 1.6  # atoms more than three bonds apart come no closer than this, times the sum of covalent radii
    raise_same: float = 1.1
    raise_known: float = 1.05
    lower_new: float = 0.97

    def __post_init__(self) -> None:
        require_positive(bonds=self.bonds, closest=self.closest)
        if not 1 <= self.bonds <= self.most_bonds:
            raise ValueError(f"bonds must be between 1 and most_bonds, got {self.bonds:g} and {self.most_bonds:g}.")
        if not 0 <= self.smallest_deg < 180:
            raise ValueError(f"smallest_deg must be between 0 and 180, got {self.smallest_deg:g}.")

    def fits(self, molecule: Molecule) -> str | None:
        return None if _chain(molecule, self.amides).rotors else "it has no bond that can be turned"

    def begin(self) -> float:
        return self.bonds

    def escape(self, here: Here, strength: float, rng: np.random.Generator) -> Escape:
        chain = _chain(here.molecule, self.amides)
        for _ in range(TRIES):
            count = min(1 + int(rng.poisson(strength - 1.0)), len(chain.rotors))
            positions = here.positions
            for k in rng.choice(len(chain.rotors), size=count, replace=False).tolist():
                positions = turned(positions, chain.rotors[k], self._angle(chain.rotors[k], rng))
            if not chain.clashes(positions, self.closest):
                return positions
        return None
        yield  # a generator, though it needs no forces

    def _angle(self, rotor: Rotor, rng: np.random.Generator) -> float:
        if rotor.kind != "single":
            return np.pi  # cis and trans are the only places
        smallest = np.radians(self.smallest_deg)
        return float(rng.uniform(smallest, 2.0 * np.pi - smallest))

    def after(self, strength: float, fate: Fate, accepted: bool) -> float:
        factor = {"same": self.raise_same, "known": self.raise_known, "new": self.lower_new, "broken": self.lower_new, "unconverged": 1.0, "nowhere": 1 / self.raise_same}
        return within(strength * factor[fate], 1.0, self.most_bonds)


class _Chain:
    """Rotors of a molecule, and which of its pairs of atoms must keep away from each other."""

    def __init__(self, molecule: Molecule, amides: bool):
        self.rotors = rotors(molecule, amides=amides)
        n = len(molecule)
        neighbours = neighbours_of(n, molecule.bonds)
        near = np.eye(n, dtype=bool)
        for _ in range(3):  # bonds, angles, dihedrals
            near |= np.array([near[partners].any(axis=0) if partners else np.zeros(n, bool) for partners in neighbours]) if n else near
        i, j = np.triu_indices(n, 1)
        far = ~near[i, j]
        self.i, self.j = i[far], j[far]
        radii = covalent_radii[molecule.numbers]
        hydrogen = molecule.numbers == 1
        bridge = hydrogen[self.i] ^ hydrogen[self.j]  # hydrogen bonds may be short
        self.reach = (radii[self.i] + radii[self.j]) * np.where(bridge, 0.9, 1.0)

    def clashes(self, positions: np.ndarray, closest: float) -> bool:
        d = positions[self.i] - positions[self.j]
        return bool((np.einsum("ij,ij->i", d, d) < (closest * self.reach) ** 2).any())


def _chain(molecule: Molecule, amides: bool) -> _Chain:
    return _cached(_Key(molecule), amides)


@dataclass(frozen=True, eq=False)
class _Key:
    """A molecule by identity, as a key of the cache."""

    molecule: Molecule

    def __hash__(self) -> int:
        return id(self.molecule)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.molecule is self.molecule


@lru_cache(maxsize=8)
def _cached(key: _Key, amides: bool) -> _Chain:
    return _Chain(key.molecule, amides)
