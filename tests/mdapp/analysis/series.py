"""Trajectories whose statistics are known, as our frames."""
from __future__ import annotations

import numpy as np
from ase import units

from mdapp.frame import Frame


def frames_of(positions, numbers, cell=None, velocities=None, frame_fs=1.0, masses=None, extras=None, pressure=None):
    """Frames of positions (n_frames, n_atoms, 3) in Å; velocities (same) in Å/fs; cell (3,) edges, (3, 3) or (n_frames, 3, 3)."""
    from ase.data import atomic_masses

    positions, numbers = np.asarray(positions, dtype=float), np.asarray(numbers)
    n = len(positions)
    masses = atomic_masses[numbers] if masses is None else np.asarray(masses, dtype=float)
    box = np.zeros((3, 3)) if cell is None else np.diag(cell) if np.ndim(cell) == 1 else np.asarray(cell, dtype=float)
    boxes = np.broadcast_to(box, (n, 3, 3))
    moves = np.full_like(positions, np.nan) if velocities is None else velocities / units.fs * masses[:, None]
    return [
        Frame(step=k, time_fs=frame_fs * k, numbers=numbers, masses=masses, positions=positions[k], momenta=moves[k], forces=np.zeros_like(positions[k]), cell=boxes[k],
              pbc=np.full(3, cell is not None), potential_energy=0.0, kinetic_energy=0.0, temperature_K=0.0, conserved_energy=0.0,
              extras={name: values[k] for name, values in (extras or {}).items()}, pressure=None if pressure is None else pressure[k])
        for k in range(n)
    ]  # fmt: skip


def oscillator(n_frames, wavenumber_cm1, frame_fs, amplitude_A=0.05, length_A=1.2):
    """Two equal carbon atoms that swing along x at a wavenumber: positions (n, 2, 3) and velocities in Å/fs."""
    omega = 2 * np.pi * 2.99792458e-5 * wavenumber_cm1
    t = frame_fs * np.arange(n_frames)
    x = 0.5 * length_A + amplitude_A * np.cos(omega * t)
    v = -amplitude_A * omega * np.sin(omega * t)
    positions, velocities = np.zeros((n_frames, 2, 3)), np.zeros((n_frames, 2, 3))
    positions[:, 0, 0], positions[:, 1, 0], velocities[:, 0, 0], velocities[:, 1, 0] = -x, x, -v, v
    return positions, velocities
