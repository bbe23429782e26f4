"""Periodic cells: which of them are no cell at all, and which cannot be used.

Two kinds of box are no box. NMR entries of the PDB carry the placeholder `CRYST1 1.000 1.000 1.000`, and conversion tools write
999.9 Å boxes around free molecules; a neighbour list takes both at their word and asks for all memory. A PDB box that is
nearly empty (a peptide cut out of its water, one asymmetric unit in a crystal's cell) describes another system than the atoms beside it.
"""
from __future__ import annotations

import numpy as np
from ase import Atoms

LARGEST_BOX = 500.0  # Å; boxes with every side beyond this stand for "no box"
EMPTY_PDB_BOX = 60.0  # Å³ per atom; water with its hydrogens has 10, a protein crystal without them about 30
SMALLEST_HEIGHT = 1e-3  # Å, between opposite walls


def cell_problem(cell: np.ndarray, pbc: np.ndarray) -> str | None:
    """Why a cell cannot be used with these periodic directions; None where it can.

    Parameters
    ----------
    cell : (3, 3) rows, Å.
    pbc : (3,) bool.
    """
    cell, pbc = np.asarray(cell, dtype=float), np.asarray(pbc, dtype=bool)
    if not np.isfinite(cell).all():
        return "its cell holds numbers that are not finite"
    if not pbc.any():
        return None
    rows = cell[pbc]
    missing = [name for name, row, periodic in zip("abc", cell, pbc) if periodic and np.linalg.norm(row) < SMALLEST_HEIGHT]
    if missing:
        return f"it is periodic along {', '.join(missing)}, but the cell has no vector there; give the cell, or set pbc to false along {', '.join(missing)}"
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    if np.linalg.svd(unit, compute_uv=False)[-1] < 1e-4:
        return "its cell vectors lie in one plane or on one line (volume 0); check the lattice"
    return None


def heights(cell: np.ndarray) -> np.ndarray:
    """(3,) distances between opposite walls of a full cell, Å."""
    return 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def drop_box_that_is_none(atoms: Atoms, from_pdb: bool = False) -> list[str]:
    """Takes away a box that stands for none, and says so.

    Parameters
    ----------
    atoms : changed in place.
    from_pdb : also drop a box that is nearly empty (above `EMPTY_PDB_BOX` Å³ per atom), unless a molecule runs through its walls.

    Returns
    -------
    Notes for the user, none where the box stays.
    """
    if not atoms.pbc.any():
        if atoms.cell.rank:
            atoms.cell[:] = 0.0  # a cell without periodicity means nothing to the engine
        return []
    lengths = atoms.cell.lengths()
    sides = " x ".join(f"{length:.1f}" for length in lengths)
    reason = None
    if np.allclose(lengths, 1.0, atol=1e-3) and len(atoms) > 1:
        reason = "is the placeholder of entries without a crystal"
    elif (lengths > LARGEST_BOX).all():
        reason = "stands for no box"
    elif from_pdb and atoms.pbc.all() and atoms.cell.rank == 3 and not _runs_through_walls(atoms):
        per_atom = atoms.cell.volume / len(atoms)
        if per_atom > EMPTY_PDB_BOX:
            reason = f"is nearly empty ({per_atom:.0f} Å³ per atom)"
    if reason is None:
        return []
    atoms.pbc = False
    atoms.cell[:] = 0.0
    hint = " To keep such a box, give the structure as extxyz with Lattice and pbc." if "empty" in reason else ""
    return [f"The box of {sides} Å in the file {reason}: the structure is taken as a free molecule.{hint}"]


def _runs_through_walls(atoms: Atoms) -> bool:
    """Is an atom bonded to another one only across a wall of the box?"""
    from mdapp.topology.bonds import find_bonds

    inside = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, (False, False, False))
    across = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return len(across) > len(inside)
