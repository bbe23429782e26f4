"""Scatter: the pieces of a cluster are thrown anew into a sphere, each turned at random; nothing of the place before is kept.

Gives searches of clusters their random starts, and restarts where a walk is caught. A molecule that is one piece has nothing to scatter.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase.data import covalent_radii, vdw_radii

from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves
from mdapp.minima.moves._base import Acceptance, Escape, Fate, Here, require_positive
from mdapp.topology import molecules

TRIES = 200


@moves.register("scatter")
@dataclass(frozen=True)
class Scatter:
    """Its strength is how much room each piece has, in the volume that it fills by itself."""

    acceptance: ClassVar[Acceptance] = "threshold"
    room: float = 2.5  # volume of the sphere over the summed volumes of the pieces

    def __post_init__(self) -> None:
        require_positive(room=self.room)

    def fits(self, molecule: Molecule) -> str | None:
        if molecule.pbc.any():
            return "it is periodic"
        n_pieces = len(set(molecules(len(molecule), molecule.bonds).tolist()))
        return None if n_pieces > 1 else "it is one piece"

    def begin(self) -> float:
        return self.room

    def escape(self, here: Here, strength: float, rng: np.random.Generator) -> Escape:
        return scattered(here.molecule, here.positions, strength, rng)
        yield  # a generator, though it needs no forces

    def after(self, strength: float, fate: Fate, accepted: bool) -> float:
        return strength


def scattered(molecule: Molecule, positions: np.ndarray, room: float, rng: np.random.Generator) -> np.ndarray:
    """Pieces at random places in a sphere and at random orientations, no two closer than 0.75 of their radii allow where there is room for that."""
    labels = molecules(len(molecule), molecule.bonds)
    radii = np.where(np.isfinite(vdw_radii[molecule.numbers]), vdw_radii[molecule.numbers], 1.5 * covalent_radii[molecule.numbers])
    pieces = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    sizes = [float(np.linalg.norm(positions[p] - positions[p].mean(axis=0), axis=1).max() + radii[p].max()) for p in pieces]
    radius = (room * sum(s**3 for s in sizes)) ** (1 / 3)
    result = np.array(positions)
    placed: list[int] = []
    for p in pieces:
        shape = (positions[p] - positions[p].mean(axis=0)) @ _random_rotation(rng).T
        best, best_gap = shape, -np.inf
        for _ in range(TRIES):
            direction = rng.standard_normal(3)
            there = shape + direction / np.linalg.norm(direction) * radius * rng.random() ** (1 / 3)
            if not placed:
                best = there
                break
            d = np.linalg.norm(there[:, None] - result[placed][None], axis=2) / (radii[p][:, None] + radii[placed][None])
            if d.min() > best_gap:
                best, best_gap = there, float(d.min())
            if best_gap > 0.75:
                break
        result[p] = best
        placed += p.tolist()
    return result


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3), uniform over rotations (K. Shoemake, Graphics Gems III, 1992)."""
    q = rng.standard_normal(4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])
