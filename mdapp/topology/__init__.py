"""Bonds, molecules, residues and backbone of a structure."""
from mdapp.topology.bonds import find_bonds, molecules
from mdapp.topology.mdtraj_topology import phi_psi, topology_of, write_pdb
from mdapp.topology.order import in_residue_order, reordered
from mdapp.topology.states import ResidueState, residue_states

__all__ = ["ResidueState", "find_bonds", "in_residue_order", "molecules", "phi_psi", "reordered", "residue_states", "topology_of", "write_pdb"]
