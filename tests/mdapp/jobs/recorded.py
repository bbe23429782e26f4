"""Run folders and boxes whose frames are made of a known shape and thermal noise, so that reports can be made without a potential."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from mdapp.frame import Frame
from mdapp.topology import topology_of
from mdapp.trajectory import ThermoWriter, TrajectoryWriter, write_input

PEPTIDE = Path(__file__).parents[3] / "examples" / "peptide.xyz"


def record(folder: Path, atoms: Atoms, n: int, *, sigma_A: float = 0.02, frame_fs: float = 2.0, charged: bool = False, walk_A: float = 0.0, seed: int = 1) -> Path:
    """A run folder: noise around the shape of `atoms`, whose first frame is the shape itself, and a random walk of every molecule."""
    from mdapp.topology import find_bonds, molecules

    folder.mkdir(parents=True)
    rng, count = np.random.default_rng(seed), len(atoms)
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    labels = molecules(count, bonds)
    write_input(folder / "input.extxyz", atoms)
    (folder / "run.toml").write_text('[run]\nstructure = "made.xyz"\nensemble = "nvt"\ntemperature = 300.0\n')
    (folder / "summary.json").write_text(json.dumps({"verdict": "sound", "exit_code": 0}))
    frames, table = TrajectoryWriter(folder, topology_of(atoms), "test"), ThermoWriter(folder)
    charges, drift = rng.normal(size=count), np.zeros((labels.max() + 1, 3))
    charges -= charges.mean()
    for k in range(n):
        drift += walk_A * rng.standard_normal(drift.shape)
        positions = atoms.positions + drift[labels] + (sigma_A * rng.standard_normal((count, 3)) if k else 0.0)
        extras = {"charges": charges, "dipole": charges @ positions} if charged else {}
        frame = Frame(step=4 * k, time_fs=frame_fs * k, numbers=atoms.numbers, masses=atoms.get_masses(), positions=positions, momenta=rng.standard_normal((count, 3)),
                      forces=np.ones((count, 3)), cell=atoms.cell.array, pbc=atoms.pbc, potential_energy=-6 + 0.01 * rng.standard_normal(), kinetic_energy=0.2,
                      temperature_K=300 + 10 * rng.standard_normal(), conserved_energy=-5 + 1e-4 * rng.standard_normal(), extras=extras)
        frames.write(frame)
        table.write(frame)
    frames.close()
    table.close()
    return folder


def water_box(n_side: int = 3, edge_A: float = 9.6, seed: int = 1) -> Atoms:
    """n³ molecules of water on a lattice, turned at random."""
    rng, box = np.random.default_rng(seed), Atoms(cell=[edge_A] * 3, pbc=True)
    for place in np.ndindex(n_side, n_side, n_side):
        one = molecule("H2O")
        one.rotate(float(rng.uniform(0, 360)), rng.normal(size=3), center="COM")
        one.translate((np.array(place) + 0.5) * edge_A / n_side - one.get_center_of_mass())
        box += one
    return box
