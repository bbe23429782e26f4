r"""The kinetic temperature in the middle of a step of Langevin dynamics, where it is right.

A BAOAB step draws thermal momenta in its middle; those that are stored, at its ends, lack what half a kick adds. Over a trajectory momenta and forces of
a whole step are not correlated, and what is missing is

.. math:: \Delta T = \frac{\Delta t^2}{4 N_f k_B} \sum_i \frac{\langle F_i^2 \rangle}{m_i}

which is :math:`T (\omega \Delta t)^2 / 4` for each harmonic mode: nothing at 0.5 fs, 14 K of 300 for a peptide at 2 fs with hydrogens of 3 amu, though its
configurations are at 300 K. A temperature is judged with it added.

B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013), for the averages of the splitting; Z. Zhang, X. Liu, K. Yan, M. E. Tuckerman and J. Liu,
J. Phys. Chem. A 123, 6056 (2019), for the momenta in its middle.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms, units
from ase.constraints import FixConstraint

from mdapp.analysis.statistics import Mean
from mdapp.frame import Frame

THERMAL_IN_THE_MIDDLE = ("nvt-langevin", "npt-langevin")


def midstep_excess_K(frames: Iterable[Frame], timestep_fs: float, constraints: Sequence[FixConstraint] = ()) -> float | None:
    """By how much the kinetic temperature in the middle of the steps is above that of whole steps, K; None without forces or motion.

    Parameters
    ----------
    frames : some of a run, anywhere along it.
    timestep_fs : of the integrator.
    constraints : atoms and bonds that the run held; a force against them moves nothing.
    """
    found = []
    for frame in frames:
        if frame.temperature_K <= 0 or not np.isfinite(frame.forces).all():
            continue
        pushes = frame.forces.copy()
        if constraints:
            moment = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, masses=frame.masses)
            for constraint in constraints:
                constraint.adjust_momenta(moment, pushes)
        degrees_times_kB = 2.0 * frame.kinetic_energy / frame.temperature_K
        found.append((timestep_fs * units.fs) ** 2 * float(np.einsum("ij,ij,i->", pushes, pushes, 1.0 / frame.masses)) / (4.0 * degrees_times_kB))
    return float(np.mean(found)) if found else None


def in_the_middle(mean: Mean | None, excess_K: float | None) -> Mean | None:
    """A mean temperature of whole steps as it is in their middle; the same where that is not known to differ."""
    return mean if mean is None or excess_K is None else replace(mean, value=mean.value + excess_K)


def middle_words(mean: Mean, excess_K: float | None) -> str:
    """", 299.3 K in the middle of the steps", where that differs from the temperature of whole steps by more than its error."""
    return f", {mean.value + excess_K:.1f} K in the middle of the steps" if excess_K is not None and excess_K > mean.error else ""
