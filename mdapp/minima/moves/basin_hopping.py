"""Basin hopping: every atom is displaced at random, and the walk over minima is a Metropolis walk.

The largest displacement follows the share of hops that are taken, as in the program GMIN: up where most are, down where few are. Where the structure
falls into pieces or has loose atoms, some hops throw the atom with the fewest neighbours to another place on the surface.

D. J. Wales and J. P. K. Doye, J. Phys. Chem. A 101, 5111 (1997).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves
from mdapp.minima.moves._base import Acceptance, Escape, Fate, Here, require_positive, within


@moves.register("basin-hopping")
@dataclass(frozen=True)
class BasinHopping:
    """Its strength is the largest displacement along each axis, Å."""

    acceptance: ClassVar[Acceptance] = "metropolis"
    step_A: float = 0.4  # at first
    smallest_A: float = 0.05
    largest_A: float = 3.0
    temperature_K: float = 1000.0  # of the Metropolis walk
    taken: float = 0.5  # share of hops that lead somewhere else and are taken, aimed at
    surface: float = 0.0  # share of hops that move one loose atom over the surface (clusters without bonds)
    factor: float = 1.03  # of the step after each hop

    def __post_init__(self) -> None:
        require_positive(step_A=self.step_A, smallest_A=self.smallest_A, largest_A=self.largest_A, temperature_K=self.temperature_K)
        for name in ("taken", "surface"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name):g}.")
        if not self.factor >= 1:
            raise ValueError(f"factor must be >= 1, got {self.factor:g}.")

    def fits(self, molecule: Molecule) -> str | None:
        return None if len(molecule) > 1 else "a single atom has one minimum"

    def begin(self) -> float:
        return self.step_A

    def escape(self, here: Here, strength: float, rng: np.random.Generator) -> Escape:
        if not len(here.molecule.bonds) and self.surface > 0 and rng.random() < self.surface:
            return over_the_surface(here.positions, rng)
        return here.positions + rng.uniform(-strength, strength, here.positions.shape)
        yield  # a generator, though it needs no forces

    def after(self, strength: float, fate: Fate, accepted: bool) -> float:
        if fate in ("unconverged", "nowhere"):
            return strength
        moved = accepted or fate == "same"  # back at once: the step is too short
        up = self.factor ** (1.0 - self.taken)
        down = self.factor**self.taken
        return within(strength * up if moved else strength / down, self.smallest_A, self.largest_A)


def over_the_surface(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The atom with the fewest near neighbours at a random place on the sphere around the others."""
    from scipy.spatial.distance import pdist, squareform

    distances = squareform(pdist(positions))
    np.fill_diagonal(distances, np.inf)
    near = 1.3 * np.median(distances.min(axis=1))
    neighbours = (distances < near).sum(axis=1)
    loose = int(rng.choice(np.flatnonzero(neighbours == neighbours.min())))
    others = np.delete(positions, loose, axis=0)
    centre = others.mean(axis=0)
    direction = rng.standard_normal(3)
    result = np.array(positions)
    result[loose] = centre + direction / np.linalg.norm(direction) * np.linalg.norm(others - centre, axis=1).max()
    return result
