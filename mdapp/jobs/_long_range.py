"""The cutoff of electrostatics and dispersion: which one is used, said aloud, and refused where it cannot be."""
from __future__ import annotations

import math

import numpy as np
from ase import Atoms

from mdapp.errors import UserError
from mdapp.jobs._potential import LoadedPotential

SHORT = 10.0  # Å; below it a cell's electrostatics are cut too early to be trusted


def settle_long_range(atoms: Atoms, asked: float | str | None, potential: LoadedPotential, electrostatics: str | None = None) -> list[str]:
    """What the user should be warned of.

    Parameters
    ----------
    asked : of the command line: Å, "none" for all pairs, None for the potential's own choice.

    Raises
    ------
    UserError : all pairs of a periodic structure, Ewald summation without a cell.
    """
    if electrostatics == "ewald" and not atoms.pbc.all():
        raise UserError("electrostatics = ewald needs a structure that is periodic along all three vectors. Leave it out, or give the structure a cell.")
    if not atoms.pbc.any():
        return []
    if asked == "none":
        raise UserError("long_range_cutoff = none asks for all pairs, of which a periodic structure has infinitely many: give a length (12 Å is usual).")
    R = far_cutoff_of(atoms, potential)
    if R is None or R >= SHORT:
        return []
    return [f"A long-range cutoff of {R:g} Å is short for a periodic structure: electrostatics are cut off early. Take at least {SHORT:g} Å; 12 Å is usual."]


def far_cutoff_of(atoms: Atoms, potential: LoadedPotential) -> float | None:
    """The cutoff that this structure gets, Å: infinite for all pairs, None where the potential has no long-range terms."""
    own = getattr(potential.calculator, "potential", None)
    return None if own is None or not getattr(own, "has_long_range", False) else own.far_cutoff(bool(np.any(atoms.pbc)))


def long_range_words(atoms: Atoms, asked: float | str | None, potential: LoadedPotential, electrostatics: str | None = None) -> str:
    """'cutoff 12 Å (the usual one in a cell)', 'all pairs'; '' where the potential has no long-range terms."""
    R = far_cutoff_of(atoms, potential)
    if R is None:
        return ""
    if electrostatics == "ewald":
        return f"electrostatics over all images (Ewald), dispersion to {R:g} Å"
    if math.isinf(R):
        return "all pairs" + ("" if asked else " (an isolated molecule)")
    return f"cutoff {R:g} Å" + ("" if asked else " (the usual one in a cell)")
