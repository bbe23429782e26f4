"""The twenty side chains as graphs of heavy atoms, with the names of the PDB.

A side chain is written as its bonds, read from the alpha carbon outwards; an atom's element is the first letter of its name. Hydrogens
follow from the heavy atom that carries them (wwPDB, Chemical Component Dictionary): `H` and the name without its element,
then a digit where there are several, counted from 2 on an sp3 carbon with two (HB2, HB3) and from 1 elsewhere (HB1 to HB3, HH11, HH12).
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

SIDE_CHAINS = {
    "GLY": "",
    "ALA": "CA-CB",
    "SER": "CA-CB CB-OG",
    "CYS": "CA-CB CB-SG",
    "THR": "CA-CB CB-OG1 CB-CG2",
    "VAL": "CA-CB CB-CG1 CB-CG2",
    "LEU": "CA-CB CB-CG CG-CD1 CG-CD2",
    "ILE": "CA-CB CB-CG1 CB-CG2 CG1-CD1",
    "MET": "CA-CB CB-CG CG-SD SD-CE",
    "PRO": "CA-CB CB-CG CG-CD CD-N",
    "PHE": "CA-CB CB-CG CG-CD1 CG-CD2 CD1-CE1 CD2-CE2 CE1-CZ CE2-CZ",
    "TYR": "CA-CB CB-CG CG-CD1 CG-CD2 CD1-CE1 CD2-CE2 CE1-CZ CE2-CZ CZ-OH",
    "TRP": "CA-CB CB-CG CG-CD1 CG-CD2 CD1-NE1 NE1-CE2 CD2-CE2 CD2-CE3 CE2-CZ2 CE3-CZ3 CZ2-CH2 CZ3-CH2",
    "HIS": "CA-CB CB-CG CG-ND1 CG-CD2 ND1-CE1 CD2-NE2 CE1-NE2",
    "LYS": "CA-CB CB-CG CG-CD CD-CE CE-NZ",
    "ARG": "CA-CB CB-CG CG-CD CD-NE NE-CZ CZ-NH1 CZ-NH2",
    "ASP": "CA-CB CB-CG CG-OD1 CG-OD2",
    "GLU": "CA-CB CB-CG CG-CD CD-OE1 CD-OE2",
    "ASN": "CA-CB CB-CG CG-OD1 CG-ND2",
    "GLN": "CA-CB CB-CG CG-CD CD-OE1 CD-NE2",
}


def _graph(bonds: str) -> tuple[tuple[str, ...], frozenset[frozenset[str]]]:
    """Names in the order in which they are reached from CA, and the bonds."""
    pairs = [tuple(bond.split("-")) for bond in bonds.split()]
    names = dict.fromkeys(name for pair in pairs for name in pair if name not in ("CA", "N"))
    return tuple(names), frozenset(frozenset(pair) for pair in pairs)


TEMPLATES = {name: _graph(bonds) for name, bonds in SIDE_CHAINS.items()}


def name_side_chain(
    alpha: int, nitrogen: int, atoms: Sequence[int], elements: Mapping[int, str], neighbours: Mapping[int, Sequence[int]], n_hydrogens: Mapping[int, int]
) -> tuple[str, dict[int, str]] | None:
    """Residue name and names of the heavy atoms of one side chain; None where it is none of the twenty.

    Parameters
    ----------
    alpha, nitrogen : the alpha carbon and the backbone nitrogen (proline's ring closes on it).
    atoms : heavy atoms of the side chain.
    elements, neighbours, n_hydrogens : symbol, bonded atoms and number of hydrogens of each atom. Of two equal atoms the one with fewer
        hydrogens gets the lower name (OD1 is the bare oxygen of an aspartic acid), then the one that comes first.
    """
    inside = set(atoms) | {alpha, nitrogen}
    bonds = {frozenset((a, b)) for a in atoms for b in neighbours[a] if b in inside}
    kinds = Counter(elements[a] for a in atoms)
    for residue, (names, template) in TEMPLATES.items():
        if len(names) == len(atoms) and len(template) == len(bonds) and Counter(name[0] for name in names) == kinds:
            found = _match(names, template, {"CA": alpha, "N": nitrogen}, bonds, atoms, elements, n_hydrogens)
            if found is not None:
                return residue, {atom: name for name, atom in found.items() if name not in ("CA", "N")}
    return None


def _match(names, template, placed, bonds, atoms, elements, n_hydrogens) -> dict[str, int] | None:
    """Places the names one by one, going back where a bond does not fit."""
    if len(placed) == len(names) + 2:
        return placed
    name = names[len(placed) - 2]
    taken = set(placed.values())
    for atom in sorted(atoms, key=lambda a: (n_hydrogens[a], a)):
        if atom in taken or elements[atom] != name[0]:
            continue
        if all((frozenset((name, other)) in template) == (frozenset((atom, where)) in bonds) for other, where in placed.items()):
            found = _match(names, template, {**placed, name: atom}, bonds, atoms, elements, n_hydrogens)
            if found is not None:
                return found
    return None


def hydrogen_names(heavy: str, count: int) -> list[str]:
    """Names of the hydrogens on a named heavy atom, e.g. `CB` with two: HB2, HB3."""
    stem = "H" + heavy[1:]
    if count == 1:
        return [stem]
    first = 2 if count == 2 and heavy.startswith("C") else 1
    return [f"{stem}{first + k}" for k in range(count)]
