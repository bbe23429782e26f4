"""Saddles between two minima: a path (`band`), each of its tops refined (`eigenvector` or `dimer`), each find proved.

A saddle is one when the force is small, the Hessian has exactly one negative eigenvalue, and the two ways down along its mode end in two minima. Which
minima these are is found out, not assumed: a path may pass through others, and then its saddles join those.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mdapp.minima.identity import Identity
from mdapp.minima.landscape.alignment import align
from mdapp.minima.landscape.band import Band, BandOptions, find_path
from mdapp.minima.landscape.charts import InternalChart, internals_for
from mdapp.minima.landscape.dimer import dimer
from mdapp.minima.landscape.eigenvector import Climbed, FollowOptions, follow
from mdapp.minima.landscape.rotors import turning_ends, without_turning
from mdapp.minima.landscape.surface import Surface
from mdapp.relax import BatchOptions, relax_batch
from mdapp.relax.internals import Internals


@dataclass(frozen=True)
class SaddleOptions:
    """How saddles are looked for and proved."""

    band: BandOptions = field(default_factory=BandOptions)
    follow: FollowOptions = field(default_factory=FollowOptions)
    method: Literal["eigenvector", "dimer"] = "eigenvector"
    push: float = 0.1  # Å, of the atom that moves most along the mode, where the ways down begin
    fmax: float = 0.01  # eV/Å, at the ends of the ways down
    steps: int = 500  # of a way down
    most_rise: float = 0.5  # eV, of a saddle above its path
    most_tops: int = 3  # of one path that are refined, the highest first

    def __post_init__(self) -> None:
        if self.method not in ("eigenvector", "dimer"):
            raise ValueError(f"method must be eigenvector or dimer, got '{self.method}'.")
        if not (self.push > 0 and self.fmax > 0 and self.most_tops > 0):
            raise ValueError("push, fmax and most_tops must be > 0.")


@dataclass(frozen=True)
class Saddle:
    """A saddle of first order and the two minima below it."""

    positions: np.ndarray  # (n_atoms, 3), Å
    energy: float  # eV
    fmax: float  # eV/Å
    frequencies_cm1: np.ndarray  # (n_inner,), ascending; the first is imaginary and written negative
    ends: np.ndarray  # (2, n_atoms, 3), Å
    end_energies: np.ndarray  # (2,), eV


@dataclass(frozen=True)
class Crossed:
    """What came of a pair of minima."""

    saddles: tuple[Saddle, ...]
    reasons: tuple[str, ...]  # why there are not more, one sentence each
    path: Band | None
    evaluations: int


def saddles_between(surface: Surface, identity: Identity, a: np.ndarray, b: np.ndarray, options: SaddleOptions | None = None) -> Crossed:
    """Look for the saddles on a path between two minima (n_atoms, 3), Å. What fails is told in `reasons`, nothing is raised for it.

    Where a path falls from one end to the other, its saddle is looked for beside the higher end, uphill along the path. Methyls that turn on the way are let down
    first (`rotors`). Where what was found does not lead from one end to the other, the tops are tried as they are, and then both flanks of the highest.
    """
    options = options or SaddleOptions()
    before = surface.evaluations
    aligned = align(identity, a, b)
    if aligned is None:
        return Crossed((), ("no path leads from one to the other without breaking bonds",), None, 0)
    try:
        internals = internals_for(identity.numbers, identity.bonds, a, b)
        path = find_path(surface, a, aligned.positions, options.band, internals)
    except (ValueError, FloatingPointError) as error:
        return Crossed((), (str(error).rstrip("."),), None, surface.evaluations - before)
    tops, reasons = path.tops(), []
    found: list[Saddle] = []
    first = tops[: options.most_tops] or [path.shoulder()]
    ends = turning_ends(identity)
    ways = (ends, None) if len(ends) else (None,)
    attempts = [(k, way) for way in ways for k in first] + [(k, way) for k in path.flanks(first[0]) for way in ways]
    for number, (top, way) in enumerate(attempts):
        if number >= len(first) and joined(identity, [a, aligned.positions], found):
            break
        saddle = _from_top(surface, path, top, way, options, internals)
        if saddle is None:
            continue
        if isinstance(saddle, str):
            reasons.append(saddle)
        elif saddle.energy > path.energies.max() + options.most_rise:
            reasons.append(f"a saddle {saddle.energy - path.energies.max():.2f} eV above the path belongs to another one")
        elif any(abs(saddle.energy - other.energy) < 2e-3 and identity.same(saddle.positions, other.positions) for other in found):
            reasons.append("two tops of the path led to one saddle")
        else:
            found.append(saddle)
    return Crossed(tuple(found), tuple(reasons), path, surface.evaluations - before)


def _from_top(surface: Surface, path: Band, top: int, ends: np.ndarray | None, options: SaddleOptions, internals: Internals | None) -> Saddle | str | None:
    """The saddle near an image of a path; with `ends` these are let down before, None where nothing else is on its way."""
    begin = (path.positions[top], path.tangent(top))
    if ends is not None:
        try:
            let_down = without_turning(surface, *begin, ends)
        except FloatingPointError as error:
            return str(error)
        if let_down is None:
            return None
        begin = let_down
    return refined(surface, *begin, options, internals)


def joined(identity: Identity, ends: list[np.ndarray], saddles: list[Saddle]) -> bool:
    """Does a way over these saddles lead from the one of two minima to the other? Minima between them count."""
    reached, left = [ends[0]], list(saddles)
    while True:
        for k, saddle in enumerate(left):
            here = [any(identity.same(x, known) for known in reached) for x in saddle.ends]
            if any(here):
                reached += [x for x, there in zip(saddle.ends, here) if not there]
                del left[k]
                break
        else:
            return any(identity.same(ends[1], known) for known in reached)


def refined(surface: Surface, positions: np.ndarray, direction: np.ndarray, options: SaddleOptions, internals: Internals | None = None) -> Saddle | str:
    """The saddle near positions (n_atoms, 3), proved; or why there is none. With `internals` the climb goes along turns."""
    try:
        if options.method == "dimer":
            climbed = dimer(surface, positions, direction, options.follow)
        else:
            chart = None if internals is None or internals.straight(positions[None])[0] else InternalChart(internals, positions)
            climbed = follow(surface, positions, direction, options.follow, chart)
    except FloatingPointError as error:
        return f"{options.method} search: {error}"
    if not climbed.converged:
        return f"{options.method} search: {climbed.reason}"
    return proved(surface, climbed, options)


def proved(surface: Surface, climbed: Climbed, options: SaddleOptions) -> Saddle | str:
    """Slide down both sides of a saddle and keep what was found; or say what is wrong with it."""
    if climbed.n_negative != 1:
        return f"{climbed.n_negative} negative eigenvalues in place of one"
    step = options.push * climbed.mode / np.linalg.norm(climbed.mode, axis=1).max()
    starts = []
    for side in (1.0, -1.0):
        atoms = surface.atoms.copy()
        atoms.positions = climbed.positions + side * step
        starts.append(atoms)
    ends = dict(relax_batch(starts, surface.evaluate, BatchOptions("internal", fmax=options.fmax, steps=options.steps, max_step=0.1)))
    for end in ends.values():
        if not end.converged:
            return f"a way down from the saddle did not arrive: {end.reason}"
        if end.energy >= climbed.energy:
            return "a way down from the saddle led up"
    frequencies = surface.frequencies_cm1(climbed.positions, climbed.hessian)
    return Saddle(climbed.positions, climbed.energy, climbed.fmax, frequencies, np.stack([ends[k].atoms.positions for k in (0, 1)]),
                  np.array([ends[k].energy for k in (0, 1)]))
