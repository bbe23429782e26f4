"""Methyls and their like on a path: ends that turn by themselves, and whose turning leads to no other minimum.

Where a path between two backbones turns a methyl as well, its top is raised by that turn, and the search for a saddle from there climbs the methyl's own. So the
ends are first let down while all other atoms stand still, and the climb goes along what the other atoms do.
"""
from __future__ import annotations

import numpy as np
from ase.constraints import FixAtoms
from ase.optimize import FIRE

from mdapp.minima.identity import Identity
from mdapp.minima.landscape.surface import Surface
from mdapp.monitors._graph import neighbours_of

FMAX, STEPS, MAX_STEP = 0.05, 60, 0.1  # eV/Å, of a way down that need not be long; Å
LEAST_LEFT = 0.3  # of a direction without the ends, below which the path is their turning and nothing else


def turning_ends(identity: Identity) -> np.ndarray:
    """(n,) the atoms of all groups of two or more equivalent ends on a centre with one partner more: CH3, NH3+, CF3, NH2."""
    near = neighbours_of(len(identity.numbers), identity.bonds)
    found: list[int] = []
    for around in near:
        ends = [k for k in around if len(near[k]) == 1]
        if len(ends) >= 2 and len(around) == len(ends) + 1 and len({identity.symmetry.labels[k] for k in ends}) == 1:
            found += ends
    return np.array(sorted(found), dtype=np.int64)


def without_turning(surface: Surface, positions: np.ndarray, direction: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions (n_atoms, 3), Å, with the ends let down, and the direction that is left without them; None where hardly any is.

    Raises
    ------
    FloatingPointError : a force is not finite.
    """
    left = direction.copy()
    left[ends] = 0.0
    if not len(ends) or np.linalg.norm(left) < LEAST_LEFT * np.linalg.norm(direction):
        return None
    atoms = surface.at(positions)
    atoms.set_constraint(FixAtoms(np.setdiff1d(np.arange(len(positions)), ends)))
    FIRE(atoms, logfile=None, maxstep=MAX_STEP).run(fmax=FMAX, steps=STEPS)
    if not np.all(np.isfinite(atoms.positions)):
        raise FloatingPointError("a force is not finite")
    return atoms.positions.copy(), left
