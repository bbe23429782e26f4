"""Trajectories in `.npz`: MD17, rMD17, MD22 and sGDML, PhysNet, and the names that mlff and SO3LR write.

===========  ==============================================================================================
quantity     names, in the order in which they are tried
===========  ==============================================================================================
numbers      z, Z, nuclear_charges, atomic_numbers, numbers, species; (n_atoms,) or (n_frames, n_max) padded with 0 or -1
positions    R, coords, positions, xyz, coordinates; (n_frames, n_atoms, 3)
energy       E, energies, energy; (n_frames,) or (n_frames, 1)
forces       F, forces, force; or minus gradient, gradients
cell         unit_cell, cell, lattice; (3, 3) or (n_frames, 3, 3); lengths of edges (3,) or (n_frames, 3)
===========  ==============================================================================================

What is not compressed is mapped, not read; the rest is read once. Nothing is unpickled.
"""
from __future__ import annotations

import logging
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from potentials.data.guess_units import guess_energy_unit
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked, formula_of, independent
from potentials.data.named_labels import multiplicity_of, stress_factor
from potentials.data.units import Units

log = logging.getLogger(__name__)

USUAL_KEYS: dict[str, tuple[str, ...]] = {
    "numbers": ("z", "Z", "nuclear_charges", "atomic_numbers", "numbers", "species"),
    "positions": ("R", "coords", "positions", "xyz", "coordinates"),
    "energy": ("E", "energies", "energy"),
    "forces": ("F", "forces", "force", "gradient", "gradients"),
    "stress": ("stress",),
    "cell": ("unit_cell", "cell", "lattice"),
    "charge": ("Q", "total_charge", "charge"),
    "charges": ("q", "partial_charges", "charges", "hirshfeld_charges"),
    "dipole": ("D", "dipole", "dipole_vec", "dipoles"),
    "multiplicity": ("multiplicity",),
    "molecule": ("molecule", "molecules", "smiles"),
}
EXPANSION = 1100  # times: DEFLATE packs no tighter than 1032


def read_npz(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of an .npz file, one at a time.

    Parameters
    ----------
    keys : names of arrays; where None, the first of USUAL_KEYS that is there.
    units : of the file. When not given: what `r_unit` and `e_unit` say (sGDML, MD22); else the unit that makes the energies
        all-electron total energies, with Å; else kcal/mol and Å for the names of MD17 and rMD17, eV and Å for all others,
        with a warning. The log says which.

    Raises
    ------
    DataError : not an .npz; cut off; pickled objects in it; no elements, positions or labels; arrays that do not fit together;
        a cell that may be one matrix or the edges of three frames; stress without a unit; see `checked`.
    """
    with _opened(path) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        found = _found(names, keys, path)
        arrays = {quantity: _member(archive, names[key], path) for quantity, key in found.items()}
        extra: dict[str, np.ndarray] = {key: _member(archive, names[key], path) for key in ("name", "pbc", "e_unit", "r_unit") if key in names}
    n_frames = _n_frames(arrays, found, path)
    if "pbc" in extra:
        _check_pbc(extra["pbc"], n_frames, path)
    if "cell" in arrays:
        arrays["cell"] = _cells(arrays["cell"], n_frames, found["cell"], path)
    if units is None:
        units = _units(arrays, found, extra, path)
    log.info("%s: %d frames, %s; %s, turned into eV and Å.", path.name, n_frames, ", ".join(f"{what} from '{key}'" for what, key in found.items()),
             units.with_stress() if "stress" in found else units)  # fmt: skip
    table = _Table(path, found, arrays, units, n_frames, str(extra["name"]) if "name" in extra else None, extra.get("pbc"))
    for index in range(table.n_frames):
        yield table.frame(index)


@dataclass(frozen=True)
class _Table:
    """Arrays with a first axis of frames, and the names that they have in the file."""

    path: Path
    keys: dict[str, str]
    arrays: dict[str, np.ndarray]
    units: Units
    n_frames: int
    name: str | None
    periodic: np.ndarray | None

    def frame(self, index: int) -> LabelledStructure:
        source = f"frame {index} of {self.path.name}"
        padded = self._row("numbers", index, (), per_frame=self.arrays["numbers"].ndim == 2).astype(np.int64)
        real = padded > 0
        n_max, numbers = len(padded), padded[real]
        positions = self._per_atom("positions", index, n_max, real)
        energy = self._row("energy", index, ()) if "energy" in self.arrays else None
        forces = self._per_atom("forces", index, n_max, real) if "forces" in self.arrays else None
        sign = -1.0 if "grad" in self.keys.get("forces", "").lower() else 1.0
        cell = self._cell(index)
        charge = self._scalar("charge", index, 0.0)
        molecule = self._text("molecule", index)
        u = self.units
        return checked(LabelledStructure(
            numbers=numbers,
            positions=positions * u.to_angstrom,
            energy=None if energy is None else self._scalar("energy", index, 0.0) * u.to_eV,
            forces=None if forces is None else sign * forces * u.to_eV_per_angstrom,
            stress=self._stress(index),
            cell=np.zeros((3, 3)) if cell is None else cell * u.to_angstrom,
            pbc=self._pbc(index, cell),
            charge=charge,
            molecule=molecule or self.name or formula_of(numbers),
            source=source,
            multiplicity=multiplicity_of(self._scalar("multiplicity", index, 1.0), self.keys.get("multiplicity", ""), source),
            charges=None if "charges" not in self.arrays else self._row("charges", index, (n_max,))[real],
            dipole=None if "dipole" not in self.arrays else self._row("dipole", index, (3,)) * u.to_e_angstrom,
        ))  # fmt: skip

    def _row(self, quantity: str, index: int, shape: tuple[int, ...], per_frame: bool = True) -> np.ndarray:
        """Numbers of one frame in double precision, of `shape` where one is given."""
        array = self.arrays[quantity]
        row = np.asarray(array[index] if per_frame else array, dtype=np.float64)
        if shape and row.size == math.prod(shape):
            return row.reshape(shape)
        if shape:
            raise DataError(f"'{self.keys[quantity]}' has shape {array.shape}, expected {(self.n_frames, *shape)}: "
                            f"it does not belong to the other arrays of {self.path.name}.")  # fmt: skip
        return row

    def _per_atom(self, quantity: str, index: int, n_max: int, real: np.ndarray) -> np.ndarray:
        """(n_atoms, 3) without padding; another shape is refused, never bent to fit."""
        row = self._row(quantity, index, ())
        if row.shape != (n_max, 3):
            raise DataError(f"'{self.keys[quantity]}' has shape {self.arrays[quantity].shape}, expected ({self.n_frames}, {n_max}, 3) "
                            f"for {n_max} atomic numbers ({self.path.name}).")  # fmt: skip
        return row[real]

    def _scalar(self, quantity: str, index: int, default: float) -> float:
        if quantity not in self.arrays:
            return default
        array = self.arrays[quantity]
        return float(self._row(quantity, index, (1,), per_frame=array.size != 1).item())

    def _cell(self, index: int) -> np.ndarray | None:
        if "cell" not in self.arrays:
            return None
        cells = self.arrays["cell"]
        return self._row("cell", index if len(cells) > 1 else 0, (3, 3))

    def _pbc(self, index: int, cell: np.ndarray | None) -> np.ndarray:
        """As the file says; periodic along each cell vector that is not zero, where it says nothing."""
        if self.periodic is not None:
            row = self.periodic[index if len(self.periodic) > 1 else 0] if self.periodic.ndim > 1 else self.periodic
            return np.broadcast_to(np.asarray(row, dtype=bool).ravel(), 3).copy()
        return np.zeros(3, dtype=bool) if cell is None else np.abs(cell).sum(axis=1) > 0

    def _stress(self, index: int) -> np.ndarray | None:
        if "stress" not in self.arrays:
            return None
        stress = self._row("stress", index, ())
        return (stress.reshape(3, 3) if stress.size == 9 else voigt_6_to_full_3x3_stress(stress.ravel())) * stress_factor(self.units, self.keys["stress"], self.path.name)

    def _text(self, quantity: str, index: int) -> str | None:
        if quantity not in self.arrays:
            return None
        array = self.arrays[quantity]
        return str(array if array.ndim == 0 else array[index])


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a whole .npz file: {error}.") from error


def _found(names: dict[str, str], keys: LabelKeys, path: Path) -> dict[str, str]:
    """The array's name of each quantity that is there."""
    there = ", ".join(sorted(names)) or "nothing"
    found = {}
    for quantity, usual in USUAL_KEYS.items():
        given = getattr(keys, quantity)
        key = next((k for k in (usual if given is None else (given,)) if k in names), None)
        if key is not None:
            found[quantity] = key
        elif given is not None:
            raise DataError(f"No {quantity} in {path.name}: looked for '{given}'; there: {there}.")
    for quantity in ("numbers", "positions"):
        if quantity not in found:
            raise DataError(f"No {quantity} in {path.name}: looked for {', '.join(USUAL_KEYS[quantity])}; there: {there}. Name them with keys.{quantity}.")
    if "energy" not in found and "forces" not in found:
        raise DataError(f"No energy and no forces in {path.name}; there: {there}. Name them with keys.energy and keys.forces.")
    return found


def _units(arrays: dict[str, np.ndarray], found: dict[str, str], extra: dict[str, np.ndarray], path: Path) -> Units:
    """As the file says; else as the size of its energies says; else as is usual for its names."""
    if "r_unit" in extra and "e_unit" in extra:
        try:
            return Units(str(extra["e_unit"]), str(extra["r_unit"]))
        except ValueError as error:
            raise DataError(f"{path.name}: {error} Its own r_unit and e_unit can be overruled with units.") from error
    md17 = (found["positions"], found["numbers"]) in (("R", "z"), ("coords", "nuclear_charges"))
    if "energy" in arrays:
        energy = np.ravel(arrays["energy"])
        first = int(np.argmax(np.isfinite(energy)))  # that is a number
        numbers = arrays["numbers"][first] if arrays["numbers"].ndim == 2 else arrays["numbers"]
        guess = guess_energy_unit(np.maximum(numbers, 0), float(energy[first]))
        if guess is not None:
            log.info("%s: nothing in the file names its units; its total energies have the size of %s, which is taken, with Å.", path.name, guess)
            return Units(guess)
    usual = Units("kcal/mol") if md17 else Units()
    log.warning("%s: nothing in the file names its units, nor does the size of its energies tell; %s and Å are taken%s. If they are others, say so with units.",
                path.name, usual.energy, ", as in MD17" if md17 else "")  # fmt: skip
    return usual


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """An array of the archive: mapped where it is stored as it is, read where it is compressed.

    Raises
    ------
    DataError : objects in it; cut off; damaged; a size that the file cannot hold.
    """
    info = archive.getinfo(name)
    if info.file_size > EXPANSION * max(info.compress_size, 1):
        raise DataError(f"'{name}' of {path.name} claims {info.file_size} bytes out of {info.compress_size} compressed ones; the file is damaged.")
    try:
        with archive.open(info) as file:
            shape, fortran, dtype = _header(file)
            if dtype.hasobject:
                raise DataError(f"'{name.removesuffix('.npy')}' of {path.name} holds pickled objects, which are not opened: they could run code. "
                                "Save it as an array of numbers.")  # fmt: skip
            offset = file.tell()
            if math.prod(shape) * dtype.itemsize != info.file_size - offset:
                raise DataError(f"'{name}' of {path.name} should have shape {shape}, but holds {info.file_size - offset} bytes; the file is damaged.")
            if info.compress_type == zipfile.ZIP_STORED and info.file_size > 1 << 16 and dtype.kind in "fiu":
                return _mapped(path, info, offset, shape, fortran, dtype)
            array = np.frombuffer(file.read(), dtype=dtype).reshape(shape, order="F" if fortran else "C")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"'{name}' of {path.name} cannot be read: {error}") from error
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)  # type: ignore[arg-type, return-value]


def _mapped(path: Path, info: zipfile.ZipInfo, header: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> np.ndarray:
    """The bytes of a stored member, where they lie in the archive."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # lengths of name and extra field in the local header, 30 bytes long
        lengths = file.read(4)
    start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return np.memmap(path, dtype=dtype, mode="r", offset=start + header, shape=shape, order="F" if fortran else "C")


PER_FRAME = {  # shapes of one frame, of what has a row for each
    "energy": ((), (1,)), "forces": None, "charges": None, "dipole": None, "stress": ((6,), (9,), (3, 3)), "charge": ((), (1,)), "multiplicity": ((), (1,)),
    "molecule": ((),),
}  # fmt: skip
ONE_FOR_ALL = ("charge", "multiplicity", "molecule")


def _n_frames(arrays: dict[str, np.ndarray], keys: dict[str, str], path: Path) -> int:
    """Length of the first axis of the positions; the labels' must be the same."""
    positions = arrays["positions"]
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise DataError(f"'{keys['positions']}' has shape {positions.shape}, expected (n_frames, n_atoms, 3) ({path.name}).")
    for quantity, array in arrays.items():
        if array.dtype.kind not in ("SU" if quantity == "molecule" else "fiub"):
            raise DataError(f"'{keys[quantity]}' holds {array.dtype}, not numbers ({path.name}).")
        per_frame = quantity in PER_FRAME or (quantity == "numbers" and array.ndim > 1)
        if quantity == "numbers" and array.ndim not in (1, 2):
            raise DataError(f"'{keys[quantity]}' has shape {array.shape}, expected (n_atoms,) or (n_frames, n_atoms) ({path.name}).")
        if not per_frame or (quantity in ONE_FOR_ALL and array.size == 1):
            continue
        shapes = PER_FRAME.get(quantity)
        if array.ndim == 0 or len(array) != len(positions):
            raise DataError(f"'{keys[quantity]}' has shape {array.shape}, but '{keys['positions']}' has {len(positions)} frames ({path.name}).")
        if shapes is not None and array.shape[1:] not in shapes:
            expected = " or ".join(str((len(positions), *shape)) for shape in shapes)
            raise DataError(f"'{keys[quantity]}' has shape {array.shape}, expected {expected} ({path.name}).")
    if not len(positions):
        raise DataError(f"{path} holds no frames.")
    return len(positions)


def _check_pbc(pbc: np.ndarray, n_frames: int, path: Path) -> None:
    if pbc.dtype.kind not in "biuf" or pbc.shape not in ((), (1,), (3,), (1, 1), (1, 3), (n_frames, 1), (n_frames, 3)):
        raise DataError(f"'pbc' has shape {pbc.shape} of {pbc.dtype} in {path.name}, which has {n_frames} frames; expected (3,) or ({n_frames}, 3), true or false.")


def _cells(cell: np.ndarray, n_frames: int, key: str, path: Path) -> np.ndarray:
    """(n_frames, 3, 3), or (1, 3, 3) where all frames have one cell; lengths of edges become orthogonal cells.

    Three rows of three numbers in a file of three frames are one matrix or the edges of each frame: that is told from what either would
    mean. Edges are not negative, and the same ones are zero in all frames; a matrix has independent rows.
    """
    shape = cell.shape
    if shape in ((n_frames, 3, 3), (1, 3, 3)):
        return cell
    if shape in ((9,), (n_frames, 9), (1, 9)):
        return cell.reshape(-1, 3, 3)
    if shape == (3, 3):
        edges = n_frames == 3 and bool((cell >= 0).all() and ((cell > 0).all(axis=0) | (cell == 0).all(axis=0)).all())
        if not edges or not cell.any():
            return cell[None]
        if independent(np.asarray(cell, dtype=np.float64)[(cell != 0).any(axis=1)]):
            raise DataError(f"'{key}' has shape (3, 3) in {path.name}, which has 3 frames: its rows may be the vectors of one cell or the edges of three. "
                            "Save it as (3, 3, 3), a matrix for each frame.")  # fmt: skip
    if shape in ((3,), (n_frames, 3), (1, 3)):
        return np.asarray(cell, dtype=np.float64).reshape(-1, 3)[:, None, :] * np.eye(3)
    raise DataError(f"'{key}' has shape {shape} in {path.name}, which has {n_frames} frames; expected (3, 3) or ({n_frames}, 3, 3), or lengths of edges as (3,) or "
                    f"({n_frames}, 3).")  # fmt: skip
