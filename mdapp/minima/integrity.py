"""Is a structure still the molecule that the search began with: its bonds, its hands, its peptide and double bonds?

What a monitor watches for over time is judged here at single structures, by the same readings of the bond graph (`mdapp.monitors`). A search that let a
molecule break or turn over would fill its library with another molecule's minima.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from mdapp.minima.dihedrals import double_bonds
from mdapp.minima.molecule import Molecule
from mdapp.monitors._graph import peptide_bonds, stereocentres, triple_products
from mdapp.topology import find_bonds, molecules
from mdapp.topology.bonds import close_pairs

FLAT = 0.1  # of the product of three lengths: less is no hand at all
APART_A = 8.0  # a gap this wide between pieces: the cluster has evaporated


@dataclass(frozen=True)
class Kept:
    """What must stay as it was."""

    bonds: bool = True
    chirality: bool = True
    peptide_bonds: bool = True  # cis stays cis; double bonds outside rings likewise


class Integrity:
    """Compares structures with the molecule's reference."""

    def __init__(self, molecule: Molecule, kept: Kept = Kept()):
        self.molecule, self.kept = molecule, kept
        none = np.zeros((0, 5), np.int64)
        centres = stereocentres(molecule.numbers, molecule.bonds) if kept.chirality else none
        volumes = self._volumes(molecule.reference, centres)
        self.centres, self.hands = centres[np.abs(volumes) > FLAT], np.sign(volumes[np.abs(volumes) > FLAT])
        peptide = peptide_bonds(molecule.numbers, molecule.bonds) if kept.peptide_bonds else none[:, :4]
        double = double_bonds(molecule) if kept.peptide_bonds else none[:, :4]
        self.stiff = np.concatenate([peptide, double])  # (n, 4) dihedrals that stay on their side
        self.sides = np.sign(self._cosines(molecule.reference))
        self._bonds = {tuple(bond) for bond in molecule.bonds.tolist()}
        self._pieces = int(molecules(len(molecule), molecule.bonds).max(initial=-1)) + 1

    def broken(self, positions: np.ndarray) -> str | None:
        """What has changed, in words; None where it is the same molecule. `positions` is (n_atoms, 3) in Å."""
        m = self.molecule
        if not np.isfinite(positions).all():
            return "positions are not finite"
        if self.kept.bonds and (changed := self._changed_bonds(positions)):
            return changed
        if len(self.centres):
            bad = np.flatnonzero(self._volumes(positions, self.centres) * self.hands < FLAT)
            if len(bad):
                return f"stereocentre {self._named(self.centres[bad[0], :1])} turned over"
        if len(self.stiff):
            bad = np.flatnonzero(self._cosines(positions) * self.sides < 0)
            if len(bad):
                i, j = self.stiff[bad[0], 1:3].tolist()
                now = "cis" if self.sides[bad[0]] < 0 else "trans"
                return f"bond {self._named((i, j))} went to {now}"
        if self._pieces > 1 and not m.pbc.any() and self._evaporated(positions):
            return f"it fell apart: a gap of more than {APART_A:g} Å"
        return None

    def _changed_bonds(self, positions: np.ndarray) -> str | None:
        m = self.molecule
        now = {tuple(bond) for bond in find_bonds(m.numbers, positions, m.cell, m.pbc).tolist()}
        if now == self._bonds:
            return None
        lost, formed = sorted(self._bonds - now), sorted(now - self._bonds)
        words = [f"bond {self._named(b)} broken" for b in lost[:2]] + [f"bond {self._named(b)} formed" for b in formed[:2]]
        return ", ".join(words)

    def _evaporated(self, positions: np.ndarray) -> bool:
        i, j, _ = close_pairs(positions, self.molecule.cell, self.molecule.pbc, APART_A)
        return bool(molecules(len(positions), np.stack([i, j], axis=1)).max(initial=0) > 0)

    def _named(self, atoms: np.ndarray | tuple[int, ...]) -> str:
        return "-".join(f"{chemical_symbols[self.molecule.numbers[k]]}{k}" for k in atoms)

    def _vector(self, positions: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        m, d = self.molecule, positions[j] - positions[i]
        if m.pbc.any():
            cell = np.where(m.pbc[:, None], m.cell, 0.0)
            d = d - np.round(d @ np.linalg.pinv(cell)) @ cell
        return d

    def _volumes(self, positions: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """(n_centres,) triple product of three partners' vectors over their lengths."""
        if not len(centres):
            return np.zeros(0)
        r = self._vector(positions, centres[:, :1], centres[:, 1:4])
        return triple_products(r[:, 0], r[:, 1], r[:, 2]) / np.linalg.norm(r, axis=2).prod(axis=1)

    def _cosines(self, positions: np.ndarray) -> np.ndarray:
        """(n_stiff,) cosines of the stiff dihedrals: 1 is cis."""
        if not len(self.stiff):
            return np.zeros(0)
        i, j, k, l = self.stiff.T
        b = self._vector(positions, j, k)
        u, v = np.cross(self._vector(positions, i, j), b), np.cross(b, self._vector(positions, k, l))
        return np.einsum("ij,ij->i", u, v) / np.maximum(np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1), 1e-12)
