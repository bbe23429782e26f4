"""LAMMPS dumps as labelled frames, plain or gzipped, one frame in memory at a time.

A dump says neither its units nor its elements (unless asked to): `units` gives LAMMPS's style, and elements come from a column
`element`, from a list by type, or from the masses of a data file. Atoms are put in the order of their id, which changes from
frame to frame in a dump. Coordinates may be x, xs, xu or xsu, boxes orthogonal, triclinic or general; the cell's corner need not be
the origin, and positions stay where they are. Energies are not in a dump: they may come from a log (Step, PotEng) or an .npz beside it.

LAMMPS manual, pages `dump`, `Howto_triclinic` and `units`.
"""
from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from ase.io.lammpsdata import read_lammps_data

from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked, formula_of
from potentials.data.lammps_energies import Energies
from potentials.data.lammps_text import Dumped, frames_of, opened
from potentials.data.units import Units

log = logging.getLogger(__name__)

STYLES = {
    "real": Units("kcal/mol", "angstrom", stress="atm"),
    "metal": Units("eV", "angstrom", stress="bar"),
    "electron": Units("hartree", "bohr"),
}
VELOCITY_PER_FS = {"real": 1.0, "metal": 1e-3}  # Å/fs
TIME_FS = {"real": 1.0, "metal": 1000.0, "electron": 1.0}  # the dump's unit of time
MASS_TOLERANCE = 0.1  # amu


@dataclass(frozen=True)
class LammpsConfig:
    """What a LAMMPS dump does not say of itself."""

    units: Literal["real", "metal", "electron"] | None = None  # the style; needed unless the dump says it or [units] are given
    elements: tuple[str, ...] = ()  # symbols of types 1, 2, ...
    topology: str | None = None  # LAMMPS data file with masses (elements) and charges, plain or .gz
    energies: str | None = None  # log or .npz with total potential energies, in the same units
    energies_key: str | None = None  # column of the log ("PotEng") or array of the .npz

    def __post_init__(self):
        unknown = [symbol for symbol in self.elements if symbol not in atomic_numbers or symbol == "X"]
        if unknown:
            raise ValueError(f"elements names no element with {', '.join(map(repr, unknown))}; list symbols in the order of the types, such as ['O', 'H'].")


@dataclass(frozen=True)
class _Topology:
    numbers: dict[int, int]  # atomic number by type
    charges: dict[int, float] | None  # e by id


@dataclass(frozen=True)
class DumpedFrame:
    """What a frame of a dump says of atoms, labels left out."""

    step: int
    numbers: np.ndarray  # (n_atoms,) in the order of ids
    positions: np.ndarray  # (n_atoms, 3) Å
    cell: np.ndarray  # (3, 3) rows, Å
    pbc: np.ndarray  # (3,) bool
    velocities: np.ndarray | None  # (n_atoms, 3) Å/fs; None where the dump has none or does not say its units
    charges: np.ndarray | None  # (n_atoms,) e
    time_fs: float | None  # where the dump tells it


def read_lammps_frames(path: Path, config: LammpsConfig = LammpsConfig(), numbers: np.ndarray | None = None) -> Iterator[DumpedFrame]:
    """Frames of a LAMMPS dump without labels, to look at.

    Parameters
    ----------
    config : lengths are taken as Å where neither it nor the dump says the units.
    numbers : (n_atoms,) atomic numbers in the order of ids, where they are known from elsewhere.

    Raises
    ------
    DataError : no elements are said; no coordinates; cut off.
    """
    topology = _topology(Path(config.topology), config) if config.topology else None
    for index, d in enumerate(frames_of(path)):
        source = f"frame {index} (step {d.step}) of {path.name}"
        style = config.units or d.style
        length = STYLES[style].to_angstrom if style in STYLES else 1.0
        per_fs = VELOCITY_PER_FS.get(style or "")
        names = ("vx", "vy", "vz")
        known = _numbers(d, config, topology, source) if numbers is None else numbers
        if len(known) != len(next(iter(d.columns.values()))):
            raise DataError(f"{source} has {len(next(iter(d.columns.values())))} atoms, and {len(known)} elements are known.")
        yield DumpedFrame(
            d.step, known, _positions(d, source) * length, d.cell * length, d.pbc,
            np.stack([d.columns[name] for name in names], axis=1) * per_fs if per_fs and set(names) <= set(d.columns) else None,
            d.columns.get("q"), None if d.time is None or style not in TIME_FS else d.time * TIME_FS[style])


def read_lammps_dump(path: Path, keys: LabelKeys, units: Units | None, config: LammpsConfig = LammpsConfig()) -> Iterator[LabelledStructure]:
    """Frames of a LAMMPS dump.

    Parameters
    ----------
    keys : `forces` names a compute or fix, whose columns are then NAME[1], NAME[2], NAME[3]; fx, fy, fz when not given.
        `charges` names a column; `q` when not given.
    units : take the place of the style's.

    Raises
    ------
    DataError : no units or elements are said; a column that is needed is not there (the message lists those that are); cut
        off; see `checked`.
    """
    topology = _topology(Path(config.topology), config) if config.topology else None
    energies = Energies(Path(config.energies), config.energies_key) if config.energies else None
    index = -1
    for index, dumped in enumerate(frames_of(path)):
        source = f"frame {index} (step {dumped.step}) of {path.name}"
        if index == 0:
            units = units or _units(dumped, config, path)
            log.info("%s: %s; %s, turned into eV and Å.", path.name, _told(dumped, topology, config), units)
        yield _structure(dumped, keys, units or Units(), config, topology, energies.of(dumped.step, index) if energies else None, source)
    if index < 0:
        raise DataError(f"{path} holds no frames of a LAMMPS dump.")
    if energies is not None and not energies.used:
        raise DataError(f"{config.energies} has no energy for any step of {path.name}; its steps begin with {energies.first_steps()}.")


def _structure(d: Dumped, keys: LabelKeys, units: Units, config: LammpsConfig, topology: _Topology | None, energy: float | None,
               source: str) -> LabelledStructure:  # fmt: skip
    names = ("fx", "fy", "fz") if keys.forces is None else tuple(f"{keys.forces}[{k}]" for k in (1, 2, 3))
    forces = np.stack([d.columns[name] for name in names], axis=1) if set(names) <= set(d.columns) else None
    if forces is None and (keys.forces is not None or energy is None):
        raise DataError(f"No forces in {source}: looked for columns {', '.join(names)}; there: {', '.join(d.columns)}.")
    numbers = _numbers(d, config, topology, source)
    charges = d.columns.get(keys.charges or "q")
    if charges is None and keys.charges is not None:
        raise DataError(f"No charges in {source}: looked for column {keys.charges}; there: {', '.join(d.columns)}.")
    if charges is None and topology is not None and topology.charges is not None and "id" in d.columns:
        charges = np.array([topology.charges.get(int(i), np.nan) for i in d.columns["id"]])
        if np.isnan(charges).any():
            raise DataError(f"{source} has atoms that {config.topology} does not know; the data file belongs to another system.")
    total = 0.0 if charges is None or not np.isfinite(charges).all() else float(charges.sum())
    return checked(LabelledStructure(
        numbers=numbers,
        positions=_positions(d, source) * units.to_angstrom,
        energy=None if energy is None else energy * units.to_eV,
        forces=None if forces is None else forces * units.to_eV_per_angstrom,
        stress=None,
        cell=d.cell * units.to_angstrom,
        pbc=d.pbc,
        charge=float(round(total)) + 0.0,  # force fields round their charges; a -0.0 is none
        molecule=formula_of(numbers),
        source=source,
        charges=charges,
    ))  # fmt: skip


def _positions(d: Dumped, source: str) -> np.ndarray:
    """(n_atoms, 3) in the dump's unit of length and frame of reference."""
    for names, scaled in ((("x", "y", "z"), False), (("xu", "yu", "zu"), False), (("xs", "ys", "zs"), True), (("xsu", "ysu", "zsu"), True)):
        if set(names) <= set(d.columns):
            xyz = np.stack([d.columns[name] for name in names], axis=1)
            return d.origin + xyz @ d.cell if scaled else xyz
    raise DataError(f"No coordinates in {source}: looked for x y z, xu yu zu, xs ys zs and xsu ysu zsu; there: {', '.join(d.columns)}.")


def _numbers(d: Dumped, config: LammpsConfig, topology: _Topology | None, source: str) -> np.ndarray:
    if config.elements or (topology is not None and "element" not in d.columns):
        by_type = {k + 1: atomic_numbers[symbol] for k, symbol in enumerate(config.elements)} or topology.numbers  # type: ignore[union-attr]
        if "type" not in d.columns:
            raise DataError(f"No column 'type' in {source}, so elements cannot be told; there: {', '.join(d.columns)}.")
        unknown = sorted(set(d.columns["type"].astype(int)) - set(by_type))
        if unknown:
            raise DataError(f"{source} has atoms of type {', '.join(map(str, unknown))}, but elements are known for types "
                            f"{', '.join(map(str, sorted(by_type)))} only.")  # fmt: skip
        return np.array([by_type[int(t)] for t in d.columns["type"]])
    if "element" in d.columns:
        strange = sorted(set(d.columns["element"]) - set(atomic_numbers))
        if strange:
            raise DataError(f"Column 'element' of {source} holds {', '.join(strange[:5])}, which is no element; list them with lammps.elements.")
        return np.array([atomic_numbers[symbol] for symbol in d.columns["element"]])
    raise DataError(f"{source} has types, but no elements: list them in the order of the types (lammps.elements = ['O', 'H']), "
                    "or name a data file with masses (lammps.topology).")  # fmt: skip


def _units(d: Dumped, config: LammpsConfig, path: Path) -> Units:
    style = config.units or d.style
    if style not in STYLES:
        said = f"its units are '{style}', which have no fixed size in eV and Å" if style else "it does not say its units"
        raise DataError(f"{path.name}: {said}. Say lammps.units = {' | '.join(map(repr, STYLES))}, or give [units].")
    if config.units and d.style and config.units != d.style:
        raise DataError(f"{path.name} says that its units are '{d.style}', but lammps.units is '{config.units}'.")
    return STYLES[style]


def _told(d: Dumped, topology: _Topology | None, config: LammpsConfig) -> str:
    if config.elements:
        elements = ", ".join(f"type {k + 1} is {symbol}" for k, symbol in enumerate(config.elements))
    elif topology is not None and "element" not in d.columns:
        elements = ", ".join(f"type {t} is {chemical_symbols[z]} (by its mass)" for t, z in sorted(topology.numbers.items()))
    else:
        elements = "elements from the dump"
    forces = "forces" if "fx" in d.columns else "no fx fy fz"
    return f"{len(next(iter(d.columns.values())))} atoms, {elements}; {forces}, {'energies from ' + config.energies if config.energies else 'no energies'}"


def _topology(path: Path, config: LammpsConfig) -> _Topology:
    """Elements by type, from the masses, and charges by id of a LAMMPS data file."""
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}, which lammps.topology names.")
    try:
        with opened(path) as file:
            text = file.read()
        atoms = read_lammps_data(io.StringIO(text), sort_by_id=True, units=config.units or "metal")
        types, charges, ids = atoms.arrays["type"], atoms.arrays.get("mmcharges"), atoms.arrays["id"]
    except Exception as error:  # ASE's reader raises whatever its parsing meets
        raise DataError(f"{path} cannot be read as a LAMMPS data file: {error or type(error).__name__}.") from error
    numbers = {int(t): int(z) for t, z in zip(types, atoms.numbers)}
    far = [f"{mass:g}" for mass, z in zip(atoms.get_masses(), atoms.numbers) if abs(mass - atomic_masses[z]) > MASS_TOLERANCE]
    if not config.elements and (far or not re.search(r"^\s*Masses", text, re.MULTILINE)):  # without masses ASE takes type 1 for H, 2 for He
        said = f"has a mass of {far[0]}, which is no element's" if far else "has no masses that tell the elements"
        raise DataError(f"{path} {said}; list elements in the order of the types with lammps.elements.")
    return _Topology(numbers, None if charges is None else {int(i): float(q) for i, q in zip(ids, charges)})
