"""A pool of structures on their way down: each with its own step and its own end, all evaluated together.

The pool asks for nothing itself. Whoever holds it evaluates what it `requests()`, in one batch with whatever else there is to evaluate, and hands
the numbers to `accept()`, which gives back the structures that have arrived. New ones may come in at any time:

    pool = RelaxationPool(fmax=0.01)
    pool.add("a", atoms)
    while pool:
        for finished in pool.accept(*evaluate(pool.requests())):
            ...

The rule for the end is that of `mdapp.relax.relax`: the largest force on an atom. A structure whose energy or forces are not finite ends with its
last finite positions, and the others do not notice.
"""
from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from mdapp.relax._fire import Fire
from mdapp.relax._internal import Internal
from mdapp.relax._lbfgs import Lbfgs
from mdapp.relax._ragged import Ragged
from mdapp.relax.single import Relaxed
from potentials.runtime.batch_evaluator import Item
from potentials.runtime.evaluator import System

POOL_OPTIMISERS = ("internal", "lbfgs", "fire")
RETRIES = {"internal": 3, "lbfgs": 3, "fire": 0}  # points in a row that are not finite and are taken back by half a step and less
NO_BONDS = np.zeros((0, 2), dtype=np.int64)  # atoms that are held do not go along with torsions


@dataclass(frozen=True)
class Finished:
    """A structure that left the pool."""

    key: Hashable
    relaxed: Relaxed
    evaluations: int


@dataclass
class _Member:
    """What is kept of a structure besides its row in the arrays."""

    key: Hashable
    atoms: Atoms  # as it came in
    system: System
    cell: np.ndarray | None
    steps: int = -1  # evaluations less one
    bonds: np.ndarray | None = None  # (n_bonds, 2), where known
    failures: int = 0  # points in a row that were not finite
    last: tuple[np.ndarray, float, np.ndarray] | None = None  # positions, energy, forces: the last finite ones


class RelaxationPool:
    """Structures that relax together.

    Parameters
    ----------
    optimiser : "internal" (L-BFGS in stretches, bends and torsions, for molecules: a fourth of the evaluations where chains turn), "lbfgs" (in the atoms' coordinates, from a
        model of the Hessian, with steps taken back where they go too far) or "fire" (ASE's, step for step).
    fmax : eV/Å, largest force on an atom at the end.
    steps : most steps of a structure; 0 only evaluates.
    max_step : Å, longest move of an atom in one step (fire: of all atoms of a structure together, as in ASE; internal: Å or radians, longest change of a coordinate).
    model : let lbfgs begin at a model of the Hessian where there are bonds; False: at a constant, as ASE does.

    Raises
    ------
    ValueError : unknown optimiser; a criterion, number or length out of range.
    """

    def __init__(self, optimiser: str = "lbfgs", fmax: float = 0.01, steps: int = 1000, max_step: float = 0.2, model: bool = True):
        if optimiser not in POOL_OPTIMISERS:
            raise ValueError(f"No optimiser {optimiser!r} for many structures; known: {', '.join(POOL_OPTIMISERS)}.")
        for name, value in (("fmax", fmax), ("max_step", max_step)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be > 0, got {value}.")
        if steps < 0:
            raise ValueError(f"steps must be 0 or more, got {steps}.")
        self.optimiser, self.fmax, self.steps = optimiser, fmax, steps
        self.evaluations = 0  # of all structures so far
        self._search = Internal(max_step) if optimiser == "internal" else Lbfgs(max_step, model) if optimiser == "lbfgs" else Fire(max_step)
        self._waiting: list[_Member] = []
        self._members: list[_Member] = []
        self._layout = Ragged(np.zeros(0, dtype=int))
        self._x = np.zeros((0, 3))
        self._free = np.zeros((0, 1))  # 0 for fixed atoms

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._members) + len(self._waiting)

    def keys(self) -> list[Hashable]:
        """Names of those on their way, in the order of `requests()`."""
        return [member.key for member in (*self._members, *self._waiting)]

    def positions(self) -> dict[Hashable, np.ndarray]:
        """Where those on their way have got to: the last positions with finite energy and forces, (n_atoms, 3), Å."""
        return {m.key: m.atoms.positions if m.last is None else m.last[0] for m in (*self._members, *self._waiting)}

    def __contains__(self, key: Hashable) -> bool:
        return any(member.key == key for member in (*self._members, *self._waiting))

    def add(self, key: Hashable, atoms: Atoms, bonds: np.ndarray | None = None) -> None:
        """Let a structure in; it is asked for at the next `requests()`. `atoms` is not changed and needs no calculator; of constraints it may have FixAtoms.

        Parameters
        ----------
        bonds : (n_bonds, 2), those that it will have when it has come down; read from where the atoms are when not given.

        Raises
        ------
        ValueError : no atoms, another constraint, or a key that is in the pool.
        """
        if len(atoms) == 0:
            raise ValueError("A structure without atoms cannot be relaxed.")
        fixed_atoms(atoms)
        if key in self:
            raise ValueError(f"{key!r} is relaxing already.")
        kept = atoms.copy()
        kept.arrays.pop("momenta", None)
        self._waiting.append(_Member(key, kept, system_of(atoms), np.array(atoms.cell.array) if atoms.pbc.any() else None, bonds=bonds))

    def drop(self, key: Hashable, reason: str) -> Finished | None:
        """Take a structure out before its end, with its last finite positions; None where it is not here. Not between `requests()` and `accept()`."""
        for member in list(self._waiting):
            if member.key == key:
                self._waiting.remove(member)
                return self._end(member, reason, False)
        for k, member in enumerate(self._members):
            if member.key == key:
                self._keep(np.arange(len(self._members)) != k)
                return self._end(member, reason, False)
        return None

    def requests(self) -> list[Item]:
        """The structures whose energy and forces are wanted now, one item each, those that are new at the end."""
        self._let_in()
        parts = np.split(self._x, self._layout.starts[1:]) if self._members else []
        return [Item(m.key, m.system, x, m.cell) for m, x in zip(self._members, parts, strict=True)]

    def accept(self, energies: np.ndarray, forces: Sequence[np.ndarray]) -> list[Finished]:
        """Take energies (n,), eV, and forces, n of (n_atoms, 3), eV/Å, in the order of the last `requests()`; give back those that have arrived."""
        if len(energies) != len(self._members) or len(forces) != len(self._members):
            raise ValueError(f"{len(energies)} energies and {len(forces)} forces for {len(self._members)} requests.")
        if not self._members:
            return []
        layout, e = self._layout, np.array(energies, dtype=float)
        f = np.concatenate([np.asarray(one, dtype=float).reshape(-1, 3) for one in forces])
        if len(f) != len(self._x):
            raise ValueError(f"Forces of {len(f)} atoms for requests of {len(self._x)} atoms.")
        self.evaluations += len(e)
        finite = np.isfinite(e) & np.isfinite(layout.sum(f))
        bad = layout.atoms_of(~finite)
        raw = np.where(bad[:, None], 0.0, f)
        e, f = np.where(finite, e, np.inf), raw * self._free
        ended = self._judge(e, raw, layout.longest(f), finite)
        stays = np.array([reason is None for reason, _ in ended])
        if stays.any():
            ahead = self._search.step(layout, self._x, e, f)
            self._x = np.where(self._free > 0, ahead, self._x)
        left = [self._end(m, reason, converged) for m, (reason, converged) in zip(self._members, ended, strict=True) if reason is not None]
        if not stays.all():
            self._keep(stays)
        return left

    def _judge(self, energies: np.ndarray, forces: np.ndarray, longest: np.ndarray, finite: np.ndarray) -> list[tuple[str | None, bool]]:
        """Of each member: why it ends, None while it goes on; and whether it has converged."""
        ended: list[tuple[str | None, bool]] = []
        for k, (m, start, count) in enumerate(zip(self._members, self._layout.starts.tolist(), self._layout.counts.tolist(), strict=True)):
            m.steps += 1
            if not finite[k]:
                m.failures += 1
                hopeless = m.last is None or m.failures > RETRIES[self.optimiser] or m.steps >= self.steps
                ended.append((f"the energy or a force is not finite at step {m.steps}" if hopeless else None, False))
                continue
            m.failures, m.last = 0, (self._x[start : start + count], float(energies[k]), forces[start : start + count])
            if longest[k] <= self.fmax:
                ended.append(("converged", True))
            else:
                ended.append((f"{self.steps} steps were not enough" if m.steps >= self.steps else None, False))
        return ended

    def _let_in(self) -> None:
        new, self._waiting = self._waiting, []
        if not new:
            return
        self._search.enter([m.system.numbers for m in new], [m.atoms.positions for m in new], [np.array(m.atoms.cell.array) for m in new],
                           [m.system.pbc for m in new], [NO_BONDS if m.atoms.constraints else m.bonds for m in new])
        self._members += new
        self._layout = Ragged(np.array([len(m.atoms) for m in self._members]))
        self._x = np.concatenate([self._x, *(m.atoms.positions for m in new)])
        self._free = np.concatenate([self._free, *(1.0 - fixed_atoms(m.atoms)[:, None] for m in new)])

    def _keep(self, stays: np.ndarray) -> None:
        at = self._layout.atoms_of(stays)
        self._search.leave(stays, at)
        self._members = [m for m, s in zip(self._members, stays.tolist(), strict=True) if s]
        self._layout, self._x, self._free = Ragged(self._layout.counts[stays]), self._x[at], self._free[at]

    def _end(self, member: _Member, reason: str, converged: bool) -> Finished:
        atoms = member.atoms.copy()
        if member.last is None:
            relaxed = Relaxed(atoms, False, max(member.steps, 0), math.nan, math.nan, None, reason)
        else:
            positions, energy, forces = member.last
            atoms.set_positions(positions, apply_constraint=False)
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces.copy())
            fmax = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
            relaxed = Relaxed(atoms, converged, member.steps, energy, fmax, None, reason)
        return Finished(member.key, relaxed, member.steps + 1)


def fixed_atoms(atoms: Atoms) -> np.ndarray:
    """(n_atoms,) bool.

    Raises
    ------
    ValueError : a constraint other than FixAtoms.
    """
    foreign = sorted({type(c).__name__ for c in atoms.constraints if not isinstance(c, FixAtoms)})
    if foreign:
        raise ValueError(f"Only fixed atoms can be held here, and this structure has {', '.join(foreign)}: relax it by itself.")
    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        fixed[constraint.index] = True
    return fixed


def system_of(atoms: Atoms) -> System:
    """What does not move: elements, periodicity, total charge and multiplicity (from `atoms.info`)."""
    charge, multiplicity = atoms.info.get("charge", 0.0), atoms.info.get("multiplicity", 1)
    return System(np.array(atoms.numbers), np.array(atoms.pbc), float(charge), float(multiplicity) - 1.0)
