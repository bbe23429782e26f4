r"""Vibrations about a minimum, whether it is one, and what they add to its energy.

The Hessian comes from central differences of the forces, all displaced structures in one batch. What moves or turns a structure as a whole is taken out
exactly before the frequencies are sought: six motions of a free molecule, five of a linear one, three of an atom and of a crystal; none where atoms are fixed.
What is left are the 3N - 6 (5, 3, 0) vibrations, never a small number that stands for a rotation.

.. math:: F_{harm} = \sum_q \tfrac12 h\nu_q + kT \ln(1 - e^{-h\nu_q/kT})
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from mdapp.relax.batch import BatchOptions, Evaluate, relax_batch
from mdapp.relax.pool import fixed_atoms, system_of
from mdapp.relax.single import Relaxed
from potentials.runtime.batch_evaluator import Item

DELTA = 0.01  # Å: the error of the differences (~ delta²) and the rounding of single precision (~ 1/delta) are about equal
NOISE_CM1 = 10.0  # at most, and where nothing tells it: an imaginary frequency below it is rounding or what is left of the forces, not a saddle
LEAST_NOISE_CM1 = 0.5
PUSH = 0.1  # Å, longest move of an atom along an imaginary mode
TOGETHER = 256  # displaced structures that are made at once
HNU = units._hbar * 1e10 / math.sqrt(units._e * units._amu)  # eV of a mode with a force constant of 1 eV/(Å² amu)


@dataclass(frozen=True)
class Modes:
    """Vibrations of one structure, softest first."""

    frequencies_cm1: np.ndarray  # (n_modes,); an imaginary frequency is a negative number
    modes: np.ndarray  # (n_modes, n_atoms, 3), displacements of length 1 (all atoms together)
    hessian: np.ndarray  # (3 n_atoms, 3 n_atoms), eV/Å², symmetric; rows and columns of fixed atoms are zero
    noise_cm1: float = NOISE_CM1

    @property
    def n_imaginary(self) -> int:
        """How many directions lead downhill; imaginary frequencies below `noise_cm1` are none."""
        return int(np.sum(self.frequencies_cm1 < -self.noise_cm1))

    @property
    def energies(self) -> np.ndarray:
        """hν of the real modes, eV."""
        return self.frequencies_cm1[self.frequencies_cm1 > 0] * units.invcm

    @property
    def zero_point_energy(self) -> float:
        """eV; imaginary modes have none."""
        return float(0.5 * self.energies.sum())


@dataclass(frozen=True)
class Minimum:
    """Where following the imaginary modes ended. It is a minimum where `modes.n_imaginary` is 0."""

    relaxed: Relaxed
    modes: Modes
    descents: int  # how often an imaginary mode was followed


def normal_modes(atoms: Atoms, evaluate: Evaluate | None = None, delta: float = DELTA, masses: np.ndarray | None = None) -> Modes:
    """Vibrations of a structure at rest.

    Parameters
    ----------
    atoms : at a minimum, or the frequencies mean little; not changed. Fixed atoms (FixAtoms) do not vibrate.
    evaluate : energies and forces of many structures; the structure's own calculator where not given. Best in double precision.
    delta : Å, of the finite differences.
    masses : (n_atoms,), amu; the structure's own where not given.

    Raises
    ------
    ValueError : no evaluator and no calculator; a force that is not finite; other constraints than fixed atoms.
    """
    masses = atoms.get_masses() if masses is None else np.asarray(masses, dtype=float)
    return modes_of(atoms, hessian_of(atoms, evaluate or _own(atoms), delta), masses)


def hessian_of(atoms: Atoms, evaluate: Evaluate, delta: float = DELTA) -> np.ndarray:
    """Second derivatives of the energy, (3 n_atoms, 3 n_atoms), eV/Å², by central differences of the forces: 6 evaluations a free atom."""
    if not (math.isfinite(delta) and delta > 0):
        raise ValueError(f"delta must be > 0 Å, got {delta}.")
    n, system = len(atoms), system_of(atoms)
    cell = np.array(atoms.cell.array) if atoms.pbc.any() else None
    free = np.flatnonzero(np.repeat(~fixed_atoms(atoms), 3))
    keys = [("hessian", k, sign) for k in free.tolist() for sign in (1, -1)]

    def items(chosen: list) -> Iterator[Item]:
        for name in chosen:
            positions = atoms.positions.copy()
            positions.flat[name[1]] += name[2] * delta
            yield Item(name, system, positions, cell)

    forget = getattr(evaluate, "forget", lambda key: None)
    forces = []
    for begin in range(0, len(keys), TOGETHER):
        chosen = keys[begin : begin + TOGETHER]
        forces += evaluate(list(items(chosen)))[1]
        for name in chosen:
            forget(name)
    hessian = np.zeros((3 * n, 3 * n))
    for row, k in enumerate(free.tolist()):
        hessian[k] = (forces[2 * row + 1] - forces[2 * row]).ravel() / (2 * delta)
    if not np.isfinite(hessian).all():
        raise ValueError("A force on a displaced structure is not finite: there are no frequencies here.")
    fixed = np.setdiff1d(np.arange(3 * n), free)
    hessian[:, fixed] = 0.0
    return 0.5 * (hessian + hessian.T)


def modes_of(atoms: Atoms, hessian: np.ndarray, masses: np.ndarray) -> Modes:
    """Frequencies and modes from second derivatives (3 n_atoms, 3 n_atoms), eV/Å², and masses (n_atoms,), amu."""
    weights = np.sqrt(np.repeat(masses, 3))
    outer = external_motions(atoms, masses)
    basis = _inner_motions(atoms, outer)  # (3 n_atoms, n_modes), mass-weighted
    weighted = hessian / np.outer(weights, weights)
    values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    moves = (basis @ vectors / weights[:, None]).T
    moves /= np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-300)
    return Modes(np.sign(values) * np.sqrt(np.abs(values)) * HNU / units.invcm, moves.reshape(-1, len(atoms), 3), hessian, _noise_cm1(weighted, outer))


def _noise_cm1(weighted: np.ndarray, outer: np.ndarray) -> float:
    """What rounding and forces that are not quite zero do to frequencies: three times those that they give to translations and rotations, which have none."""
    if not len(outer):
        return NOISE_CM1
    residue = float(np.abs(outer @ weighted @ outer.T).max())
    return min(max(3.0 * math.sqrt(residue) * HNU / units.invcm, LEAST_NOISE_CM1), NOISE_CM1)


def external_motions(atoms: Atoms, masses: np.ndarray) -> np.ndarray:
    """(n, 3 n_atoms) orthonormal, mass-weighted: translations, and rotations of what is not periodic; none where atoms are fixed."""
    n = len(atoms)
    if fixed_atoms(atoms).any():
        return np.zeros((0, 3 * n))
    root = np.sqrt(masses)[:, None]
    motions = [(root * axis).ravel() for axis in np.eye(3)]
    if not atoms.pbc.any():
        r = atoms.positions - np.average(atoms.positions, axis=0, weights=masses)
        motions += [(root * np.cross(axis, r)).ravel() for axis in np.linalg.eigh(r.T @ r)[1].T]
    norms = np.linalg.norm(motions, axis=1)
    scale = np.sqrt(masses.sum())
    kept = np.array([m / norm for m, norm in zip(motions, norms, strict=True) if norm > 1e-3 * scale])  # a linear molecule's third rotation moves nothing
    return np.linalg.qr(kept.T)[0].T


def _inner_motions(atoms: Atoms, outer: np.ndarray) -> np.ndarray:
    """(3 n_atoms, n_modes): an orthonormal basis of what is neither external nor fixed."""
    free = np.repeat(~fixed_atoms(atoms), 3)
    if not len(outer):
        return np.eye(len(free))[:, free]
    return np.linalg.svd(outer)[2][len(outer) :].T


def harmonic_free_energy(modes: Modes, temperature_K: float) -> float:
    """Helmholtz free energy of the vibrations (zero point included), eV, to be added to the energy of the minimum. Imaginary modes are left out.

    Raises
    ------
    ValueError : a temperature below 0.
    """
    if not (math.isfinite(temperature_K) and temperature_K >= 0):
        raise ValueError(f"temperature_K must be 0 or more, got {temperature_K}.")
    if temperature_K == 0:
        return modes.zero_point_energy
    kT = units.kB * temperature_K
    return modes.zero_point_energy + float(kT * np.log(-np.expm1(-modes.energies / kT)).sum())


def follow_imaginary(
    relaxed: Relaxed, evaluate: Evaluate, options: BatchOptions | None = None, modes: Modes | None = None, descents: int = 5, delta: float = DELTA
) -> Minimum:
    """From a point where the forces vanish down to a minimum: along the most imaginary mode, both ways, to the lower end, until no mode is imaginary.

    Parameters
    ----------
    relaxed : the point; not changed.
    options : of the relaxations that follow; defaults where not given.
    modes : of the point, where they are known.
    descents : how often at most; what is left of imaginary modes then is in the result.
    """
    modes = modes or normal_modes(relaxed.atoms, evaluate, delta)
    for k in range(descents):
        if modes.n_imaginary == 0:
            return Minimum(relaxed, modes, k)
        push = modes.modes[0] * PUSH / np.linalg.norm(modes.modes[0], axis=1).max()
        starts = []
        for sign in (1, -1):
            start = relaxed.atoms.copy()
            start.set_positions(start.positions + sign * push, apply_constraint=False)
            starts.append(start)
        ends = [end for _, end in relax_batch(starts, evaluate, options) if math.isfinite(end.energy)]
        if not ends:
            return Minimum(relaxed, modes, k)
        relaxed = min(ends, key=lambda end: end.energy)
        modes = normal_modes(relaxed.atoms, evaluate, delta)
    return Minimum(relaxed, modes, descents)


def _own(atoms: Atoms) -> Evaluate:
    from potentials.calculator import batch_evaluator

    if atoms.calc is None:
        raise ValueError("The structure has no calculator: set atoms.calc, or give an evaluator.")
    return batch_evaluator(atoms.calc)
