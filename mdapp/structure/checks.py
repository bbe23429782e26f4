"""What a structure must pass before the first force call.

Each check is a function of the structure that returns findings; `check_start` puts them together. The largest force is no matter of
geometry: whoever has the forces checks it.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from mdapp.frame import named
from mdapp.structure.boxes import EMPTY_PDB_BOX, cell_problem, heights
from mdapp.structure.elements import AMINO_ACIDS, WATER_RESIDUES
from mdapp.topology.bonds import close_pairs, find_bonds, molecules

OVERLAP, TIGHT = 0.5, 0.7  # of the sum of covalent radii; the shortest real bonds (N2, C2H2, H-F) stand at 0.77 and above
HYDROGEN = 1.008  # amu
WARN_FS, REFUSE_FS, REFUSE_HEAVY_FS = 1.0, 2.0, 5.0  # for hydrogen; for others times the square root of mass / 1.008
SP3_BOND = 1.44  # Å; a carbon whose bonds are all longer is saturated


@dataclass(frozen=True)
class Finding:
    """One thing that was seen in a structure."""

    level: Literal["refuse", "warn", "note"]
    message: str


def check_start(
    atoms: Atoms,
    elements: Sequence[int] | None,
    timestep_fs: float | None,
    ensemble_needs_cell: bool,
    cutoff: float | None,
    potential: str = "the potential",
) -> list[Finding]:
    """Everything that geometry, cell, masses and time step can tell before forces are computed.

    Parameters
    ----------
    elements : atomic numbers that the potential knows; None where it knows all or does not say.
    timestep_fs : None where nothing is integrated (a relaxation).
    ensemble_needs_cell : does the ensemble change the volume?
    cutoff : of the potential, Å; None where it has none.
    potential : its name, for the messages.

    Returns
    -------
    Findings, the refusals first. Whoever gets a refusal must not compute forces: a neighbour list may not come back.
    """
    found = _sound_numbers(atoms)
    if not found:
        found = _cell(atoms, ensemble_needs_cell, cutoff)
    if not any(finding.level == "refuse" for finding in found):
        found += _elements(atoms, elements, potential)
        contacts = _contacts(atoms)
        found += contacts
        if timestep_fs is not None:
            found += check_time_step(atoms, timestep_fs)
        if not any(finding.level == "refuse" for finding in contacts):
            bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
            found += _hydrogens(atoms, bonds)
            found += _loose_hydrogens(atoms, bonds)
            found += _molecules(atoms, bonds)
    return sorted(found, key=lambda finding: ("refuse", "warn", "note").index(finding.level))


def _sound_numbers(atoms: Atoms) -> list[Finding]:
    if len(atoms) == 0:
        return [Finding("refuse", "The structure has no atoms.")]
    found = []
    for what, values in (("position", atoms.positions), ("momentum", atoms.get_momenta()), ("mass", atoms.get_masses())):
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(atoms), -1)).all(axis=1))
        if len(bad):
            found.append(Finding("refuse", f"The {what} of {_name(atoms, bad[0])} is not finite ({len(bad)} of {len(atoms)} atoms)."))
    light = np.flatnonzero(atoms.get_masses() <= 0)
    if len(light):
        found.append(Finding("refuse", f"The mass of {_name(atoms, light[0])} is {atoms.get_masses()[light[0]]:g} amu; masses must be above zero."))
    dummies = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= len(chemical_symbols)))
    if len(dummies):
        found.append(Finding("refuse", f"Atom {dummies[0]} (from 0) is a dummy without element ({len(dummies)} in all); remove such atoms."))
    return found


def _cell(atoms: Atoms, ensemble_needs_cell: bool, cutoff: float | None) -> list[Finding]:
    problem = cell_problem(atoms.cell.array, atoms.pbc)
    if problem:
        return [Finding("refuse", f"The structure cannot be used: {problem}.")]
    full = bool(atoms.pbc.all()) and atoms.cell.rank == 3
    found = []
    if ensemble_needs_cell and not full:
        what = "has no cell" if not atoms.pbc.any() else f"is periodic only along {', '.join(np.array(list('abc'))[atoms.pbc])}"
        found.append(Finding("refuse", f"An NPT run changes the volume, but the structure {what}. Take NVT, or give a cell that is periodic in all three directions."))
    if full:
        height, per_atom = float(heights(atoms.cell.array).min()), atoms.cell.volume / len(atoms)
        if ensemble_needs_cell and per_atom > EMPTY_PDB_BOX:
            found.append(Finding("warn", f"The cell is nearly empty ({per_atom:.0f} Å³ per atom): under NPT it will collapse or drift. Take NVT for a molecule in vacuum."))
        if cutoff is not None and height < 2 * cutoff:
            found.append(Finding("note", f"The cell is {height:.1f} Å high at its narrowest, less than twice the cutoff of {cutoff:g} Å: atoms see several images of a neighbour."))
    return found


def _elements(atoms: Atoms, elements: Sequence[int] | None, potential: str) -> list[Finding]:
    if elements is None:
        return []
    foreign = Counter(int(z) for z in atoms.numbers if int(z) not in set(int(e) for e in elements))
    if not foreign:
        return []
    listed = ", ".join(f"{chemical_symbols[z]} ({count} atom{'s' if count > 1 else ''})" for z, count in sorted(foreign.items()))
    known = " ".join(chemical_symbols[int(z)] for z in sorted(elements))
    return [Finding("refuse", f"{potential} does not know {listed}; it knows {known}. Take a potential that covers them.")]


def _contacts(atoms: Atoms) -> list[Finding]:
    """Atoms on top of each other, images through the walls and own images included."""
    radii = covalent_radii[atoms.numbers]
    i, j, distances = close_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 2 * TIGHT * float(radii.max()))
    ratio = distances / (radii[i] + radii[j])
    close = np.flatnonzero(ratio < TIGHT)
    if not len(close):
        return []
    worst = close[np.argmin(ratio[close])]
    a, b = sorted((int(i[worst]), int(j[worst])))
    inside = float(np.linalg.norm(atoms.positions[a] - atoms.positions[b]))
    pair = f"{_name(atoms, a)} and its own periodic image" if a == b else f"{_name(atoms, a)} and {_name(atoms, b)}"
    if a != b and abs(inside - distances[worst]) > 1e-3:
        pair += " (through a periodic wall)"
    shortest = f"{pair} are {distances[worst]:.2f} Å apart"
    if ratio[worst] < OVERLAP:
        count = int((ratio < OVERLAP).sum())
        more = f" ({count} such pairs)" if count > 1 else ""
        return [Finding("refuse", f"Atoms overlap: {shortest}{more}. Check units, duplicates and the cell.")]
    return [Finding("warn", f"A very short contact: {shortest} ({len(close)} pair{'s' if len(close) > 1 else ''} below {TIGHT:g} of a bond length).")]


def check_time_step(atoms: Atoms, timestep_fs: float, masses: np.ndarray | None = None) -> list[Finding]:
    """The fastest vibration goes with the square root of the lightest mass.

    Parameters
    ----------
    masses : (n_atoms,), amu, in place of the atoms' own where bonds are held and swing no more.
    """
    masses = atoms.get_masses() if masses is None else masses
    lightest = int(np.argmin(masses))
    mass = float(masses[lightest])
    scale = math.sqrt(mass / HYDROGEN)
    limit = (REFUSE_FS if atoms.numbers[lightest] == 1 else REFUSE_HEAVY_FS) * scale
    own = float(atoms.get_masses()[lightest])
    who = f"{chemical_symbols[atoms.numbers[lightest]]} of {own:.3g} amu" + ("" if own == mass else " with its bonds held")
    if timestep_fs > limit * (1 + 1e-9):
        return [Finding("refuse", f"A time step of {timestep_fs:g} fs is too long for {who}: at most {limit:.2g} fs. Take {0.5 * scale:.1g} fs.")]
    if timestep_fs > WARN_FS * scale * (1 + 1e-9):
        return [Finding("warn", f"A time step of {timestep_fs:g} fs is long for {who}: energies may drift; {0.5 * scale:.1g} fs is safe.")]
    return []


def _hydrogens(atoms: Atoms, bonds: np.ndarray) -> list[Finding]:
    """Organic molecules and residues without their hydrogens."""
    if "residuenames" in atoms.arrays and "residueindex" in atoms.arrays:
        with_hydrogen = set(atoms.arrays["residueindex"][atoms.numbers == 1].tolist())
        bare = {}
        for name, index in zip(atoms.arrays["residuenames"].tolist(), atoms.arrays["residueindex"].tolist()):
            if index not in with_hydrogen and (name.upper() in AMINO_ACIDS or name.upper() in WATER_RESIDUES):
                bare[index] = name
        if bare:
            names = ", ".join(sorted(set(bare.values()))[:5])
            return [Finding("warn", f"{len(bare)} residue(s) have no hydrogens ({names}). Add them first: a potential takes every atom at its word.")]
    partners: list[list[tuple[int, float]]] = [[] for _ in range(len(atoms))]
    lengths = np.linalg.norm(_shortest(atoms, bonds), axis=1) if len(bonds) else np.zeros(0)
    for (a, b), length in zip(bonds.tolist(), lengths.tolist()):
        partners[a].append((b, length))
        partners[b].append((a, length))
    organic = {1, 6, 7, 8, 9, 15, 16, 17}
    bare_carbons = [
        k for k, near in enumerate(partners)
        if atoms.numbers[k] == 6 and 0 < len(near) < 4 and all(int(atoms.numbers[n]) in organic and length > SP3_BOND for n, length in near)
    ]  # fmt: skip
    if bare_carbons:
        return [Finding("warn", f"Hydrogens seem to be missing: {len(bare_carbons)} saturated carbon(s) have fewer than four bonds, {_name(atoms, bare_carbons[0])} first. "
                                "Add them first: a potential takes every atom at its word.")]
    return []


def _loose_hydrogens(atoms: Atoms, bonds: np.ndarray) -> list[Finding]:
    """Hydrogens without a partner beside atoms that have one: a bond was stretched beyond recognition, or an atom is out of place."""
    loose = np.setdiff1d(np.flatnonzero(atoms.numbers == 1), bonds)
    if not len(loose) or not len(bonds):
        return []
    k = int(loose[0])
    distances = atoms.get_distances(k, np.delete(np.arange(len(atoms)), k), mic=bool(atoms.pbc.any()))
    near = int(np.argmin(distances))
    partner = _name(atoms, near + (near >= k))
    return [Finding("warn", f"{len(loose)} hydrogen(s) have no bond, {_name(atoms, k)} first, {distances[near]:.2f} Å from {partner}. "
                            "Is a bond stretched, or an atom out of place? Its energy will turn into heat.")]


def _molecules(atoms: Atoms, bonds: np.ndarray) -> list[Finding]:
    count = int(molecules(len(atoms), bonds).max()) + 1
    if count == 1 or not len(bonds):
        return []
    if atoms.pbc.any():
        return [Finding("note", f"{count} molecules in a periodic cell.")]
    return [Finding("note", f"{count} separate molecules without a cell: they may drift apart.")]


def _shortest(atoms: Atoms, bonds: np.ndarray) -> np.ndarray:
    """(n_bonds, 3) bond vectors through the nearest image, Å."""
    from ase.geometry import find_mic

    vectors = atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]]
    return find_mic(vectors, atoms.cell, atoms.pbc)[0] if atoms.pbc.any() else vectors


def _name(atoms: Atoms, index: int) -> str:
    """An atom as the user knows it: `C12`, `CA of ALA 2 (atom 9)`; indices count from 0 as in all messages."""
    k = int(index)
    if {"atomtypes", "residuenames", "residuenumbers"} <= set(atoms.arrays):
        return f"{atoms.arrays['atomtypes'][k]} of {atoms.arrays['residuenames'][k]} {atoms.arrays['residuenumbers'][k]} (atom {k})"
    return named(atoms.numbers, [k]) if 0 < atoms.numbers[k] < len(chemical_symbols) else f"atom {k}"
