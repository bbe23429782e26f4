r"""The spectrum of the velocities: at which wavenumbers a system moves, and which element.

.. math:: P(\tilde\nu) = \sum_i m_i \, S_{v_i}(\tilde\nu), \qquad \int_0^\infty P \, d\tilde\nu = 2 \langle E_{kin} \rangle

with the one-sided spectra S of `mdapp.analysis.spectrum`. Divided by kT it is the vibrational density of states of a classical system: every harmonic mode counts one.
Where a trajectory holds no velocities, differences of positions take their place, corrected for the finite step; frames must be close enough
(0.5 to 4 fs) for the fastest vibration in either case: what is beyond the last wavenumber is folded back into the spectrum.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import units

from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.clock import FrameClock
from mdapp.analysis.result import Result
from mdapp.analysis.spectrum import RESOLUTION_CM1, Segments, difference_gain, segment_length
from mdapp.analysis.table import write_columns
from mdapp.analysis.unwrap import Unwrapper


@dataclass(frozen=True)
class PowerSpectrum(Result):
    """Mass-weighted spectrum of the velocities, in all and by element."""

    wavenumber_cm1: np.ndarray  # (n_waves,)
    power_eV_cm: np.ndarray  # (n_waves,) eV per 1/cm
    error_eV_cm: np.ndarray  # (n_waves,) standard error
    elements: tuple[str, ...]
    by_element_eV_cm: np.ndarray  # (n_elements, n_waves)
    frame_fs: float
    n_segments: int
    from_positions: bool  # no velocities were there
    n_modes: int  # 3N

    @property
    def temperature_K(self) -> float:
        """Kinetic temperature of the integral over all 3N modes; a molecule without rotation and translation is hotter by 3N / (3N - 6)."""
        return float(np.sum(self.power_eV_cm) * (self.wavenumber_cm1[1] - self.wavenumber_cm1[0]) / (self.n_modes * units.kB))

    def density_of_states(self, temperature_K: float | None = None) -> np.ndarray:
        """(n_waves,) modes per 1/cm: P / kT. Without a temperature the integral is 3N."""
        kT = units.kB * (self.temperature_K if temperature_K is None else temperature_K)
        return self.power_eV_cm / kT

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"wavenumber_cm1": self.wavenumber_cm1, "power_eV_cm": self.power_eV_cm, "error_eV_cm": self.error_eV_cm,
                             **{f"power_{e}_eV_cm": p for e, p in zip(self.elements, self.by_element_eV_cm, strict=True)}})


def power_spectrum(trajectory: Trajectory, resolution_cm1: float = RESOLUTION_CM1, frame_fs: float | None = None, atoms: np.ndarray | None = None) -> PowerSpectrum:
    """Spectrum of the velocities.

    Parameters
    ----------
    trajectory : read once, in chunks; evenly spaced frames.
    resolution_cm1 : distance of the wavenumbers; the finer, the fewer segments there are to average.
    frame_fs : time between frames, where the trajectory does not tell.
    atoms : which ones; all where not given.

    Raises
    ------
    ValueError : fewer than four frames, uneven times or none.
    """
    return tally(PowerSpectrumTally(resolution_cm1, frame_fs, atoms), trajectory)


class PowerSpectrumTally:
    """Collects segments of velocities; see `power_spectrum`."""

    def __init__(self, resolution_cm1: float = RESOLUTION_CM1, frame_fs: float | None = None, atoms: np.ndarray | None = None):
        self.resolution, self.atoms = resolution_cm1, atoms
        self._clock = FrameClock(frame_fs)
        self._segments: Segments | None = None

    def add(self, chunk: Chunk) -> None:
        self._clock.see(chunk.time_ps)
        if self._segments is None:
            self._begin(chunk)
        if self._from_positions:
            path = self._unwrap.follow(chunk.positions[:, self._chosen], chunk.cells)
            path = path if self._last is None else np.concatenate([self._last[None], path])
            self._last = path[-1]
            velocities = np.diff(path, axis=0) / self._clock.frame_fs
        elif chunk.velocities is None:
            raise ValueError(f"The first frames hold velocities, those from {chunk.time_ps[0]:.6g} ps on do not.")
        else:
            velocities = chunk.velocities[:, self._chosen]
        assert self._segments is not None
        self._segments.add((velocities * self._scale[:, None]).reshape(len(velocities), -1))

    def result(self) -> PowerSpectrum:
        if self._segments is None:
            raise ValueError("The trajectory holds no frames.")
        frame_fs = self._clock.frame_fs
        wavenumber, powers, error = self._segments.finish(frame_fs)
        gain = difference_gain(wavenumber, frame_fs) if self._from_positions else np.ones_like(wavenumber)
        return PowerSpectrum(wavenumber, gain * powers.sum(axis=0), gain * error, self._elements, gain * powers, frame_fs, self._segments.n_segments,
                             self._from_positions, 3 * len(self._chosen))

    def _begin(self, chunk: Chunk) -> None:
        system = chunk.system
        self._chosen = np.arange(len(system)) if self.atoms is None else np.asarray(self.atoms, dtype=int)
        self._scale = np.sqrt(system.masses[self._chosen]) / units.fs  # velocities in Å/fs to the root of eV
        symbols = [system.symbols[k] for k in self._chosen]
        self._elements = tuple(dict.fromkeys(symbols))
        groups = np.repeat([self._elements.index(s) for s in symbols], 3)
        self._from_positions = chunk.velocities is None
        self._unwrap, self._last = Unwrapper(system.pbc), None
        self._segments = Segments(segment_length(self._clock.frame_fs, self.resolution), groups)
