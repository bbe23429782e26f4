r"""Mean square displacement and the diffusion coefficient.

.. math:: \mathrm{MSD}(t) = \langle |\mathbf r(t_0 + t) - \mathbf r(t_0)|^2 \rangle = 6 D t + c

over all time origins. The slope is fitted for every particle and direction by itself; the spread of these slopes gives the error of D. In a periodic box hydrodynamic
images slow everything down; for a cubic box of edge L

.. math:: D_\infty = D + \frac{2.837297 \, k_B T}{6 \pi \eta L}

Sources: D. Frenkel and B. Smit, Understanding Molecular Simulation, 2nd ed., ch. 4.4; I.-C. Yeh and G. Hummer, J. Phys. Chem. B 108, 15873 (2004), Eq. 12.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import constants
from scipy.sparse import csr_array

from mdapp.analysis.chunks import Chunk, System, Trajectory, tally
from mdapp.analysis.clock import FrameClock
from mdapp.analysis.lags import LaggedSums
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns
from mdapp.analysis.unwrap import Unwrapper

A2_PER_PS_IN_CM2_PER_S = 1e-4
CUBIC = 2.837297  # Madelung constant of a cubic lattice of hydrodynamic images


@dataclass(frozen=True)
class Diffusion(Result):
    """MSD of a kind of particles and the coefficient of its straight part."""

    time_ps: np.ndarray  # (n_lags,)
    msd_A2: np.ndarray  # (n_lags,)
    msd_error_A2: np.ndarray  # (n_lags,) standard error over particles and directions
    D_cm2_s: float
    D_error_cm2_s: float  # standard error; particles and directions count as independent
    fit_ps: tuple[float, float]  # from and to which time the line was fitted
    exponent: float  # of MSD ~ t^a over the fitted part: 1 is diffusion, 0 a cage, 2 free flight
    what: str
    n_particles: int
    edge_A: float | None  # cube root of the mean volume; None without a cell

    @property
    def diffusive(self) -> bool:
        """Is the fitted part a straight line in time?"""
        return 0.8 < self.exponent < 1.2

    def corrected(self, temperature_K: float, viscosity_mPa_s: float) -> float:
        """D in an infinite box, cm²/s (Yeh and Hummer), by the viscosity of the model; right for boxes that are nearly cubic.

        Raises
        ------
        ValueError : no cell; temperature or viscosity not positive.
        """
        if self.edge_A is None:
            raise ValueError("There is no cell, and so no finite size to correct for.")
        return self.D_cm2_s + finite_size_correction_cm2_s(temperature_K, viscosity_mPa_s, self.edge_A)

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"time_ps": self.time_ps, "msd_A2": self.msd_A2, "msd_error_A2": self.msd_error_A2})


def finite_size_correction_cm2_s(temperature_K: float, viscosity_mPa_s: float, edge_A: float) -> float:
    """What periodic images take from a diffusion coefficient in a cubic box, cm²/s."""
    for name, value in (("temperature", temperature_K), ("viscosity", viscosity_mPa_s), ("box edge", edge_A)):
        if not value > 0:
            raise ValueError(f"The {name} must be > 0, got {value}.")
    return 1e4 * CUBIC * constants.k * temperature_K / (6 * np.pi * 1e-3 * viscosity_mPa_s * 1e-10 * edge_A)


def diffusion(trajectory: Trajectory, what: str = "molecules", max_lag_ps: float = 50.0, frame_fs: float | None = None, fit_from: float = 0.2) -> Diffusion:
    """Mean square displacement and diffusion coefficient.

    Parameters
    ----------
    trajectory : read once, in chunks; evenly spaced frames, close enough that nothing moves by half a cell in between.
    what : "molecules" for their centres of mass, the formula of one kind of molecules such as "H2O" for those, "all" for all atoms, or a symbol such as "Li".
    max_lag_ps : largest time; at most a quarter of the trajectory is used.
    frame_fs : time between frames, where the trajectory does not tell.
    fit_from : part of the largest time where the fit begins, so that the way out of the cage does not count.

    Raises
    ------
    ValueError : nothing of that kind; fewer than 12 frames; uneven times.
    """
    return tally(DiffusionTally(what, max_lag_ps, frame_fs, fit_from), trajectory)


class DiffusionTally:
    """Follows particles; see `diffusion`. The drift of the centre of mass of everything is taken out."""

    def __init__(self, what: str = "molecules", max_lag_ps: float = 50.0, frame_fs: float | None = None, fit_from: float = 0.2):
        self.what, self.max_lag_ps, self.fit_from = what, max_lag_ps, fit_from
        self._clock = FrameClock(frame_fs)
        self._sums: LaggedSums | None = None
        self._volume, self._n = 0.0, 0

    def add(self, chunk: Chunk) -> None:
        self._clock.see(chunk.time_ps)
        system = chunk.system
        if self._sums is None:
            self._weights = _particles(system, self.what)
            self._unwrap = Unwrapper(system.pbc)
            self._sums = LaggedSums(max(3, int(round(1000 * self.max_lag_ps / self._clock.frame_fs))))
            self._origin: np.ndarray | None = None
        if system.pbc.all():
            self._volume += float(chunk.volume_A3.sum())
        self._n += len(chunk)
        path = self._unwrap.follow(chunk.positions, chunk.cells)
        if self._weights.shape[0] > 1:
            path = path - (np.einsum("i,fix->fx", system.masses, path) / system.masses.sum())[:, None]
        points = np.stack([self._weights @ frame for frame in path])
        if self._origin is None:
            self._origin = points[0]
        self._sums.add((points - self._origin).reshape(len(points), -1))

    def result(self) -> Diffusion:
        if self._sums is None or self._sums.n_frames < 12:
            raise ValueError(f"A diffusion coefficient needs 12 frames at least, got {self._sums.n_frames if self._sums else 0}.")
        each = np.maximum(self._sums.displacement[: max(4, self._sums.n_frames // 4 + 1)], 0.0)  # (n_lags, 3 n_particles)
        time_ps = self._clock.frame_fs * np.arange(len(each)) / 1000
        first = max(1, int(self.fit_from * (len(each) - 1)))
        t = time_ps[first:] - time_ps[first:].mean()
        slopes = (t @ each[first:]) / (t @ t)  # Å²/ps of each particle and direction, twice D
        scale = 0.5 * A2_PER_PS_IN_CM2_PER_S
        msd = 3 * each.mean(axis=1)
        root = np.sqrt(each.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            exponent = float(np.polyfit(np.log(time_ps[first:]), np.log(msd[first:]), 1)[0]) if (msd[first:] > 0).all() else np.nan
        edge = (self._volume / self._n) ** (1 / 3) if self._volume else None
        return Diffusion(time_ps, msd, 3 * each.std(axis=1, ddof=1) / root, float(scale * slopes.mean()), float(scale * slopes.std(ddof=1) / root),
                         (float(time_ps[first]), float(time_ps[-1])), exponent, self.what, self._weights.shape[0], edge)


def _particles(system: System, what: str) -> csr_array:
    """(n_particles, n_atoms) weights whose sum is one for each particle."""
    n = len(system)
    if what == "molecules":
        labels = system.molecules
        totals = np.bincount(labels, system.masses)
        return csr_array((system.masses / totals[labels], (labels, np.arange(n))), shape=(len(totals), n))
    formulas = system.formulas
    if what in formulas:
        members = np.isin(system.molecules, [k for k, formula in enumerate(formulas) if formula == what])
        atoms = np.flatnonzero(members)
        _, rows = np.unique(system.molecules[atoms], return_inverse=True)
        totals = np.bincount(rows, system.masses[atoms])
        return csr_array((system.masses[atoms] / totals[rows], (rows, atoms)), shape=(len(totals), n))
    chosen = np.arange(n) if what == "all" else np.flatnonzero(np.array(system.symbols) == what)
    if not len(chosen):
        raise ValueError(f"There is no {what} in the trajectory; it holds {', '.join(sorted(set(system.symbols)))}. "
                         f"Other words: molecules, all, {', '.join(sorted(set(formulas)))}.")
    return csr_array((np.ones(len(chosen)), (np.arange(len(chosen)), chosen)), shape=(len(chosen), n))
