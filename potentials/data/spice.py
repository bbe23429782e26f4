"""HDF5 in the layout of SPICE 1 and 2: one group a molecule, with all its conformations.

A group holds `atomic_numbers` (n_atoms,) or a `smiles` with atom-map numbers, `conformations` (n_frames, n_atoms, 3) in
bohr, `dft_total_energy` (n_frames,) in hartree and `dft_total_gradient` (n_frames, n_atoms, 3) in hartree/bohr, the force
being minus that; often `subset`, `scf_dipole` (n_frames, 3) and partial charges (n_frames, n_atoms). A data set's attribute
`units` is believed where it is there. The total charge is the group's attribute `total_charge`, or the formal charges of its
SMILES, or 0.

P. Eastman et al., Scientific Data 10, 11 (2023); J. Chem. Theory Comput. 20, 8583 (2024) for version 2.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from ase.data import atomic_numbers

from potentials.data import hdf5
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked
from potentials.data.named_labels import number_of
from potentials.data.units import Units

log = logging.getLogger(__name__)

UNITS = Units(energy="hartree", length="bohr")
ENERGY, GRADIENT, DIPOLE = "dft_total_energy", "dft_total_gradient", "scf_dipole"
CHARGES = ("mbis_charges", "gfn2_charges")
_MAPPED_ATOM = re.compile(r"\[\d*([A-Za-z][a-z]?)[^\]:]*?([+-]+\d*)?:(\d+)\]")


def read_spice(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of a SPICE-layout file, molecule after molecule; one molecule is in memory at a time.

    Parameters
    ----------
    keys : `energy` "dft_total_energy" when not given (or e.g. "formation_energy"); `forces` names a gradient when it ends
        in "gradient" and forces when not, "dft_total_gradient" when not given. `molecule` may name a text of the group
        that is shared by what must stay on one side of a split, and `charge` an attribute of the group. `stress` has no place in this layout.
    units : hartree and bohr, or what the data sets' own `units` say, when not given.

    Raises
    ------
    DataError : not HDF5; a molecule without energies, gradients, conformations or elements; a name that no molecule has; a link out of the file;
        see `checked`.
    """
    with hdf5.opened(path) as file:
        _refuse_unknown(file, keys, path)
        announced = False
        for name, group in hdf5.groups(file, "SPICE"):
            if not announced:
                found = _units_of(group, keys) if units is None else units
                log.info("%s: %d molecules; %s, turned into eV and Å.", path.name, len(file), found)
                announced = True
            yield from _molecule(name, group, path, keys, units)


def _molecule(name: str, group: h5py.Group, path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    where = f"molecule '{name}' of {path.name}"
    energy_key, gradient_key = keys.energy or ENERGY, keys.forces or GRADIENT
    missing = [key for key in (energy_key, gradient_key) if not hdf5.has(group, key)]
    if missing and not any(hdf5.has(group, key) for key in (energy_key, gradient_key)):
        raise DataError(f"No labels in {where}: neither '{energy_key}' nor '{gradient_key}'; there: {', '.join(group)}. "
                        "A file of inputs has to be labelled first (mdapp label).")  # fmt: skip
    units = _units_of(group, keys) if units is None else units
    positions = _values(group, keys.positions or "conformations", where) * units.to_angstrom
    energies = np.ravel(_values(group, energy_key, where)) * units.to_eV
    forces = _values(group, gradient_key, where) * ((-1.0 if gradient_key.endswith("gradient") else 1.0) * units.to_eV_per_angstrom)
    numbers, charge = _elements_and_charge(group, keys, where)
    if not positions.size:
        return  # a molecule of which no conformation was kept
    if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3):
        raise DataError(f"conformations has shape {positions.shape}, expected (n_frames, {len(numbers)}, 3) ({where}).")
    if len(energies) != len(positions) or forces.shape != positions.shape:
        raise DataError(f"{len(positions)} conformations, but energies of shape {energies.shape} and gradients of shape {forces.shape} ({where}).")
    charges = _optional(group, keys.charges, CHARGES, (len(positions), len(numbers)), where)
    dipoles = _optional(group, keys.dipole, (DIPOLE,), (len(positions), 3), where)
    if dipoles is not None:
        dipoles = dipoles * units.to_e_angstrom
    molecule = (hdf5.text(group, keys.molecule) if keys.molecule else "") or name
    subset = hdf5.text(group, "subset")
    for index in range(len(positions)):
        yield checked(LabelledStructure(
            numbers=numbers, positions=positions[index], energy=float(energies[index]), forces=forces[index], stress=None,
            cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool), charge=charge, molecule=molecule, source=f"frame {index} of {where}",
            charges=_finite(charges, index), dipole=_finite(dipoles, index), subset=subset,
        ))  # fmt: skip


def _refuse_unknown(file: h5py.File, keys: LabelKeys, path: Path) -> None:
    """A name of what not every molecule needs to have, and none has."""
    for quantity in ("charges", "dipole", "molecule", "charge"):
        key = getattr(keys, quantity)
        if key is None or any(key in group.attrs if quantity == "charge" else hdf5.has(group, key) for _, group in hdf5.groups(file, "SPICE")):
            continue
        name, first = next(hdf5.groups(file, "SPICE"))
        there = ", ".join(first.attrs if quantity == "charge" else first) or "nothing"
        raise DataError(f"No {quantity} in any molecule of {path.name}: looked for {'the attribute ' if quantity == 'charge' else ''}'{key}'; there in molecule '{name}': "
                        f"{there}. Correct keys.{quantity}, or leave it out.")  # fmt: skip


def _values(group: h5py.Group, key: str, where: str) -> np.ndarray:
    return hdf5.values(hdf5.dataset(group, key, where), where)


def _optional(group: h5py.Group, given: str | None, usual: tuple[str, ...], shape: tuple[int, ...], where: str) -> np.ndarray | None:
    """Labels that not every molecule has; a name that was given is looked for alone."""
    for key in usual if given is None else (given,):
        if hdf5.has(group, key):
            values = _values(group, key, where)
            if values.size != np.prod(shape):
                raise DataError(f"'{key}' has shape {values.shape}, expected {shape} ({where}).")
            return values.reshape(shape)
    return None


def _finite(values: np.ndarray | None, index: int) -> np.ndarray | None:
    """Those of one frame; a frame for which they were not computed (NaN) has none."""
    return None if values is None or not np.all(np.isfinite(values[index])) else values[index]


def _units_of(group: h5py.Group, keys: LabelKeys) -> Units:
    """The units that the data sets name themselves, SPICE's own where they do not."""

    def unit(key: str, usual: str) -> str:
        return hdf5.unit(hdf5.child(group, key), usual) if hdf5.has(group, key) else usual

    try:
        found = Units(unit(keys.energy or ENERGY, UNITS.energy), unit(keys.positions or "conformations", UNITS.length), unit(keys.forces or GRADIENT, "hartree/bohr"))
        return replace(found, dipole=unit(keys.dipole or DIPOLE, "e*bohr"))
    except ValueError as error:
        raise DataError(f"'{group.name.lstrip('/')}' of {Path(group.file.filename).name}: {error}") from error


def _elements_and_charge(group: h5py.Group, keys: LabelKeys, where: str) -> tuple[np.ndarray, float]:
    smiles = hdf5.text(group, "smiles")
    atoms = {int(index): (symbol, charge) for symbol, charge, index in _MAPPED_ATOM.findall(smiles)}
    charge_key, numbers_key = keys.charge or "total_charge", keys.numbers or "atomic_numbers"
    if charge_key in group.attrs:
        charge = number_of(group.attrs[charge_key], charge_key, where)
    else:
        charge = float(sum(_formal_charge(c) for _, c in atoms.values()))
    if keys.numbers is not None or hdf5.has(group, numbers_key):
        return np.asarray(_values(group, numbers_key, where), dtype=np.int64).ravel(), charge
    if not atoms or sorted(atoms) != list(range(1, len(atoms) + 1)):
        raise DataError(f"No atomic_numbers in {where}, and its SMILES does not number every atom; there: {', '.join(group)}.")
    unknown = sorted({symbol for symbol, _ in atoms.values()} - set(atomic_numbers) - {s.lower() for s in atomic_numbers})
    if unknown:
        raise DataError(f"The SMILES in {where} names {', '.join(unknown)}, which is no element.")
    return np.array([atomic_numbers[atoms[i][0].capitalize()] for i in sorted(atoms)]), charge


def _formal_charge(text: str) -> int:
    """'+' is 1, '--' is -2, '+2' is 2, '' is 0."""
    if not text:
        return 0
    sign = 1 if text[0] == "+" else -1
    digits = text.lstrip("+-")
    return sign * (int(digits) if digits else len(text))
