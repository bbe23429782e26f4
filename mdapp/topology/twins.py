r"""Which of two like atoms has the lower number: what the graph cannot tell, the positions do.

Twins that cannot change places are told by hand: the two methyls of valine and leucine, and the hydrogens of every CH2. Seen from the centre c, with p the atom on the
side of the backbone, :math:`(r_p - r_c) \cdot (r_1 - r_c) \times (r_2 - r_c) < 0`; so CG1 and CD1 are the pro-R methyls, in D residues too. Without this rule
:math:`\chi_1` of valine and :math:`\chi_2` of leucine are off by 120 degrees as often as not.

Twins that turn into each other (sides of rings, carboxylates, guanidinium, amides) are told by torsion in the given positions: the lower number is within 90 degrees.

IUPAC-IUB Commission on Biochemical Nomenclature, Biochemistry 9, 3471 (1970); J. L. Markley et al., Pure Appl. Chem. 70, 117 (1998).
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from mdapp.topology.residues import Chain, Residue

HANDS = {"VAL": (("CB", "CA", "CG1", "CG2"),), "LEU": (("CG", "CB", "CD1", "CD2"),)}  # centre, towards the backbone, first, second
TURNS = {  # torsion, and its fourth atom with the other number
    "TYR": (("CA", "CB", "CG", "CD1", "CD2"),), "PHE": (("CA", "CB", "CG", "CD1", "CD2"),), "ASP": (("CA", "CB", "CG", "OD1", "OD2"),),
    "GLU": (("CB", "CG", "CD", "OE1", "OE2"),), "ASN": (("CB", "CG", "ND2", "HD21", "HD22"),), "GLN": (("CG", "CD", "NE2", "HE21", "HE22"),),
    "ARG": (("CD", "NE", "CZ", "NH1", "NH2"), ("NE", "CZ", "NH1", "HH11", "HH12"), ("NE", "CZ", "NH2", "HH21", "HH22"))}
FOLLOW = {  # what goes with a name that is exchanged: of methyls their hydrogens, of rings the whole side
    "CG1": ("HG11", "HG12", "HG13"), "CG2": ("HG21", "HG22", "HG23"), "NH1": ("HH11", "HH12"), "NH2": ("HH21", "HH22")}
RING = {"CD1": ("CE1", "HD1", "HE1"), "CD2": ("CE2", "HD2", "HE2")}
METHYL = {"CD1": ("HD11", "HD12", "HD13"), "CD2": ("HD21", "HD22", "HD23")}
BACKBONE = {"CA": "N", "CB": "CA", "CG": "CB", "CG1": "CB", "CD": "CG", "CE": "CD"}  # of the carbons that can be a CH2, the atom before


def tell_twins(chains: list[Chain], atoms: Atoms) -> list[Chain]:
    """The chains with the names of like atoms exchanged where the positions say so.

    Parameters
    ----------
    chains : of `residues.perceive`, for these atoms.
    atoms : positions in Å; periodic walls are seen through.
    """
    return [Chain([_told(residue, atoms) for residue in chain.residues]) for chain in chains]


def _told(residue: Residue, atoms: Atoms) -> Residue:
    place = {name: k for k, name in residue.atoms.items()}
    for first, second in _exchanged(residue.name, place, atoms):
        for one, other in zip((first, *_followers(residue.name, first)), (second, *_followers(residue.name, second))):
            if one in place and other in place:
                place[one], place[other] = place[other], place[one]
    return Residue(residue.name, {k: name for name, k in place.items()})


def _followers(residue: str, name: str) -> tuple[str, ...]:
    return {"TYR": RING, "PHE": RING, "LEU": METHYL}.get(residue, FOLLOW).get(name, ())


def _exchanged(residue: str, place: dict[str, int], atoms: Atoms) -> Iterator[tuple[str, str]]:
    """Pairs of names that stand at each other's atoms; `place` may change between two of them."""
    if "CA" not in place:
        return
    for centre, towards, first, second in (*HANDS.get(residue, ()), *_methylenes(place)):
        if {centre, towards, first, second} <= place.keys():
            p, a, b = _vectors(atoms, place[centre], [place[towards], place[first], place[second]])
            if p @ np.cross(a, b) > 0:
                yield first, second
    for *axis, first, second in TURNS.get(residue, ()):
        acid = residue in ("ASP", "GLU") and f"H{second[1:]}" in place  # its bare oxygen is the first
        if {*axis, first, second} <= place.keys() and not acid:
            if abs(_torsion_deg(atoms, [place[name] for name in (*axis, first)])) > 90:
                yield first, second


def _methylenes(place: dict[str, int]) -> Iterator[tuple[str, str, str, str]]:
    for centre, towards in BACKBONE.items():
        stem = "H" + centre[1:]
        if f"{stem}2" in place and f"{stem}3" in place and f"{stem}1" not in place:
            yield centre, towards, f"{stem}2", f"{stem}3"


def _vectors(atoms: Atoms, centre: int, others: list[int]) -> np.ndarray:
    """(n_others, 3) from an atom to others, by the shortest way."""
    return np.asarray(atoms.get_distances(centre, others, mic=bool(atoms.pbc.any()), vector=True))


def _torsion_deg(atoms: Atoms, four: list[int]) -> float:
    a, b, c, d = four
    angle = float(atoms.get_dihedral(a, b, c, d, mic=bool(atoms.pbc.any())))
    return (angle + 180.0) % 360.0 - 180.0
