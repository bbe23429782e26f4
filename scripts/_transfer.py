"""A proton on its way from one oxygen of a molecule to the other: is the energy along the path smooth?

Both ends are relaxed by the potential itself; the path is the straight line between them, atom by atom. Where a methyl group stands otherwise at the other end,
that line pulls its hydrogens through each other, which is no path of a proton: of several starts the lowest path is taken. With s from 0 to 1 in n steps, the second
differences of E(s) are its curvature. Of a smooth curve, neighbours among them differ the less the closer they are: what is left of the largest jump
when it is extrapolated to steps of no length is a kink (a pair that leaves the cutoff, a rough spline). And a potential whose forces are not its
gradient shows as a slope that is not -F dr/ds.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mdapp.relax import relax

OH = 1.02  # Å, to begin the relaxation of the other end with


@dataclass(frozen=True)
class Transfer:
    """The energy along the path."""

    energy: np.ndarray  # (n + 1,) eV, from the first end
    barrier_meV: float  # highest point above the first end
    extrema: int  # turning points between the ends; 1: one barrier
    kink: float  # largest jump of the curvature, extrapolated to steps of no length, as a part of the curvature's range; 0 is smooth
    slope_error_meV: float  # largest |dE/ds + F dr/ds|, meV for s from 0 to 1


def proton_transfer(start: Atoms, calculator: Calculator, steps: int = 400, fmax: float = 0.005) -> Transfer:
    """Relax `start`, move its hydroxyl proton to the other oxygen, relax, and evaluate the straight line between the two.

    Raises
    ------
    ValueError : not two oxygens, or no hydrogen on one of them.
    """
    start = Atoms(start.numbers, start.positions, calculator=calculator)
    oxygens = np.flatnonzero(start.numbers == 8)
    if len(oxygens) != 2:
        raise ValueError(f"A proton transfer needs a molecule with two oxygens; {start.symbols} has {len(oxygens)}.")
    first = relax(start, fmax=fmax, steps=2000).atoms
    hydrogens = np.flatnonzero(first.numbers == 1)
    d = np.linalg.norm(first.positions[hydrogens, None] - first.positions[None, oxygens], axis=2)  # (n_hydrogens, 2)
    proton, donor = hydrogens[np.unravel_index(d.argmin(), d.shape)[0]], oxygens[np.unravel_index(d.argmin(), d.shape)[1]]
    if d.min() > 1.3:
        raise ValueError(f"No hydrogen sits on an oxygen of {start.symbols}: the nearest is {d.min():.2f} Å away.")
    acceptor = oxygens[oxygens != donor][0]
    moved = Atoms(first.numbers, first.positions, calculator=calculator)
    to = moved.positions[donor] - moved.positions[acceptor]
    moved.positions[proton] = moved.positions[acceptor] + OH * to / np.linalg.norm(to)
    last = relax(moved, fmax=fmax, steps=2000).atoms
    return along(first, last, calculator, steps)


def lowest_transfer(starts: Sequence[Atoms], calculator: Calculator, steps: int = 400) -> Transfer:
    """The path of lowest barrier among those from these starts.

    Raises
    ------
    ValueError : as `proton_transfer`, where no start has a path.
    """
    found, refused = [], None
    for start in starts:
        try:
            found.append(proton_transfer(start, calculator, steps))
        except ValueError as error:
            refused = error
    if not found:
        raise refused or ValueError("A proton transfer needs a start.")
    return min(found, key=lambda path: path.barrier_meV)


def along(first: Atoms, last: Atoms, calculator: Calculator, steps: int) -> Transfer:
    """The straight line from one structure to another, (steps + 1) points; an even number of steps."""
    path = last.positions - first.positions
    atoms = Atoms(first.numbers, first.positions, calculator=calculator)
    energy, slope = [], []
    for s in np.linspace(0, 1, steps + 1):
        atoms.positions = first.positions + s * path
        energy.append(atoms.get_potential_energy())
        slope.append(-float(np.sum(atoms.get_forces() * path)))
    E, dE = np.array(energy) - energy[0], np.array(slope)
    fine, coarse = np.diff(E, 2) * steps**2, np.diff(E[::2], 2) * (steps / 2) ** 2
    kink = max(0.0, 2 * np.abs(np.diff(fine)).max() - np.abs(np.diff(coarse)).max()) / np.ptp(fine)
    h = 1 / steps
    inner = (8 * (E[3:-1] - E[1:-3]) - (E[4:] - E[:-4])) / (12 * h)  # of fourth order: what is left is the potential's own
    signs = np.sign(dE[np.abs(dE) > 1e-3])
    return Transfer(E, 1000 * float(E.max()), int(np.sum(signs[1:] != signs[:-1])), float(kink),
                    1000 * float(np.abs(inner - dE[2:-2]).max()))  # fmt: skip
