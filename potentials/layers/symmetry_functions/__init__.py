"""Atom-centred symmetry functions: G1 to G5, weighted ones, and ANI's atomic environment vectors."""
from potentials.layers.symmetry_functions.module import SymmetryFunctions
from potentials.layers.symmetry_functions.records import SymmetryFunction, largest_cutoff, of_centre

__all__ = ["SymmetryFunction", "SymmetryFunctions", "largest_cutoff", "of_centre"]
