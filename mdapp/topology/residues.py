"""Residues from nothing but elements and bonds.

A backbone unit is a walk N - CA - C(=O), where C carries a terminal oxygen and a nitrogen or a second oxygen. Units are joined where C of one is
bonded to N of the next. What hangs on CA is a side chain (`sidechains`), what hangs on the ends a cap (ACE, FOR, NME, NH2) or a terminus.
An unknown side chain makes a residue UNK, water is HOH, single atoms are ions under their symbol, and any other molecule is one residue UNL.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from mdapp.topology.bonds import molecules
from mdapp.topology.sidechains import hydrogen_names, name_side_chain


@dataclass(frozen=True)
class Residue:
    """Atoms that carry one name."""

    name: str
    atoms: dict[int, str]  # index in the structure to name of the atom


@dataclass(frozen=True)
class Chain:
    """Residues in sequence; molecules that are no peptides stand together in one chain."""

    residues: list[Residue]


class BondGraph:
    """Elements and neighbours of a structure, as residues are told from them."""

    def __init__(self, numbers: np.ndarray, bonds: np.ndarray):
        self.elements = {k: chemical_symbols[int(z)] for k, z in enumerate(numbers)}
        self.neighbours: dict[int, list[int]] = {k: [] for k in self.elements}
        for a, b in np.asarray(bonds).tolist():
            self.neighbours[a].append(b)
            self.neighbours[b].append(a)
        self.n_hydrogens = {k: sum(self.elements[n] == "H" for n in near) for k, near in self.neighbours.items()}

    def heavy(self, atom: int) -> list[int]:
        """Bonded atoms that are no hydrogens."""
        return [n for n in self.neighbours[atom] if self.elements[n] != "H"]

    def of(self, atom: int, element: str) -> list[int]:
        """Bonded atoms of an element."""
        return [n for n in self.neighbours[atom] if self.elements[n] == element]

    def terminal_oxygens(self, atom: int) -> list[int]:
        """Oxygens whose only heavy partner is this atom, bare ones first."""
        return sorted((o for o in self.of(atom, "O") if len(self.heavy(o)) == 1), key=lambda o: (self.n_hydrogens[o], o))

    def is_carboxyl(self, atom: int) -> bool:
        """Is it the carbon of an amide, an acid or an ester: C(=O) with N or a second O?"""
        if self.elements[atom] != "C" or len(self.neighbours[atom]) > 3:
            return False
        oxygens = self.terminal_oxygens(atom)
        return bool(oxygens) and self.n_hydrogens[oxygens[0]] == 0 and len(self.of(atom, "N")) + len(self.of(atom, "O")) >= 2


@dataclass(frozen=True)
class Unit:
    """One backbone unit, by atom index."""

    N: int
    CA: int
    C: int
    O: int  # noqa: E741  the name of the atom


def perceive(numbers: np.ndarray, bonds: np.ndarray) -> list[Chain]:
    """Chains, residues and atom names of a structure without names.

    Parameters
    ----------
    numbers : (n_atoms,) atomic numbers.
    bonds : (n_bonds, 2) from `find_bonds`.

    Returns
    -------
    Chains in the order of the first atoms of their molecules; every atom is in one residue.
    """
    graph = BondGraph(numbers, bonds)
    labels = molecules(len(numbers), bonds)
    members: list[list[int]] = [[] for _ in range(int(labels.max(initial=-1)) + 1)]
    for atom, label in enumerate(labels.tolist()):
        members[label].append(atom)
    chains: list[Chain] = []
    loose: list[Residue] | None = None
    for atoms in members:
        peptide = _peptide_chains(graph, atoms)
        if peptide:
            chains += peptide
            loose = None
        elif loose is None:
            loose = [_small_molecule(graph, atoms)]
            chains.append(Chain(loose))
        else:
            loose.append(_small_molecule(graph, atoms))
    return chains


def _small_molecule(graph: BondGraph, atoms: list[int]) -> Residue:
    elements = sorted(graph.elements[a] for a in atoms)
    if len(atoms) == 1:
        return Residue(elements[0].upper(), {atoms[0]: elements[0].upper()})
    if elements == ["H", "H", "O"] and graph.n_hydrogens[next(a for a in atoms if graph.elements[a] == "O")] == 2:
        hydrogens = iter(("H1", "H2"))
        return Residue("HOH", {a: "O" if graph.elements[a] == "O" else next(hydrogens) for a in atoms})
    return Residue("UNL", _counted(graph, atoms))


def _counted(graph: BondGraph, atoms: list[int], taken: frozenset[str] = frozenset()) -> dict[int, str]:
    """Names of element and running number: C1, C2, H1, ..."""
    count: dict[str, int] = {}
    names = {}
    for atom in atoms:
        symbol = graph.elements[atom].upper()
        while True:
            count[symbol] = count.get(symbol, 0) + 1
            if f"{symbol}{count[symbol]}" not in taken:
                break
        names[atom] = f"{symbol}{count[symbol]}"
    return names


def _units(graph: BondGraph, atoms: list[int]) -> Iterator[Unit]:
    """Backbone units of a molecule; an alpha carbon belongs to one only."""
    used: set[int] = set()
    for nitrogen in (a for a in atoms if graph.elements[a] == "N"):
        for alpha in graph.of(nitrogen, "C"):
            if alpha in used or graph.is_carboxyl(alpha):
                continue
            carboxyls = [c for c in graph.of(alpha, "C") if graph.is_carboxyl(c) and nitrogen not in graph.neighbours[c]]
            if carboxyls:
                used.add(alpha)
                yield Unit(nitrogen, alpha, carboxyls[0], graph.terminal_oxygens(carboxyls[0])[0])
                break


def _strands(graph: BondGraph, units: list[Unit]) -> list[list[Unit]]:
    """Units joined C to N into sequences; a ring is opened at its first unit."""
    by_nitrogen = {unit.N: unit for unit in units}
    after = {unit.N: next((by_nitrogen[n] for n in graph.of(unit.C, "N") if n in by_nitrogen and n != unit.N), None) for unit in units}
    followed = {unit.N for unit in after.values() if unit is not None}
    strands, seen = [], set()
    for start in [u for u in units if u.N not in followed] + units:
        strand, unit = [], start
        while unit is not None and unit.N not in seen:
            seen.add(unit.N)
            strand.append(unit)
            unit = after[unit.N]
        if strand:
            strands.append(strand)
    return strands


def _peptide_chains(graph: BondGraph, atoms: list[int]) -> list[Chain]:
    """The chains of a peptide; empty where the molecule is none or has no side chain that is known."""
    units = list(_units(graph, atoms))
    if not units:
        return []
    backbone = {a for unit in units for a in (unit.N, unit.CA, unit.C)}
    strands = _strands(graph, units)
    claimed: set[int] = set()
    chains, known = [], 0
    for strand in strands:
        residues = []
        before = _head_cap(graph, strand[0], backbone)
        after = _tail_cap(graph, strand[-1], backbone)
        caps = set(before.atoms if before else ()) | set(after.atoms if after else ())
        for k, unit in enumerate(strand):
            residue = _residue(graph, unit, backbone | caps, claimed)
            known += residue.name != "UNK"
            residues.append(residue)
            claimed |= set(residue.atoms)
        claimed |= caps
        chains.append(Chain([r for r in (before, *residues, after) if r is not None]))
    if not known:
        return []
    rest = [a for a in atoms if a not in claimed]
    if rest:  # an acyl group that is no known cap, a label: one residue at the end
        chains[-1].residues.append(Residue("UNL", _counted(graph, rest)))
    return chains


def _with_hydrogens(graph: BondGraph, names: dict[int, str], special: dict[int, list[str]] | None = None) -> dict[int, str]:
    """The names of heavy atoms, and those of their hydrogens."""
    result = dict(names)
    for heavy, name in names.items():
        hydrogens = graph.of(heavy, "H")
        given = (special or {}).get(heavy) or hydrogen_names(name, len(hydrogens))
        result.update(zip(hydrogens, given))
    return result


def _head_cap(graph: BondGraph, unit: Unit, backbone: set[int]) -> Residue | None:
    """Acetyl or formyl in front of a strand."""
    for carbon in graph.of(unit.N, "C"):
        oxygens = graph.terminal_oxygens(carbon)
        if carbon in backbone or len(oxygens) != 1:
            continue
        others = [a for a in graph.heavy(carbon) if a not in (oxygens[0], unit.N)]
        if not others:
            return Residue("FOR", _with_hydrogens(graph, {carbon: "C", oxygens[0]: "O"}))
        if len(others) == 1 and graph.elements[others[0]] == "C" and graph.heavy(others[0]) == [carbon]:
            methyl = {others[0]: ["H1", "H2", "H3"]}
            return Residue("ACE", _with_hydrogens(graph, {others[0]: "CH3", carbon: "C", oxygens[0]: "O"}, methyl))
    return None


def _tail_cap(graph: BondGraph, unit: Unit, backbone: set[int]) -> Residue | None:
    """Methylamide or amide behind a strand."""
    for nitrogen in graph.of(unit.C, "N"):
        others = [a for a in graph.heavy(nitrogen) if a != unit.C]
        if nitrogen in backbone:
            continue
        if not others:
            return Residue("NH2", _with_hydrogens(graph, {nitrogen: "N"}, {nitrogen: ["HN1", "HN2"]}))
        if len(others) == 1 and graph.elements[others[0]] == "C" and graph.heavy(others[0]) == [nitrogen]:
            return Residue("NME", _with_hydrogens(graph, {nitrogen: "N", others[0]: "C"}, {others[0]: ["H1", "H2", "H3"]}))
    return None


def _residue(graph: BondGraph, unit: Unit, blocked: set[int], claimed: set[int]) -> Residue:
    """One residue: backbone unit, side chain, and an acid's second oxygen."""
    side, waiting = [], [(n, unit.CA) for n in graph.heavy(unit.CA)]
    while waiting:
        atom, origin = waiting.pop()
        disulfide = graph.elements[atom] == "S" and graph.elements[origin] == "S"
        if atom in blocked or atom in claimed or atom in side or disulfide:
            continue
        side.append(atom)
        waiting += [(n, atom) for n in graph.heavy(atom)]
    names = {unit.N: "N", unit.CA: "CA", unit.C: "C", unit.O: "O"}
    names.update({o: "OXT" for o in graph.terminal_oxygens(unit.C)[1:2]})
    named = name_side_chain(unit.CA, unit.N, sorted(side), graph.elements, graph.neighbours, graph.n_hydrogens)
    residue, side_names = named if named else ("UNK", _counted(graph, sorted(side), frozenset(("C", "N", "O"))))
    names.update(side_names)
    if residue == "UNK":
        return Residue(residue, _unknown_hydrogens(graph, names))
    n_amine = graph.n_hydrogens[unit.N]
    ammonium = {unit.N: ["H2", "H3"] if residue == "PRO" else ["H1", "H2", "H3"][: max(n_amine, 1)]} if n_amine > 1 else None
    return Residue(residue, _with_hydrogens(graph, names, ammonium))


def _unknown_hydrogens(graph: BondGraph, names: dict[int, str]) -> dict[int, str]:
    hydrogens = sorted(h for heavy in names for h in graph.of(heavy, "H"))
    return {**names, **_counted(graph, hydrogens)}
