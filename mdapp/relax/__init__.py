"""From structures to their nearest minima: one by one with ASE's optimisers, many in a batch, and whether the end is a minimum."""
from mdapp.relax.single import OPTIMISERS, CellRelaxation, RelaxationFailed, Relaxed, largest_force, relax

__all__ = ["OPTIMISERS", "CellRelaxation", "Relaxed", "RelaxationFailed", "largest_force", "relax"]
