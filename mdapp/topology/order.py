"""Atom order of a topology: as the structure came, or residue by residue.

MDTraj keeps atoms by residue: copies of a topology, its HDF5 form and its PDB writer list residue after residue, whatever the indices say.
A file of ours is therefore written in residue order beside the permutation that leads there; frames in memory keep the order of the input.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mdtraj


def in_residue_order(topology: mdtraj.Topology) -> tuple[mdtraj.Topology, np.ndarray]:
    """The topology residue by residue, and the order that leads there.

    Returns
    -------
    The topology, and (n_atoms,) int64: atom k of it is atom order[k] of the input, so `positions[order]` belongs to it.
    """
    order = np.array([atom.index for chain in topology.chains for residue in chain.residues for atom in sorted(residue.atoms, key=lambda a: a.index)],
                     dtype=np.int64)
    return reordered(topology, order), order


def reordered(topology: mdtraj.Topology, order: np.ndarray) -> mdtraj.Topology:
    """The same chains, residues and bonds, where atom k is atom order[k] of the given one.

    Atoms of a residue may end up apart; copy or slice such a topology only after `in_residue_order`.
    """
    from mdtraj import Topology

    result, residues = Topology(), {}
    for chain in topology.chains:
        new_chain = result.add_chain(chain_id=chain.chain_id)
        for residue in chain.residues:
            residues[residue.index] = result.add_residue(residue.name, new_chain, resSeq=residue.resSeq, segment_id=residue.segment_id)
    old_atoms = list(topology._atoms)  # by index: `atoms` would go by residue
    new_atoms = {}
    for old in np.asarray(order).tolist():
        atom = old_atoms[old]
        new_atoms[old] = result.add_atom(atom.name, atom.element, residues[atom.residue.index])
    for bond in topology.bonds:
        result.add_bond(new_atoms[bond.atom1.index], new_atoms[bond.atom2.index])
    return result
