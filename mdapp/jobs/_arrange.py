"""What a run changes of its atoms before they move: masses of hydrogens, atoms held in place, bonds held at their lengths."""
from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from mdapp.config import RunConfig
from mdapp.dynamics._constraints import FixedBonds
from mdapp.dynamics._masses import repartitioned
from mdapp.errors import StructureError, UserError
from mdapp.frame import named
from mdapp.selection import select_atoms

TIED = 4.0  # a hydrogen whose bond is held swings half as fast: its bends are left, as if it were four times as heavy


def arrange(atoms: Atoms, config: RunConfig, bonds: np.ndarray) -> list[tuple[str, str]]:
    """Set masses and fixed atoms, in place; return what was done, as rows for the header.

    Raises
    ------
    UserError : an option that makes no sense for this structure.
    """
    rows = []
    try:
        if config.heavy_hydrogens is not None:
            before = atoms.get_masses()
            atoms.set_masses(repartitioned(atoms.numbers, before, bonds, config.heavy_hydrogens))
            n = int(np.sum(atoms.get_masses() > before))
            rows.append(("masses", f"{n} hydrogens at {config.heavy_hydrogens:g} amu, taken from their heavy atoms; {before.sum():.3f} amu in all, as before"))
        if config.freeze:
            frozen = select_atoms(config.freeze, atoms.numbers, "freeze")
            if len(frozen) == len(atoms):
                raise ValueError(f"freeze holds all {len(atoms)} atoms: nothing is left to move.")
            atoms.set_constraint(FixAtoms(frozen))
            rows.append(("frozen", f"{len(frozen)} of {len(atoms)} atoms: {named(atoms.numbers, frozen, 5)}"))
        if config.constrain_hydrogens:
            tied = hydrogen_bonds(atoms, bonds)
            rows.append(("tied", f"{len(tied)} bonds of hydrogens held at the lengths of the start; no pressure is reported"))
    except ValueError as error:
        raise UserError(f"{config.structure}: {error}") from None
    return rows


def hydrogen_bonds(atoms: Atoms, bonds: np.ndarray) -> np.ndarray:
    """The bonds of hydrogens of which an end can move, (n, 2).

    Raises
    ------
    ValueError : there is none.
    """
    fixed = np.concatenate([c.index for c in atoms.constraints] or [np.zeros(0, int)])
    found = bonds[(atoms.numbers[bonds] == 1).any(axis=1) & ~np.isin(bonds, fixed).all(axis=1)]
    if not len(found):
        raise ValueError("constrain_hydrogens is given, but no hydrogen that can move has a bond. Leave it out.")
    return found


def tie(atoms: Atoms, config: RunConfig, bonds: np.ndarray, relaxed: np.ndarray) -> None:
    """Hold the bonds of hydrogens at their present lengths.

    Parameters
    ----------
    bonds, relaxed : those of the structure as it was read, and after a strained start was relaxed.

    Raises
    ------
    StructureError : the relaxation has changed the bonds of a hydrogen.
    """
    if not config.constrain_hydrogens:
        return
    tied = hydrogen_bonds(atoms, bonds)
    lost = sorted({tuple(b) for b in tied.tolist()} - {tuple(b) for b in relaxed.tolist()})
    if lost:
        raise StructureError(f"{config.structure}: the relaxation of the strained start has broken the bond between {named(atoms.numbers, lost[0])}, which "
                             "constrain_hydrogens should hold. Relax the structure with `mdapp relax` and look at it first.")
    atoms.set_constraint([*atoms.constraints, FixedBonds(atoms, tied)])


def swinging_masses(atoms: Atoms, config: RunConfig, bonds: np.ndarray) -> np.ndarray:
    """The masses (n_atoms,) in amu that tell how long a step may be: hydrogens with held bonds count as heavier, atoms at rest as very heavy."""
    masses = atoms.get_masses()
    if config.constrain_hydrogens:
        tied = hydrogen_bonds(atoms, bonds)
        masses[tied[atoms.numbers[tied] == 1]] *= TIED
    for constraint in atoms.constraints:
        masses[constraint.index] = np.inf
    return masses
