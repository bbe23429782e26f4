"""From structures to their nearest minima: one by one with ASE's optimisers, many in a batch, and whether the end is a minimum."""
from mdapp.relax.batch import BatchOptions, relax_batch
from mdapp.relax.pool import Finished, RelaxationPool
from mdapp.relax.single import OPTIMISERS, CellRelaxation, RelaxationFailed, Relaxed, largest_force, relax
from mdapp.relax.vibrations import Minimum, Modes, follow_imaginary, harmonic_free_energy, normal_modes

__all__ = [
    "OPTIMISERS", "BatchOptions", "CellRelaxation", "Finished", "Minimum", "Modes", "Relaxed", "RelaxationFailed", "RelaxationPool", "follow_imaginary",
    "harmonic_free_energy", "largest_force", "normal_modes", "relax", "relax_batch",
]
