r"""Is the start strained? What a structure holds above its minimum turns into heat within the first femtoseconds, and guards would blame the potential.

Two signs. Peptide bonds that are far from flat fall to cis or to trans by chance. And the forces of a structure tell how hot it is, by the configurational temperature

.. math:: k_B T = \frac{\sum_i F_i^2}{\nabla^2 V},

which is that of the ensemble for structures taken from one, and zero at a minimum; the Laplacian is found from forces a small random displacement away (Hutchinson's estimate
of a trace). Forces alone would not do: 4 eV/Å is usual for the worst atom of a molecule at 300 K.

H. H. Rugh, Phys. Rev. Lett. 78, 772 (1997); B. D. Butler et al., J. Chem. Phys. 109, 6519 (1998).
"""
from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units

from mdapp.jobs._failure import atoms_in_words
from mdapp.monitors._graph import dihedral_cosines, peptide_bonds
from mdapp.monitors.peptide_bond import ON_NO_SIDE_DEG

if TYPE_CHECKING:
    from mdapp.jobs._start import Start

QUIET = 3.0  # eV/Å; where no force is larger nothing is asked
PROBE_A = 0.005  # displacement of each coordinate
PROBED = 100  # atoms in all probes together: the estimate is good to a tenth
HOT, ROOM_K = 3.0, 300.0  # times the target, or room temperature where that is higher; thermal starts of 9 to 60 atoms were found within 1.9


def strain_words(start: Start) -> tuple[str, ...]:
    """One warning with what is known of the start's strain and what to do; empty for a start that is as it should be."""
    found = [words for words in (_heat(start), _twist(start)) if words]
    if not found:
        return ()
    potentials = " ".join(shlex.quote(str(word)) for word in start.config.potential)
    return (f"The start is strained: {', and '.join(found)}. Relax it first with `mdapp relax {shlex.quote(str(start.config.structure))} -p {potentials}`.",)


def configurational_temperature_K(atoms: Atoms, seed: int = 0) -> float:
    """K; NaN where the energy does not curve upwards or the potential gives no finite forces nearby. The atoms are left as they were.

    Parameters
    ----------
    atoms : with a calculator.
    """
    rng, positions = np.random.default_rng(seed), atoms.positions.copy()
    forces = atoms.get_forces(apply_constraint=False)
    probes = []
    try:
        for _ in range(math.ceil(PROBED / len(atoms))):
            signs = rng.choice((-1.0, 1.0), size=positions.shape)
            atoms.positions = positions + PROBE_A * signs
            probes.append(float(np.sum(signs * (forces - atoms.get_forces(apply_constraint=False)))) / PROBE_A)
    finally:
        atoms.positions = positions
    laplacian = float(np.mean(probes))  # eV/Å²
    return float(np.sum(forces * forces)) / laplacian / units.kB if laplacian > 0 else math.nan


def _heat(start: Start) -> str:
    if start.largest_force < QUIET or any("start is strained" in warning for warning in start.warnings):
        return ""
    try:
        found = configurational_temperature_K(start.atoms)
    except Exception:  # a displaced structure is no reason to refuse the one that was given
        return ""
    if not found > HOT * max(start.config.temperature, ROOM_K):
        return ""
    return f"its forces (the largest {start.largest_force:.2g} eV/Å) are those of a structure at {found:.0f} K and will heat the run"


def _twist(start: Start) -> str:
    bonds = peptide_bonds(start.atoms.numbers, start.bonds)  # (n_bonds, 4)
    if not len(bonds):
        return ""
    twists = np.degrees(np.arccos(np.clip(np.abs(dihedral_cosines(start.atoms, bonds)), 0.0, 1.0)))  # (n_bonds,) 0 flat, 90 on the barrier
    if twists.max() <= ON_NO_SIDE_DEG:
        return ""
    worst, others = int(twists.argmax()), int((twists > ON_NO_SIDE_DEG).sum()) - 1
    names = " - ".join(f"{a['name']} ({a['element']}{a['index']})" if "name" in a else f"{a['element']}{a['index']}" for a in atoms_in_words(bonds[worst, 1:3], start))
    more = f", {others} more beyond {ON_NO_SIDE_DEG:g}°," if others else ""
    return f"peptide bond {names} is twisted by {twists[worst]:.0f}° from flat{more} and will fall to cis or trans by chance (thermal twists reach 30°)"
