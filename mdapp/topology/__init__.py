"""Bonds, molecules, residues and backbone of a structure."""
from mdapp.topology.bonds import find_bonds, molecules
from mdapp.topology.mdtraj_topology import phi_psi, topology_of, write_pdb
from mdapp.topology.order import in_residue_order, reordered

__all__ = ["find_bonds", "in_residue_order", "molecules", "phi_psi", "reordered", "topology_of", "write_pdb"]
