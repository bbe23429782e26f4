"""From near a saddle to the saddle: eigenvector following in the partitioned rational-function step (P-RFO).

Along one mode of the Hessian the energy is climbed, along all others it is descended. The Hessian is made once by finite differences (one
batch), carried on by Bofill's update, and made anew where the steps no longer do what it foretells. Shifts and rotations of the whole are
projected out. Where a chart of internal coordinates is given, steps go along turns (`charts`); the end is proved by the atoms' own Hessian in any case.

J. Simons, P. Jorgensen, H. Taylor and J. Ozment, J. Phys. Chem. 87, 2745 (1983); J. Baker, J. Comput. Chem. 7, 385 (1986), Eqs. 7-9;
J. M. Bofill, J. Comput. Chem. 15, 1 (1994) (update).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdapp.minima.landscape.charts import CartesianChart, Chart
from mdapp.minima.landscape.surface import Surface, lowest_modes


TRUSTED, REFUSED = 0.3, 1.5  # what a step's gradient is off from what the Hessian foretold, over the gradient before: longer steps; not taken


@dataclass(frozen=True)
class FollowOptions:
    """When a saddle counts as found, and how far a step may go."""

    fmax: float = 0.01  # eV/Å, largest force on an atom at the end
    steps: int = 80
    trust: float = 0.1  # Å, longest step at first (norm over all coordinates)
    most_trust: float = 0.4  # Å
    least_trust: float = 0.01  # Å; a step so short is taken whatever comes of it
    fresh: int = 15  # steps after which the Hessian is made anew at the latest
    most_rise: float = 2.0  # eV above the start, where the search is given up

    def __post_init__(self) -> None:
        for name in ("fmax", "trust", "most_trust", "least_trust", "most_rise"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}.")


@dataclass(frozen=True)
class Climbed:
    """Where the search for a saddle ended."""

    positions: np.ndarray  # (n_atoms, 3), Å
    energy: float  # eV
    fmax: float  # eV/Å
    eigenvalues: np.ndarray  # (n_inner,), eV/Å², ascending, of a Hessian made at `positions`
    mode: np.ndarray  # (n_atoms, 3), of length one: the lowest eigenvector
    hessian: np.ndarray  # (3 n_atoms, 3 n_atoms), eV/Å²
    converged: bool  # force small and exactly one negative eigenvalue
    steps: int
    reason: str

    @property
    def n_negative(self) -> int:
        return int(np.sum(self.eigenvalues < 0))


def follow(surface: Surface, positions: np.ndarray, direction: np.ndarray | None = None, options: FollowOptions = FollowOptions(),
           chart: Chart | None = None) -> Climbed:
    """Climb to a saddle of first order.

    Parameters
    ----------
    positions : (n_atoms, 3), Å, near a saddle, such as the top of a band.
    direction : (n_atoms, 3), roughly along the path; of the modes that go down (the three lowest, where none
        does) the one that it overlaps with most is climbed. The lowest one where not given.
    chart : the coordinates of the steps; the atoms' own where not given. `trust` and its bounds are in the atoms' coordinates, `chart.reach` times that in others.
    """
    x, chart = positions.copy(), chart or CartesianChart(surface)
    energies, forces = surface(x[None])
    energy, force = float(energies[0]), forces[0]
    gradient = chart.gradient(x, force)
    of_atoms, age, trust = surface.hessian(x), 0, chart.reach * options.trust
    hessian = chart.hessian(x, of_atoms)
    most_trust, least_trust = chart.reach * options.most_trust, chart.reach * options.least_trust
    followed = None if direction is None else _unit(chart.along(x, direction))
    began, reason, step = energy, f"{options.steps} steps were not enough", 0
    for step in range(options.steps + 1):
        inner = chart.inner(x)
        if _longest(force) <= options.fmax:
            if age:
                of_atoms, age = surface.hessian(x), 0
                hessian = chart.hessian(x, of_atoms)
            values, _ = lowest_modes(of_atoms, surface.inner(x))
            if np.sum(values < 0) == 1:
                reason = "converged"
                break
            followed = None  # at rest on a point of another order: climb the lowest mode from here
            if np.all(values > 0):
                reason = "came down to a minimum"
                break
        if energy > began + options.most_rise:
            reason = f"it climbed {energy - began:.2g} eV, to another mountain"
            break
        if step == options.steps:
            break
        values, vectors = lowest_modes(hessian, inner)
        soft = np.flatnonzero(values < 0) if values[0] < 0 else np.arange(min(3, len(values)))  # a stiff mode leads to another mountain
        climbed = 0 if followed is None else int(soft[np.argmax(np.abs(vectors[:, soft].T @ followed))])
        ahead = chart.moved(x, _prfo(values, vectors, gradient, climbed, trust))
        move = chart.difference(x, ahead)
        energies, forces = surface(ahead[None])
        if not (np.isfinite(energies[0]) and np.all(np.isfinite(forces))):
            reason = "an energy or a force is not finite"
            break
        new_gradient = chart.gradient(ahead, forces[0])
        inner = chart.inner(ahead)
        off = np.linalg.norm(inner.T @ (new_gradient - gradient - hessian @ move)) / max(np.linalg.norm(inner.T @ gradient), options.fmax)
        length = float(np.linalg.norm(move))
        if off > REFUSED and length > least_trust:  # a straight step along an arc stretches bonds: a shorter one does so much less
            trust = max(0.4 * length, least_trust)
            continue
        trust = min(1.5 * trust, most_trust) if off < TRUSTED else max(0.7 * trust, least_trust) if off > 0.5 * REFUSED else trust
        followed = vectors[:, climbed]
        kept = _updated(hessian, move, new_gradient - gradient)
        x, energy, force, gradient, age = ahead, float(energies[0]), forces[0], new_gradient, age + 1
        if age >= options.fresh or (off > 0.5 * REFUSED and age >= 5):
            of_atoms, age = surface.hessian(x), 0
            hessian = chart.hessian(x, of_atoms)
        else:
            hessian = kept
    if age and reason != "an energy or a force is not finite":
        of_atoms = surface.hessian(x)
    values, vectors = lowest_modes(of_atoms, surface.inner(x))
    return Climbed(x, energy, _longest(force), values, vectors[:, 0].reshape(x.shape), of_atoms, reason == "converged", step, reason)


def _prfo(values: np.ndarray, vectors: np.ndarray, gradient: np.ndarray, climbed: int, trust: float) -> np.ndarray:
    """The step (3 n_atoms,), Å, no longer than `trust`."""
    g = vectors.T @ gradient
    up = (values[climbed] + np.sqrt(values[climbed] ** 2 + 4 * g[climbed] ** 2)) / 2
    rest = np.arange(len(values)) != climbed
    down = _lowest_root(values[rest], g[rest]) if rest.any() else 0.0
    shift = np.where(rest, down, up)
    step = -g / np.where(np.abs(values - shift) < 1e-8, np.where(rest, 1e-8, -1e-8), values - shift)
    length = np.linalg.norm(step)
    if length > trust:
        step *= trust / length
    return vectors @ step


def _lowest_root(values: np.ndarray, g: np.ndarray) -> float:
    """The lowest eigenvalue of the rational-function matrix of the modes that are descended: at most 0 and below all of `values`."""
    matrix = np.zeros((len(values) + 1, len(values) + 1))
    matrix[np.arange(len(values)), np.arange(len(values))] = values
    matrix[-1, :-1] = matrix[:-1, -1] = g
    return float(np.linalg.eigvalsh(matrix)[0])


def _updated(hessian: np.ndarray, move: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Bofill's mixture of the symmetric rank-one and the Powell update; keeps negative eigenvalues."""
    off = change - hessian @ move
    length = float(move @ move)
    along = float(off @ move)
    if length < 1e-16 or np.linalg.norm(off) < 1e-14:
        return hessian
    powell = (np.outer(off, move) + np.outer(move, off)) / length - along * np.outer(move, move) / length**2
    share = along**2 / (length * float(off @ off))
    rank_one = np.outer(off, off) / along if abs(along) > 1e-12 else powell
    return hessian + share * rank_one + (1 - share) * powell


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _longest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces.reshape(-1, 3), axis=1).max())
