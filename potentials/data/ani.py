"""HDF5 in the layouts of ANI-1x and ANI-2x.

ANI-1x: one group a formula, with `atomic_numbers` (n_atoms,), `coordinates` (n_frames, n_atoms, 3) and several levels of theory
(`wb97x_dz.energy`, `wb97x_dz.forces`, ...); a level that was not computed for a frame is NaN there, and such frames are passed
over. ANI-2x: one group a number of atoms, with `species` (n_frames, n_atoms), `coordinates`, `energies`, `forces`. Both in Å,
hartree and hartree/Å.

J. S. Smith et al., Scientific Data 7, 134 (2020); C. Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020).
"""
from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from potentials.data import hdf5
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked, formula_of
from potentials.data.units import Units

log = logging.getLogger(__name__)

UNITS = Units(energy="hartree", length="angstrom")
ENERGY_KEYS = ("energies", "energy", "wb97x_dz.energy")
CHUNK = 4096  # frames in memory at a time: ANI-2x has groups of a million


def read_ani(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of an ANI-1x or ANI-2x file, group after group.

    Parameters
    ----------
    keys : `energy` "energies" (2x) or "wb97x_dz.energy" (1x) when not given; `forces` of the same level when not given,
        none where that level has none; `charges` and `dipole` only where named.
    units : hartree, Å, hartree/Å (dipoles e Å) when not given.

    Raises
    ------
    DataError : not HDF5; a group without coordinates, elements or that energy; a link out of the file; see `checked`.
    """
    units = units or UNITS
    with hdf5.opened(path) as file:
        passed_over = announced = 0
        for name, group in hdf5.groups(file, "ANI"):
            where = f"group '{name}' of {path.name}"
            energy, forces = _level(group, keys, where)
            if not announced:
                log.info("%s: %d groups; energy from '%s', %s; %s, turned into eV and Å.", path.name, len(file), energy,
                         f"forces from '{forces}'" if forces else "no forces", units)  # fmt: skip
                announced = 1
            for s in _group(group, energy, forces, keys, units, where):
                if s is None:
                    passed_over += 1
                else:
                    yield s
        if passed_over:
            log.info("%s: %d frames passed over that have no label at this level (NaN).", path.name, passed_over)


def _level(group: h5py.Group, keys: LabelKeys, where: str) -> tuple[str, str | None]:
    """Names of an energy and of the forces of the same level."""
    energy = keys.energy or next((key for key in ENERGY_KEYS if hdf5.has(group, key)), ENERGY_KEYS[-1])
    if keys.forces is not None:
        return energy, keys.forces
    forces = "forces" if energy in ("energies", "energy") else f"{energy.rpartition('.')[0]}.forces"
    return energy, forces if hdf5.has(group, forces) else None


def _group(group: h5py.Group, energy: str, forces: str | None, keys: LabelKeys, units: Units, where: str) -> Iterator[LabelledStructure | None]:
    """Frames, None for one without labels."""
    coordinates = hdf5.dataset(group, keys.positions or "coordinates", where)
    if coordinates.ndim != 3 or coordinates.shape[2] != 3:
        raise DataError(f"coordinates has shape {coordinates.shape}, expected (n_frames, n_atoms, 3) ({where}).")
    n_frames, n_atoms = coordinates.shape[:2]
    shapes = {"energy": (n_frames,), "forces": (n_frames, n_atoms, 3), "charges": (n_frames, n_atoms), "dipole": (n_frames, 3)}
    names = {"energy": energy, "forces": forces, "charges": keys.charges, "dipole": keys.dipole}
    labels = {quantity: hdf5.dataset(group, name, where) for quantity, name in names.items() if name is not None}
    for quantity, data in labels.items():
        if data.size != np.prod(shapes[quantity]):
            raise DataError(f"'{names[quantity]}' has shape {data.shape}, expected {shapes[quantity]} ({where}).")
    species = hdf5.dataset(group, keys.numbers or ("species" if hdf5.has(group, "species") else "atomic_numbers"), where)
    if species.shape not in ((n_atoms,), (n_frames, n_atoms)):
        raise DataError(f"'{species.name.rpartition('/')[2]}' has shape {species.shape}, expected ({n_atoms},) or ({n_frames}, {n_atoms}) ({where}).")
    for begin in range(0, n_frames, CHUNK):
        part = slice(begin, min(begin + CHUNK, n_frames))
        positions = hdf5.values(coordinates, where, part) * units.to_angstrom
        numbers = hdf5.values(species, where, part if species.ndim == 2 else slice(None)).astype(np.int64)
        values = {quantity: hdf5.values(data, where, part).reshape(-1, *shapes[quantity][1:]) for quantity, data in labels.items()}
        for k in range(len(positions)):
            if np.isnan(values["energy"][k]) or ("forces" in values and np.isnan(values["forces"][k]).all()):
                yield None
                continue
            z = numbers[k] if numbers.ndim == 2 else numbers
            yield checked(LabelledStructure(
                numbers=z, positions=positions[k], energy=float(values["energy"][k]) * units.to_eV,
                forces=values["forces"][k] * units.to_eV_per_angstrom if "forces" in values else None, stress=None,
                cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool), charge=0.0, molecule=formula_of(z),
                source=f"frame {begin + k} of {where}",
                charges=values["charges"][k] if "charges" in values else None,
                dipole=values["dipole"][k] * units.to_e_angstrom if "dipole" in values else None,
            ))  # fmt: skip
