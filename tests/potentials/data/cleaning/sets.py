"""Healthy labelled sets, made in a moment: molecules of springs between all atoms, their trajectories, and a rattled metal."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from scipy.spatial.transform import Rotation

from potentials.data.cleaning import collect, inspect
from potentials.data.labelled import LabelledStructure

ATOM = {1: -13.6, 6: -1029.8, 7: -1485.3, 8: -2042.6}  # eV, as all-electron methods have it
NAMES = ("CH3CH2OH", "CH3OH", "H2O", "NH3", "CH4", "CH3CHO", "C2H6", "H3CNH2", "HCOOH", "C2H4", "H2CO", "CH3OCH3", "N2H4", "C3H8", "HCOOCH3")


def springs(numbers, equilibrium, positions):
    """Energy and forces of springs between all pairs, stiff (30 eV/Å²) where they are bonds, soft (1 eV/Å²) elsewhere."""
    i, j = np.triu_indices(len(numbers), 1)
    length = np.linalg.norm(equilibrium[j] - equilibrium[i], axis=1)
    k = np.where(length < 1.25 * (covalent_radii[numbers[i]] + covalent_radii[numbers[j]]), 30.0, 1.0)
    r_ij = positions[j] - positions[i]
    r = np.linalg.norm(r_ij, axis=1)
    pull = (k * (r - length) / r)[:, None] * r_ij
    forces = np.zeros_like(positions)
    np.add.at(forces, i, pull)
    np.add.at(forces, j, -pull)
    return float(0.5 * (k * (r - length) ** 2).sum()), forces


def labelled(numbers, positions, energy, forces, name="", **more):
    return LabelledStructure(**{**dict(numbers=numbers, positions=positions, energy=energy, forces=forces, stress=None, cell=np.zeros((3, 3)),
                                       pbc=np.zeros(3, bool), charge=0.0, molecule=name, source=name), **more})  # fmt: skip


def at(name, positions):
    """A molecule of springs at these positions."""
    atoms = molecule(name)
    energy, forces = springs(atoms.numbers, atoms.positions, positions)
    return labelled(atoms.numbers, positions, energy + sum(ATOM[z] - 2.0 for z in atoms.numbers.tolist()), forces, name)


def molecules(names=NAMES, each=30, seed=0, width=0.05):
    """Frames of several molecules, rattled, turned and moved at random."""
    rng = np.random.default_rng(seed)
    frames = []
    for name in names:
        home = molecule(name).positions
        for _ in range(each):
            R = Rotation.random(random_state=rng).as_matrix()
            frames.append(at(name, (home + width * rng.standard_normal(home.shape)) @ R + rng.uniform(-5, 5, 3)))
    return frames


def trajectory(name="CH3CH2OH", steps=150, seed=1, step=0.03):
    """Frames along a smooth path, each a small step from the one before, and far enough from it to be no copy."""
    rng = np.random.default_rng(seed)
    home = molecule(name).positions
    a, b = 0.05 * rng.standard_normal((2, *home.shape))
    rate, phase = rng.uniform(0.5, 1.5, (2, *home.shape))
    return [at(name, home + a * np.sin(12 * step * k * rate + phase) + b * np.cos(17 * step * k * rate)) for k in range(steps)]


def metal(n=40, seed=2):
    """A copper-nickel crystal of eight atoms at several volumes, rattled; labels by EMT, stress too."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.numbers[:4] = 28
        atoms.set_cell(atoms.cell * rng.uniform(0.97, 1.03), scale_atoms=True)
        atoms.positions += 0.06 * rng.standard_normal((len(atoms), 3))
        atoms.calc = EMT()
        frames.append(labelled(atoms.numbers, atoms.positions, float(atoms.get_potential_energy()), atoms.get_forces(), "CuNi",
                               stress=atoms.get_stress(voigt=False), cell=np.array(atoms.cell), pbc=np.ones(3, bool)))
    return frames


HEALTHY = {"molecules": molecules, "one molecule": lambda: molecules(("CH3CH2OH",), 200), "trajectory": trajectory, "metal": metal}


def inspected(*sets, settings=None, **named):
    """The findings about some sets, each a file."""
    files = [(f"{k}.xyz", frames) for k, frames in enumerate(sets)]
    return inspect(collect(files)) if settings is None else inspect(collect(files), settings)


def suspected(*sets, settings=None):
    """Frame numbers by the name of the suspicion."""
    found = {}
    for f in inspected(*sets, settings=settings).suspicions:
        found.setdefault(f.check, []).extend(f.frames.tolist())
    return found


def changed(frames, k, **fields):
    """The same frames with some fields of frame k replaced."""
    return [replace(s, **fields) if n == k else s for n, s in enumerate(frames)]


def scaled(frames, energy=1.0, forces=1.0, length=1.0):
    """The same frames read in wrong units."""
    return [replace(s, energy=s.energy * energy, forces=s.forces * forces, positions=s.positions * length) for s in frames]
