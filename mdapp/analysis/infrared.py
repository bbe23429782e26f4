r"""The infrared spectrum of a molecule from the motion of its dipole.

.. math:: A(\tilde\nu) = \frac{N_A}{12 \epsilon_0 c^2 k_B T} \, S_{\dot\mu}(\tilde\nu)

with the one-sided spectrum of the dipole's time derivative, in km/mol per 1/cm. Classical motion with the harmonic quantum correction: the integral over the band of
a harmonic mode is exactly the textbook's double-harmonic intensity, N_A |dµ/dQ|² / (12 ε0 c²) = 42.256 km/mol for 1 (D/Å)²/amu.
The dipole comes from the potential, from its charges in every frame, or from given fixed charges. It is followed without jumps at walls
and taken from the centre of mass where the charges do not add up to zero.

M. Thomas, M. Brehm, R. Fligg, P. Vöhringer and B. Kirchner, Phys. Chem. Chem. Phys. 15, 6608 (2013); R. Ramírez et al., J. Chem. Phys. 121, 3973 (2004).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import constants

from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.clock import FrameClock
from mdapp.analysis.result import Result
from mdapp.analysis.spectrum import RESOLUTION_CM1, Segments, difference_gain, segment_length
from mdapp.analysis.table import write_columns
from mdapp.analysis.unwrap import Unwrapper

_E_A_PER_FS = constants.e * 1e-10 / 1e-15  # C m/s
KM_PER_MOL_KELVIN = constants.N_A / (12 * constants.epsilon_0 * constants.c**2 * constants.k) * _E_A_PER_FS**2 / 1000  # km/mol K per (e Å/fs)²


@dataclass(frozen=True)
class Infrared(Result):
    """Absorption of one mole of the trajectory's content."""

    wavenumber_cm1: np.ndarray  # (n_waves,)
    absorption_km_mol_cm: np.ndarray  # (n_waves,) km/mol per 1/cm
    error_km_mol_cm: np.ndarray  # (n_waves,) standard error
    temperature_K: float
    source: str  # where the dipole is from: dipole, charges, fixed charges
    n_segments: int

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"wavenumber_cm1": self.wavenumber_cm1, "absorption_km_mol_cm": self.absorption_km_mol_cm, "error_km_mol_cm": self.error_km_mol_cm})


def infrared(trajectory: Trajectory, temperature_K: float, charges: np.ndarray | None = None, resolution_cm1: float = RESOLUTION_CM1,
             frame_fs: float | None = None) -> Infrared:
    """Infrared spectrum.

    Parameters
    ----------
    trajectory : read once; evenly spaced frames, close enough for the fastest vibration (4 fs at most with hydrogens).
    temperature_K : of the run.
    charges : (n_atoms,) e, fixed; where not given the frames' dipoles are taken, else their charges.
    resolution_cm1, frame_fs : see `power_spectrum`.

    Raises
    ------
    ValueError : neither dipoles nor charges; fewer than five frames; uneven times.
    """
    return tally(InfraredTally(temperature_K, charges, resolution_cm1, frame_fs), trajectory)


class InfraredTally:
    """Follows the dipole; see `infrared`."""

    def __init__(self, temperature_K: float | None, charges: np.ndarray | None = None, resolution_cm1: float = RESOLUTION_CM1, frame_fs: float | None = None):
        if temperature_K is not None and not temperature_K > 0:
            raise ValueError(f"The temperature must be > 0 K, got {temperature_K}.")
        self.temperature_K, self.charges, self.resolution = temperature_K, charges, resolution_cm1
        self._clock = FrameClock(frame_fs)
        self._segments: Segments | None = None
        self._source = ""

    def add(self, chunk: Chunk) -> None:
        if self.temperature_K is None:
            raise ValueError("The temperature of the trajectory is not known, and an infrared spectrum is divided by it.")
        self._clock.see(chunk.time_ps)
        if self._segments is None:
            self._source = _source(chunk, self.charges)
            self._unwrap = Unwrapper(chunk.system.pbc)
            self._last: np.ndarray | None = None
            self._segments = Segments(segment_length(self._clock.frame_fs, self.resolution), np.zeros(3, dtype=int))
        dipole = self._dipole(chunk)
        dipole = dipole if self._last is None else np.concatenate([self._last[None], dipole])
        self._last = dipole[-1]
        self._segments.add(np.diff(dipole, axis=0) / self._clock.frame_fs)

    def result(self) -> Infrared:
        if self._segments is None:
            raise ValueError("The trajectory holds no frames.")
        assert self.temperature_K is not None
        wavenumber, powers, error = self._segments.finish(self._clock.frame_fs)
        factor = KM_PER_MOL_KELVIN / self.temperature_K * difference_gain(wavenumber, self._clock.frame_fs)
        return Infrared(wavenumber, factor * powers[0], factor * error, self.temperature_K, self._source, self._segments.n_segments)

    def _dipole(self, chunk: Chunk) -> np.ndarray:
        """(n_frames, 3) e Å."""
        charges = chunk.charges if self._source == "charges" else self.charges
        if self._source == "dipole" and chunk.dipole is not None:
            return chunk.dipole
        if charges is None:
            raise ValueError(f"The first frames hold a {self._source}, those from {chunk.time_ps[0]:.6g} ps on do not.")
        masses = chunk.system.masses
        path = self._unwrap.follow(chunk.whole, chunk.cells)
        path = path - (np.einsum("i,fix->fx", masses, path) / masses.sum())[:, None]
        return np.einsum("fi,fix->fx", np.broadcast_to(charges, path.shape[:2]), path)


def _source(chunk: Chunk, charges: np.ndarray | None) -> str:
    if charges is not None:
        if np.shape(charges) != (len(chunk.system),):
            raise ValueError(f"{np.size(charges)} charges for {len(chunk.system)} atoms.")
        return "fixed charges"
    if chunk.dipole is not None:
        return "dipole"
    if chunk.charges is not None:
        return "charges"
    raise ValueError("The trajectory holds neither dipoles nor charges: no infrared spectrum. Fixed charges of the atoms can be given.")
