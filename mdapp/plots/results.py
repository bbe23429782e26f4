"""Which figure belongs to which result: what `.plot()` of an observable draws."""
from __future__ import annotations

from functools import singledispatch

from matplotlib.figure import Figure

from mdapp.analysis.bond_statistics import BondStatistics
from mdapp.analysis.bonds import BondSeries
from mdapp.analysis.clusters import Clusters
from mdapp.analysis.contacts import ContactMap
from mdapp.analysis.density import Density
from mdapp.analysis.diffusion import Diffusion
from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.free_energy import FreeEnergySurface
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.infrared import Infrared
from mdapp.analysis.power_spectrum import PowerSpectrum
from mdapp.analysis.rdf import RadialDistribution
from mdapp.analysis.result import Result
from mdapp.analysis.rmsd import GyrationRadius, Rmsd
from mdapp.analysis.rmsf import Fluctuations
from mdapp.analysis.secondary_structure import SecondaryStructure
from mdapp.analysis.shape import EndToEnd
from mdapp.analysis.stability import DistanceHistogram
from mdapp.analysis.structure_factor import StructureFactor
from mdapp.analysis.thermo import Thermo
from mdapp.analysis.torsions import TorsionSeries
from mdapp.analysis.velocity_autocorrelation import VelocityAutocorrelation
from mdapp.plots import conformations, figures, motion, observables, structure


@singledispatch
def draw(found: Result) -> Figure:
    """The figure of a result, as a report shows it.

    Raises
    ------
    TypeError : a result that has no figure.
    """
    raise TypeError(f"There is no figure of {type(found).__name__}.")


for kind, function in (
    (Thermo, figures.dashboard), (BondSeries, figures.bonds), (Rmsd, figures.rmsd), (GyrationRadius, figures.gyration), (Ramachandran, figures.ramachandran),
    (EndToEnd, conformations.end_to_end), (Clusters, conformations.clusters), (ContactMap, conformations.contact_map), (TorsionSeries, conformations.torsions),
    (FreeEnergySurface, conformations.free_energy), (Fluctuations, observables.fluctuations), (HydrogenBonds, observables.hydrogen_bonds),
    (SecondaryStructure, observables.secondary_structure), (Density, observables.density), (RadialDistribution, observables.radial_distribution),
    (StructureFactor, structure.structure_factor), (BondStatistics, structure.bond_statistics), (DistanceHistogram, structure.distance_histogram),
    (Diffusion, motion.diffusion), (VelocityAutocorrelation, motion.velocity_autocorrelation), (PowerSpectrum, observables.power_spectrum), (Infrared, motion.infrared),
):  # fmt: skip
    draw.register(kind)(function)
