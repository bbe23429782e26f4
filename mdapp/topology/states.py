"""The chemical state of each residue: protonation, disulfide bridges, the hand of the alpha carbon, cis or trans peptide bonds.

Protonation is told from the graph and named as in AMBER's libraries (HID, HIE, HIP, ASH, GLH, LYN, CYM, CYX, TYM, ARN); where a residue is in its
usual state the name is the PDB's. Residue names in files stay those of the PDB (HIS, CYS), which every program knows.

The hand of an alpha carbon is the sign of the volume of N, C and CB about it: seen from HA, CO - R - N go clockwise in an L amino acid.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mdtraj

FLAT = 0.1  # of the product of the three lengths; less is no hand at all

PROTONS = {  # residue: {hydrogens on the heavy atoms that titrate: (form, charge of the side chain)}
    "HIS": {(1, 1): ("HIP", 1), (1, 0): ("HID", 0), (0, 1): ("HIE", 0), (0, 0): ("HIM", -1)},
    "ASP": {(0,): ("ASP", -1), (1,): ("ASH", 0)},
    "GLU": {(0,): ("GLU", -1), (1,): ("GLH", 0)},
    "LYS": {(3,): ("LYS", 1), (2,): ("LYN", 0)},
    "CYS": {(1,): ("CYS", 0), (0,): ("CYM", -1)},
    "TYR": {(1,): ("TYR", 0), (0,): ("TYM", -1)},
    "ARG": {(5,): ("ARG", 1), (4,): ("ARN", 0)},
}
TITRATES = {"HIS": (("ND1",), ("NE2",)), "ASP": (("OD1", "OD2"),), "GLU": (("OE1", "OE2"),), "LYS": (("NZ",),), "CYS": (("SG",),), "TYR": (("OH",),),
            "ARG": (("NE", "NH1", "NH2"),)}
BASES = {"HID": "HIS", "HIE": "HIS", "HIP": "HIS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "CYM": "CYS", "CYX": "CYS", "TYM": "TYR", "ARN": "ARG"}
UNTITRATED = frozenset("GLY ALA SER THR VAL LEU ILE MET PRO PHE TRP ASN GLN".split())


@dataclass(frozen=True)
class ResidueState:
    """What one residue is."""

    residue: str  # such as HIS7
    form: str  # such as HIE; the residue's name where nothing titrates; "?" where the hydrogens fit no known form
    charge: int | None  # with charged ends of the chain, e; None where it is not known
    hand: str  # "L", "D", or "" for glycine, caps and flat centres
    omega: str  # "cis" or "trans" of the peptide bond to the residue before; "" where there is none
    disulfide: str  # the partner of a bridge, such as CYS12, or ""


def residue_states(topology: mdtraj.Topology, positions: np.ndarray) -> list[ResidueState]:
    """States of all residues with a peptide backbone, in sequence.

    Parameters
    ----------
    topology : with the names of the PDB and bonds, hydrogens included (`topology_of`).
    positions : (n_atoms, 3) Å in the topology's order, molecules whole.
    """
    near: dict[int, list[int]] = {atom.index: [] for atom in topology._atoms}
    atoms = {atom.index: atom for atom in topology._atoms}
    for a, b in topology.bonds:
        near[a.index].append(b.index)
        near[b.index].append(a.index)
    x = np.asarray(positions, dtype=float)
    n_hydrogens = {k: sum(atoms[n].element.symbol == "H" for n in partners) for k, partners in near.items()}
    found = []
    for residue in topology.residues:
        names = {atom.name: atom.index for atom in residue.atoms}
        if not {"N", "CA", "C"} <= names.keys():
            continue
        partner = _partner(names, near, atoms)
        form, charge = _form(residue.name, names, n_hydrogens, bool(partner))
        if charge is not None:
            charge += _ends(names, near, atoms, n_hydrogens)
        before = next((n for n in near[names["N"]] if n != names["CA"] and _is_carbonyl(n, near, atoms)), None)
        found.append(ResidueState(str(residue), form, charge, _hand(names, x), _omega(before, names, near, atoms, x), partner))
    return found


def _form(name: str, names: dict[str, int], n_hydrogens: dict[int, int], bridged: bool) -> tuple[str, int | None]:
    base = BASES.get(name, name)
    if base in UNTITRATED:
        return base, 0
    if base not in PROTONS:
        return name, None
    if base == "CYS" and bridged:
        return "CYX", 0
    groups = TITRATES[base]
    if any(atom not in names for group in groups for atom in group):
        return "?", None
    count = tuple(sum(n_hydrogens[names[atom]] for atom in group) for group in groups)
    return PROTONS[base].get(count, ("?", None))


def _ends(names: dict[str, int], near: dict[int, list[int]], atoms: dict, n_hydrogens: dict[int, int]) -> int:
    """Charge of an ammonium or carboxylate end."""
    nitrogen, charge = names["N"], 0
    if len(near[nitrogen]) == 4:
        charge += 1
    oxygens = [n for n in near[names["C"]] if atoms[n].element.symbol == "O"]
    if len(oxygens) == 2 and all(len(near[o]) == 1 for o in oxygens):
        charge -= 1
    return charge


def _partner(names: dict[str, int], near: dict[int, list[int]], atoms: dict) -> str:
    """The residue at the other end of a disulfide bridge."""
    if "SG" not in names:
        return ""
    return next((str(atoms[n].residue) for n in near[names["SG"]] if atoms[n].element.symbol == "S"), "")


def _is_carbonyl(atom: int, near: dict[int, list[int]], atoms: dict) -> bool:
    return atoms[atom].element.symbol == "C" and any(atoms[n].element.symbol == "O" and len(near[n]) == 1 for n in near[atom])


def _hand(names: dict[str, int], x: np.ndarray) -> str:
    if "CB" not in names:
        return ""
    n, c, b = (x[names[name]] - x[names["CA"]] for name in ("N", "C", "CB"))
    volume = float(np.dot(np.cross(n, c), b)) / float(np.linalg.norm(n) * np.linalg.norm(c) * np.linalg.norm(b))
    return "" if abs(volume) < FLAT else "L" if volume > 0 else "D"


def _omega(before: int | None, names: dict[str, int], near: dict[int, list[int]], atoms: dict, x: np.ndarray) -> str:
    """cis or trans of CA (or CH3, or H of a formyl) - C - N - CA."""
    if before is None:
        return ""
    others = [n for n in near[before] if n != names["N"] and not (atoms[n].element.symbol == "O" and len(near[n]) == 1)]
    if not others:
        return ""
    a, b, c, d = x[others[0]], x[before], x[names["N"]], x[names["CA"]]
    m, n = np.cross(b - a, c - b), np.cross(c - b, d - c)
    return "cis" if float(m @ n) > 0 else "trans"
