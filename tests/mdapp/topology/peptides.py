"""Peptides as bond graphs, written down from the names of the PDB: tests need no coordinates to check perception."""
from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

from mdapp.topology.sidechains import SIDE_CHAINS, hydrogen_names

HYDROGENS = {  # on the heavy atoms of a side chain at pH 7, histidine neutral on ND1... HE2
    "ALA": "CB3", "SER": "CB2 OG1", "CYS": "CB2 SG1", "THR": "CB1 OG11 CG23", "VAL": "CB1 CG13 CG23", "LEU": "CB2 CG1 CD13 CD23",
    "ILE": "CB1 CG12 CG23 CD13", "MET": "CB2 CG2 CE3", "PRO": "CB2 CG2 CD2", "PHE": "CB2 CD11 CD21 CE11 CE21 CZ1",
    "TYR": "CB2 CD11 CD21 CE11 CE21 OH1", "TRP": "CB2 CD11 NE11 CE31 CZ21 CZ31 CH21", "HIS": "CB2 CD21 CE11 NE21", "LYS": "CB2 CG2 CD2 CE2 NZ3",
    "ARG": "CB2 CG2 CD2 NE1 NH12 NH22", "ASP": "CB2", "GLU": "CB2 CG2", "ASN": "CB2 ND22", "GLN": "CB2 CG2 NE22", "GLY": "",
}  # fmt: skip


class Builder:
    def __init__(self):
        self.names: list[tuple[int, str, str]] = []  # residue number, residue, atom
        self.elements: list[str] = []
        self.bonds: list[tuple[int, int]] = []
        self.residue = 0

    def add(self, residue: str, name: str, partner: int | None) -> int:
        self.names.append((self.residue, residue, name))
        self.elements.append(name[0])
        index = len(self.names) - 1
        if partner is not None:
            self.bonds.append((partner, index))
        return index

    def hydrogens(self, residue: str, names: list[str], heavy: int) -> None:
        for name in names:
            self.add(residue, name, heavy)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([atomic_numbers[e] for e in self.elements]), np.array(self.bonds, dtype=np.int64)


def build(sequence: list[str], head: str | None = "ACE", tail: str | None = "NME", disulfides: tuple[tuple[int, int], ...] = ()) -> Builder:
    """A peptide with caps (None: charged ammonium and carboxylate ends); `disulfides` join cysteines by their places in the sequence."""
    b = Builder()
    link, sulfurs, atoms = None, {}, {}
    if head == "ACE":
        methyl = b.add("ACE", "CH3", None)
        b.hydrogens("ACE", ["H1", "H2", "H3"], methyl)
        link = b.add("ACE", "C", methyl)
        b.add("ACE", "O", link)
        b.residue += 1
    for k, residue in enumerate(sequence):
        ends = {cys for pair in disulfides for cys in pair}
        at = {"N": b.add(residue, "N", link)}
        at["CA"] = b.add(residue, "CA", at["N"])
        at["C"] = b.add(residue, "C", at["CA"])
        b.add(residue, "O", at["C"])
        for bond in SIDE_CHAINS[residue].split():
            a, c = bond.split("-")
            if c in at:
                b.bonds.append((at[a], at[c]))
            else:
                at[c] = b.add(residue, c, at[a])
        first = k == 0 and head is None
        amine = {"PRO": ["H2", "H3"] if first else []}.get(residue, ["H1", "H2", "H3"] if first else ["H"])
        b.hydrogens(residue, amine, at["N"])
        b.hydrogens(residue, ["HA2", "HA3"] if residue == "GLY" else ["HA"], at["CA"])
        for word in HYDROGENS[residue].split():
            if k in ends and word.startswith("SG"):
                continue
            b.hydrogens(residue, hydrogen_names(word[:-1], int(word[-1])), at[word[:-1]])
        sulfurs[k], atoms[k], link = at.get("SG"), at, at["C"]
        b.residue += 1
    if tail == "NME":
        n = b.add("NME", "N", link)
        b.add("NME", "H", n)
        c = b.add("NME", "C", n)
        b.hydrogens("NME", ["H1", "H2", "H3"], c)
    elif tail == "NH2":
        n = b.add("NH2", "N", link)
        b.hydrogens("NH2", ["HN1", "HN2"], n)
    else:
        b.residue -= 1
        b.add(sequence[-1], "OXT", link)
    b.bonds += [(sulfurs[i], sulfurs[j]) for i, j in disulfides]
    return b
