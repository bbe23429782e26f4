"""From structures to their nearest minima: one by one with ASE's optimisers, many in a batch, and whether the end is a minimum."""
from mdapp.relax.batch import BatchOptions, relax_batch
from mdapp.relax.pool import Finished, RelaxationPool
from mdapp.relax.single import OPTIMISERS, CellRelaxation, RelaxationFailed, Relaxed, largest_force, relax

__all__ = [
    "OPTIMISERS", "BatchOptions", "CellRelaxation", "Finished", "Relaxed", "RelaxationFailed", "RelaxationPool", "largest_force", "relax", "relax_batch",
]
