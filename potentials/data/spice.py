"""HDF5 in the layout of SPICE: one group a molecule, with all its conformations.

A group holds `atomic_numbers` (n_atoms,) or a `smiles` with atom-map numbers, `conformations` (n_frames, n_atoms, 3) in
bohr, `dft_total_energy` (n_frames,) in hartree and `dft_total_gradient` (n_frames, n_atoms, 3) in hartree/bohr, the force
being minus that. A data set's attribute `units` is believed where it is there. The total charge is the group's attribute
`total_charge`, or the formal charges of its SMILES, or 0.

P. Eastman et al., Scientific Data 10, 11 (2023).
"""
from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from ase.data import atomic_numbers

from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked
from potentials.data.units import Units

log = logging.getLogger(__name__)

UNITS = Units(energy="hartree", length="bohr")
_MAPPED_ATOM = re.compile(r"\[\d*([A-Za-z][a-z]?)[^\]:]*?([+-]+\d*)?:(\d+)\]")


def read_spice(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of a SPICE-layout file, molecule after molecule; one molecule is in memory at a time.

    Parameters
    ----------
    keys : `energy` "dft_total_energy" when not given (or e.g. "formation_energy"); `forces` names a gradient when it ends
        in "gradient" and forces when not, "dft_total_gradient" when not given. `stress` has no place in this layout.
    units : hartree and bohr, or what the data sets' own `units` say, when not given.

    Raises
    ------
    DataError : not HDF5; a molecule without energies, gradients, conformations or elements; see `checked`.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error
    with file:
        if not len(file):
            raise DataError(f"{path} holds no molecules.")
        announced = False
        for name, group in file.items():
            if not isinstance(group, h5py.Group):
                raise DataError(f"'{name}' in {path.name} is not a group; SPICE's layout has one group a molecule.")
            if not announced:
                found = _units_of(group, keys) if units is None else units
                log.info("%s: %d molecules; %s, turned into eV and Å.", path.name, len(file), found)
                announced = True
            yield from _molecule(name, group, path, keys, units)


def _molecule(name: str, group: h5py.Group, path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    where = f"molecule '{name}' of {path.name}"
    units = _units_of(group, keys) if units is None else units
    gradient_key = keys.forces or "dft_total_gradient"
    sign = -1.0 if gradient_key.endswith("gradient") else 1.0
    positions = _values(group, "conformations", where) * units.to_angstrom
    energies = np.ravel(_values(group, keys.energy or "dft_total_energy", where)) * units.to_eV
    forces = _values(group, gradient_key, where) * (sign * units.to_eV_per_angstrom)
    numbers, charge = _elements_and_charge(group, where)
    if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3):
        raise DataError(f"conformations has shape {positions.shape}, expected (n_frames, {len(numbers)}, 3) ({where}).")
    if len(energies) != len(positions) or forces.shape != positions.shape:
        raise DataError(f"{len(positions)} conformations, but energies of shape {energies.shape} and gradients of shape {forces.shape} ({where}).")
    molecule = _text(group[keys.molecule]) if keys.molecule else name
    for index in range(len(positions)):
        yield checked(LabelledStructure(
            numbers=numbers, positions=positions[index], energy=float(energies[index]), forces=forces[index], stress=None,
            cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool), charge=charge, molecule=molecule, source=f"frame {index} of {where}",
        ))  # fmt: skip


def _values(group: h5py.Group, key: str, where: str) -> np.ndarray:
    if key not in group:
        raise DataError(f"No '{key}' in {where}; there: {', '.join(group)}.")
    return np.asarray(group[key], dtype=np.float64)


def _units_of(group: h5py.Group, keys: LabelKeys) -> Units:
    """The units that the data sets name themselves, SPICE's own where they do not."""
    energy, gradient = keys.energy or "dft_total_energy", keys.forces or "dft_total_gradient"

    def unit(key: str, usual: str | None) -> str | None:
        value = group[key].attrs.get("units", usual) if key in group else usual
        return value.decode() if isinstance(value, bytes) else value

    try:
        return Units(unit(energy, UNITS.energy), unit("conformations", UNITS.length), unit(gradient, "hartree/bohr"))  # type: ignore[arg-type]
    except ValueError as error:
        raise DataError(f"'{group.name.lstrip('/')}' of {Path(group.file.filename).name}: {error}") from error


def _elements_and_charge(group: h5py.Group, where: str) -> tuple[np.ndarray, float]:
    smiles = _text(group["smiles"]) if "smiles" in group else ""
    atoms = {int(index): (symbol, charge) for symbol, charge, index in _MAPPED_ATOM.findall(smiles)}
    if "total_charge" in group.attrs:
        charge = float(group.attrs["total_charge"])
    else:
        charge = float(sum(_formal_charge(c) for _, c in atoms.values()))
    if "atomic_numbers" in group:
        return np.asarray(group["atomic_numbers"], dtype=np.int64), charge
    if not atoms or sorted(atoms) != list(range(1, len(atoms) + 1)):
        raise DataError(f"No atomic_numbers in {where}, and its SMILES does not number every atom; there: {', '.join(group)}.")
    return np.array([atomic_numbers[atoms[i][0].capitalize()] for i in sorted(atoms)]), charge


def _formal_charge(text: str) -> int:
    """'+' is 1, '--' is -2, '+2' is 2, '' is 0."""
    if not text:
        return 0
    sign = 1 if text[0] == "+" else -1
    digits = text.lstrip("+-")
    return sign * (int(digits) if digits else len(text))


def _text(dataset: h5py.Dataset) -> str:
    value = dataset[0] if dataset.shape else dataset[()]
    return value.decode() if isinstance(value, bytes) else str(value)
