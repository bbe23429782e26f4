"""Units taken for others: lengths seen from nearest neighbours, energies from total energies of atoms, forces from their size."""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from potentials.data.cleaning.checks.energies import usable
from potentials.data.cleaning.finding import Finding
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable
from potentials.data.units import BOHR, ENERGIES, HARTREE

NOBLE = (2, 10, 18, 36, 54, 86)  # not bound by covalent radii
ENOUGH = 10
# Total energies of neutral atoms, hartree (non-relativistic; A. Thakkar and T. Koga, J. Chem. Phys. 1996-2010, to the percent
# that any all-electron method keeps), H to Ar.
ATOMS = (0.0, -0.5, -2.90, -7.48, -14.67, -24.65, -37.84, -54.59, -75.07, -99.73, -128.94, -162.25, -200.05, -242.35, -289.36, -341.26, -398.11, -460.15,
         -527.54)  # fmt: skip
UNITS = {"hartree": 1 / HARTREE, "kcal/mol": 1 / ENERGIES["kcal/mol"], "kJ/mol": 1 / ENERGIES["kJ/mol"]}


def lengths(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Median distance to the nearest atom over the sum of covalent radii: near 1 for molecules, metals and salts; 1.89 for bohr taken for Å."""
    noble = table.compositions[:, np.isin(table.elements, NOBLE)].sum(axis=1) > 0
    for file, name in enumerate(table.files):
        frames = (table.file == file) & np.isfinite(table.nearest) & (table.n_atoms > 2) & ~noble[table.composition]
        if not frames.any():
            continue
        ratio = float(np.median(table.nearest[frames]))
        if 1 / settings.unit_lengths < ratio < settings.unit_lengths:
            continue
        meaning = "look at the positions"
        for unit, size in (("bohr taken for Å", 1 / BOHR), ("Å taken for bohr", BOHR), ("nm taken for Å", 0.1), ("pm taken for Å", 100.0)):
            if abs(np.log(ratio / size)) < 0.25:
                meaning = unit
        yield Finding("unit of length", f"{name}: nearest atoms stand at {ratio:.2f} times the sum of their covalent radii, where 1 is usual: {meaning}.",
                      threshold=settings.unit_lengths, files=(file,))


def total_energies(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Energies over the total energies of the atoms: 1 for all-electron totals in eV, 1/27.2 where they are in hartree, and so on."""
    light = table.elements < len(ATOMS)
    reference = table.compositions @ np.array([ATOMS[z] if z < len(ATOMS) else 0.0 for z in table.elements]) * HARTREE  # (n_compositions,) eV
    known = ~(table.compositions[:, ~light].sum(axis=1) > 0)
    for file, name in enumerate(table.files):
        frames = usable(table) & (table.file == file) & known[table.composition] & (table.compositions[:, table.elements > 1].sum(axis=1) > 0)[table.composition]
        if not frames.any():
            continue
        ratio = float(np.median(table.energy[frames] / reference[table.composition[frames]]))
        for unit, size in UNITS.items():
            if abs(ratio / size - 1) < 0.015:
                yield Finding("unit of energy", f"{name}: energies are {ratio:.4g} times the total energies of their atoms in eV, as total energies in {unit} would be.",
                              threshold=0.015, files=(file,))


def force_scale(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Forces of a whole file larger than any sample in eV/Å has."""
    for file, name in enumerate(table.files):
        frames = (table.file == file) & np.isfinite(table.rms_force)
        if frames.sum() < ENOUGH:
            continue
        rms = float(np.median(table.rms_force[frames]))
        if rms > settings.rms_force:
            yield Finding("unit of force", f"{name}: forces are {rms:.3g} eV/Å by component in the median frame, where thermal samples have about 0.3 to 2: "
                          "kcal/mol/Å taken for eV/Å would do that.", threshold=settings.rms_force, files=(file,))
