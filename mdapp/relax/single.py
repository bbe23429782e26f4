"""Local minima: positions, and the cell where asked, follow the forces downhill.

The optimisers are ASE's, and `internal`, which is ours. Ours too: the criterion is stated in the user's units (largest force on an atom, largest
stress component), one rule for all optimisers; what is not finite stops the search at once, with the last finite structure;
the structure handed in is left as it was. The cell is optimised together with the positions through the logarithm of the
deformation (ASE's `FrechetCellFilter`), at constant pressure: the quantity that falls is then the enthalpy E + pV.

ASE's own criterion for the cell divides the virial by the number of atoms, so that a large cell counts as relaxed under
several kbar; that is why the stress has a criterion of its own here.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, FIRE2, LBFGS, BFGSLineSearch
from ase.optimize.optimize import Optimizer
from ase.optimize.precon import PreconLBFGS

from mdapp.errors import EXIT_GUARD, UserError
from mdapp.relax._internal_ase import InternalCoordinates

OPTIMISERS: dict[str, type[Optimizer]] = {
    "lbfgs": LBFGS, "bfgs": BFGS, "bfgslinesearch": BFGSLineSearch, "fire": FIRE, "fire2": FIRE2, "preconditioned": PreconLBFGS,
    "internal": InternalCoordinates}
CELL_STAYS = ("preconditioned", "internal")
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # xx yy zz yz xz xy


class RelaxationFailed(UserError):
    """The potential gave a number that is not finite; `last` is the last structure that had finite energy and forces."""

    exit_code = EXIT_GUARD

    def __init__(self, message: str, last: Atoms | None):
        super().__init__(message)
        self.last = last


@dataclass(frozen=True)
class CellRelaxation:
    """What the cell may do while the positions relax."""

    pressure: float = 0.0  # eV/Å³, outside pressure, positive under compression
    mask: tuple[bool, bool, bool, bool, bool, bool] | None = None  # strain xx yy zz yz xz xy; None: all between periodic directions
    hydrostatic: bool = False  # one scale factor for the three directions
    constant_volume: bool = False
    stress_max: float = 3e-4  # eV/Å³ (0.05 GPa), largest stress component left


@dataclass(frozen=True)
class Relaxed:
    """Where a relaxation ended. `atoms` carries its own energy and forces and is independent of the potential."""

    atoms: Atoms
    converged: bool
    n_steps: int
    energy: float  # eV
    fmax: float  # eV/Å, largest force on an atom, constraints applied
    stress_max: float | None  # eV/Å³, largest component of stress + pressure that the cell may answer to; None: fixed cell
    reason: str  # why it ended, in words


def relax(
    atoms: Atoms,
    optimiser: str = "lbfgs",
    fmax: float = 0.01,
    steps: int = 1000,
    cell: CellRelaxation | None = None,
    on_step: Callable[[int, float, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Relaxed:
    """Follow the forces downhill to a minimum of the energy (of the enthalpy, where `cell` is given).

    Parameters
    ----------
    atoms : with a calculator; not changed. Its constraints hold, its velocities are dropped.
    optimiser : one of `OPTIMISERS`; lbfgs for most things, fire for rough starts, bfgslinesearch for tight minima, preconditioned (L-BFGS after
        Packwood et al. 2016) for a hundred atoms and more with their cell fixed, internal (L-BFGS in bonds, angles and torsions) for molecules that turn.
    fmax : eV/Å, largest force on an atom at the end.
    steps : most steps of the optimiser; 0 only evaluates.
    on_step : called with the step, the energy in eV and the largest force in eV/Å, the start (step 0) included.
    should_stop : asked after every step; true ends the search where it is.

    Raises
    ------
    ValueError : unknown optimiser, criterion or number of steps out of range, no calculator, a cell that cannot be relaxed.
    RelaxationFailed : energy, forces or positions became non-finite.
    """
    _check(atoms, optimiser, fmax, steps)
    moving = atoms.copy()
    moving.arrays.pop("momenta", None)
    moving.calc = atoms.calc
    if cell is not None and optimiser in CELL_STAYS:
        raise ValueError(f"The {optimiser} optimiser keeps the cell as it is: take another one to relax the cell.")
    mask = np.zeros(6, dtype=bool) if cell is None else _strain_mask(moving, cell)
    target: Any = moving if cell is None else FrechetCellFilter(
        moving, mask=mask, scalar_pressure=cell.pressure, hydrostatic_strain=cell.hydrostatic, constant_volume=cell.constant_volume)

    n_steps, reason, last = 0, "", None
    engine = OPTIMISERS[optimiser](target, logfile=None, **_precon(optimiser, len(moving)))
    if optimiser == "preconditioned":
        engine.func = _finite(engine.func)  # its line search never ends on a NaN
    search = engine.irun(fmax=0.0, steps=steps)  # fmax 0: the criterion below decides alone
    try:
        for n_steps, _ in enumerate(search):
            energy, force = moving.get_potential_energy(), largest_force(moving)
            if not (math.isfinite(energy) and math.isfinite(force)):
                raise _not_finite(n_steps, energy, force, last)
            stress = None if cell is None else _largest_stress(moving, cell, mask)
            if on_step is not None:
                on_step(n_steps, energy, force)
            if force <= fmax and (cell is None or stress is None or stress <= cell.stress_max):
                reason = "converged"
                break
            if should_stop is not None and should_stop():
                reason = "stopped from outside"
                break
            last = _keep(moving)
    except (RuntimeError, np.linalg.LinAlgError, FloatingPointError) as error:  # a line search or an eigenvalue problem that gave up
        if last is None:
            raise
        if isinstance(error, _NotFinite) or not np.all(np.isfinite(moving.positions)):
            raise _not_finite(n_steps, math.nan, math.nan, last) from error
        moving, reason = last, f"{optimiser} gave up: {error}"

    stress = None if cell is None else _largest_stress(moving, cell, mask)
    return Relaxed(
        atoms=_keep(moving), converged=reason == "converged", n_steps=n_steps, energy=moving.get_potential_energy(),
        fmax=largest_force(moving), stress_max=stress, reason=reason or f"{steps} steps were not enough")


class _NotFinite(FloatingPointError):
    """Within a line search an energy was not finite."""


def _finite(energy: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """The same function; it raises where its value is not finite."""

    def checked(x: np.ndarray) -> float:
        value = float(energy(x))
        if not math.isfinite(value):
            raise _NotFinite("the energy is not finite")
        return value

    return checked


def _precon(optimiser: str, n_atoms: int) -> dict[str, Any]:
    """ASE's preconditioner pays from a hundred atoms on; below, it is L-BFGS with a line search."""
    return {} if optimiser != "preconditioned" else {"precon": "Exp" if n_atoms >= 100 else None}


def largest_force(atoms: Atoms) -> float:
    """The longest force vector on an atom, eV/Å, constraints applied; 0 without atoms."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0))


def _check(atoms: Atoms, optimiser: str, fmax: float, steps: int) -> None:
    if optimiser not in OPTIMISERS:
        raise ValueError(f"No optimiser {optimiser!r}; known: {', '.join(OPTIMISERS)}.")
    if not (math.isfinite(fmax) and fmax > 0):
        raise ValueError(f"fmax must be > 0 eV/Å, got {fmax}.")
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, got {steps}.")
    if atoms.calc is None:
        raise ValueError("The structure has no calculator: set atoms.calc before relax(atoms).")


def _strain_mask(atoms: Atoms, cell: CellRelaxation) -> np.ndarray:
    """(6,) bool, the strains that the cell may make. A direction without periodicity has no stress that means anything."""
    allowed = np.array([atoms.pbc[a] and atoms.pbc[b] for a, b in VOIGT])
    wanted = allowed if cell.mask is None else np.array(cell.mask, dtype=bool)
    if wanted.shape != (6,):
        raise ValueError(f"The cell mask has {wanted.size} entries, expected 6: xx yy zz yz xz xy.")
    if not wanted.any():
        raise ValueError("Nothing of the cell is free to move: the structure is not periodic. Leave the cell fixed, or give it one.")
    if np.any(wanted & ~allowed):
        names = [name for name, bad in zip(("xx", "yy", "zz", "yz", "xz", "xy"), wanted & ~allowed, strict=True) if bad]
        raise ValueError(f"The cell cannot be strained along {', '.join(names)}: pbc is {atoms.pbc.tolist()}.")
    if cell.hydrostatic and not wanted[:3].all():
        raise ValueError("A hydrostatic cell relaxation needs three periodic directions.")
    try:
        atoms.get_stress()
    except (PropertyNotImplementedError, NotImplementedError) as error:
        why = str(error).rstrip(".") or "this potential gives no stress"
        raise ValueError(f"{why[0].upper()}{why[1:]}: relax with a fixed cell.") from None
    return wanted


def _largest_stress(atoms: Atoms, cell: CellRelaxation, mask: np.ndarray) -> float:
    """Largest component of stress + outside pressure among those that the cell may answer to, eV/Å³."""
    rest = atoms.get_stress() + cell.pressure * np.array([1, 1, 1, 0, 0, 0])
    mean = rest[:3].mean()
    if cell.hydrostatic:
        rest = np.array([mean, mean, mean, 0.0, 0.0, 0.0])
    if cell.constant_volume:
        rest = rest - mean * np.array([1, 1, 1, 0, 0, 0])
    return float(np.abs(rest[mask]).max())


def _keep(atoms: Atoms) -> Atoms:
    """A copy that holds its results as numbers, so that nothing that the potential does later can change it."""
    kept = atoms.copy()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(apply_constraint=False)}
    if "stress" in atoms.calc.results:
        results["stress"] = np.array(atoms.calc.results["stress"])
    kept.calc = SinglePointCalculator(kept, **results)
    return kept


def _not_finite(step: int, energy: float, force: float, last: Atoms | None) -> RelaxationFailed:
    what = "energy" if not math.isfinite(energy) else "largest force"
    advice = "Check the start for atoms on top of each other." if last is None else "The last finite structure is kept; try optimiser fire."
    return RelaxationFailed(f"Relaxation stopped at step {step}: the {what} is not finite ({energy} eV, {force} eV/Å). {advice}", last)
