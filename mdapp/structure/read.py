"""The one way from a file to a structure.

ASE reads any of a hundred formats, splits file names at '@', and lets non-finite numbers, dummy elements, zero atoms and singular cells pass.
So there is a list of formats here, all of which are text or plain data and cannot run code, and every structure goes through `clean`.
"""
from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from mdapp.errors import StructureError
from mdapp.frame import named
from mdapp.structure import pdb, xyz
from mdapp.structure.boxes import cell_problem, drop_box_that_is_none

SUFFIXES = {
    ".xyz": "xyz", ".extxyz": "xyz", ".pdb": "pdb", ".ent": "pdb", ".traj": "traj", ".cif": "cif", ".vasp": "vasp", ".poscar": "vasp",
    ".gen": "gen", ".gro": "gromacs", ".xsf": "xsf", ".mol": "mol", ".sdf": "sdf",
}  # fmt: skip
NAMES = {"POSCAR": "vasp", "CONTCAR": "vasp"}
CHARGE_KEYS = ("charge", "total_charge", "Charge", "net_charge", "totalcharge")
COUNTED = {"vasp": slice(5, 7), "gen": slice(0, 1), "gromacs": slice(1, 2)}  # lines that claim atom counts
FURTHER_ARRAYS = ("atomtypes", "residuenames", "residuenumbers", "residueindex", "chainindex", "masses", "momenta")

Item = TypeVar("Item")


def read_structure(path: str | Path, index: int = -1) -> Atoms:
    """One structure from a file: checked, without calculator, with notes for the user.

    Parameters
    ----------
    path : xyz, extxyz, pdb, ent, traj (ASE), cif, POSCAR/CONTCAR/vasp, gen, gro, xsf, mol, sdf, told by the name.
    index : which structure of a file that holds several; negative ones count from the end.

    Returns
    -------
    Atoms. `info["notes"]` is a list of sentences for the user (a box dropped, alternate locations, which of several structures);
    `info["charge"]` is the total charge where the file gives one; PDB names are in the arrays that `mdapp.structure.pdb` describes.

    Raises
    ------
    StructureError : the file is missing, empty, a folder, of another format, or holds no structure that can be simulated.
    """
    path = existing_file(path)
    kind = format_of(path)
    if kind == "xyz":
        block, count = _pick(xyz.blocks(path), index, path)
        atoms, notes = xyz.parse(block, path), []
    elif kind == "pdb":
        (model, box), count = _pick(pdb.models(path), index, path)
        atoms, notes = pdb.atoms_of(model, box)
    else:
        atoms, notes, count = _by_ase(path, kind, index)
    if count > 1:
        chosen = index % count + 1
        notes.append(f"The file holds {count} structures; number {chosen}{' (the last)' if chosen == count else ''} is used.")
    return clean(atoms, path, notes, from_pdb=kind == "pdb")


def existing_file(path: str | Path) -> Path:
    """The path, if it is a file that can be read and is not empty."""
    path = Path(path)
    try:
        if path.is_dir():
            raise StructureError(f"{path} is a folder; give a structure file.")
        if not path.exists():
            raise StructureError(f"{path} does not exist.")
        if not path.is_file():
            raise StructureError(f"{path} is no ordinary file.")
        if path.stat().st_size == 0:
            raise StructureError(f"{path} is empty.")
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        raise StructureError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return path


def format_of(path: Path) -> str:
    """Format by the file's name; StructureError that lists what is known for any other."""
    kind = NAMES.get(path.name.upper()) or SUFFIXES.get(path.suffix.lower())
    if kind is None and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        kind = "vasp"
    if kind is None and path.name == "trajectory.h5":
        raise StructureError(f"{path} is the trajectory of a run; its last frame is in {path.with_name('final.extxyz')}.")
    if kind is None:
        raise StructureError(f"{path}: unknown kind of file; structures are read from {', '.join(SUFFIXES)}, POSCAR and CONTCAR.")
    return kind


def clean(atoms: Atoms, path: Path, notes: list[str], from_pdb: bool = False) -> Atoms:
    """A structure as the engine wants it: only what it needs, all of it checked.

    Raises
    ------
    StructureError : no atoms, dummy elements, numbers that are not finite, an unusable cell, masses that are not positive, a charge that is none.
    """
    if len(atoms) == 0:
        raise StructureError(f"{path} holds no atoms.")
    dummies = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers > 118))
    if len(dummies):
        raise StructureError(f"{path}: atom {dummies[0]} (counted from 0) is a dummy without element; remove such atoms ({len(dummies)} of {len(atoms)}).")
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if len(bad):
        raise StructureError(f"{path}: the coordinates of {named(atoms.numbers, bad[:1])} are not finite numbers ({len(bad)} of {len(atoms)} atoms).")
    problem = cell_problem(atoms.cell.array, atoms.pbc)
    if problem:
        raise StructureError(f"{path}: {problem}.")
    if np.abs(atoms.positions).max() > 1e6:
        raise StructureError(f"{path}: coordinates reach {np.abs(atoms.positions).max():.1e} Å; are they in Ångström?")
    result = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name in FURTHER_ARRAYS:
        if name in atoms.arrays:
            result.set_array(name, atoms.arrays[name].copy())
    if "masses" in result.arrays and not (np.isfinite(result.arrays["masses"]).all() and (result.arrays["masses"] > 0).all()):
        raise StructureError(f"{path}: the masses must be finite and above zero.")
    if "momenta" in result.arrays and not np.isfinite(result.arrays["momenta"]).all():
        raise StructureError(f"{path}: the momenta are not all finite numbers.")
    notes = notes + _of_masses(result)
    if atoms.constraints:
        notes.append("The constraints in the file are not used: all atoms move.")
    charge = _charge(atoms.info, path)
    if charge is not None:
        result.info["charge"] = charge
    for key, value in atoms.info.items():
        if key not in CHARGE_KEYS and key != "notes" and isinstance(value, (str, bool, int, float, np.integer, np.floating, np.bool_)):
            result.info[key] = value.item() if isinstance(value, np.generic) else value
    notes = notes + drop_box_that_is_none(result, from_pdb=from_pdb)
    result.info["notes"] = notes
    return result


def _of_masses(atoms: Atoms) -> list[str]:
    """What is said of masses that a file states, where they are not those of its elements."""
    if "masses" not in atoms.arrays:
        return []
    usual = atomic_masses[atoms.numbers]
    odd = np.flatnonzero(np.abs(atoms.arrays["masses"] - usual) > 0.01)
    if not len(odd):
        return []
    k = int(odd[np.argmax(np.abs(atoms.arrays["masses"][odd] / usual[odd] - 1))])
    one = f"{named(atoms.numbers, [k])} with {atoms.arrays['masses'][k]:.4g} amu for one"
    return [f"Masses of the file are used: {len(odd)} of {len(atoms)} are not those of their elements, {one}."]


def _pick(items: Iterator[Item], index: int, path: Path) -> tuple[Item, int]:
    """The item at `index` of an iterator of unknown length, with that length; keeps no more items than needed."""
    kept: deque[Item] = deque(maxlen=-index if index < 0 else 1)
    count = 0
    for count, item in enumerate(items, start=1):
        if index < 0 or count == index + 1:
            kept.append(item)
    if count == 0:
        raise StructureError(f"{path} holds no structure.")
    if not -count <= index < count:
        raise StructureError(f"{path} holds {count} structure(s), index {index} is not among them (0 to {count - 1}, or -1 for the last).")
    return kept[0], count


def _by_ase(path: Path, kind: str, index: int) -> tuple[Atoms, list[str], int]:
    """The formats that ASE reads well, opened by us so that the name is never interpreted."""
    notes: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if kind == "traj":
                from ase.io.trajectory import Trajectory

                with Trajectory(path) as frames:
                    count = len(frames)
                    atoms = frames[index] if -count <= index < count else None
            else:
                _refuse_claims(path, kind)
                from ase.io.formats import ioformats

                options = {"fractional_occupancies": True} if kind == "cif" else {}
                reader = ioformats[kind]
                every = () if reader.single else (slice(None),)
                with open(path, "rb") if reader.isbinary else open(path, encoding="utf-8", errors="replace") as stream:
                    images = list(reader.read(stream, *every, **options))
                count = len(images)
                atoms = images[index] if -count <= index < count else None
        notes += sorted({str(entry.message).splitlines()[0] for entry in caught if issubclass(entry.category, UserWarning)})
    except StructureError:
        raise
    except (Exception, MemoryError) as error:
        text = str(error).strip().splitlines()
        raise StructureError(f"{path} cannot be read as {kind}: {text[0][:120].rstrip('.') if text else type(error).__name__}.") from None
    if count == 0:
        raise StructureError(f"{path} holds no structure.")
    if atoms is None:
        raise StructureError(f"{path} holds {count} structure(s), index {index} is not among them (0 to {count - 1}, or -1 for the last).")
    shared = [site for site in (atoms.info.get("occupancy") or {}).values() if len(site) > 1 or min(site.values()) < 0.999]
    if shared:
        raise StructureError(f"{path}: {len(shared)} site(s) are only partly occupied; give a structure with whole atoms.")
    return atoms, notes, count


def _refuse_claims(path: Path, kind: str) -> None:
    """Refuses a file whose head claims more atoms than its bytes can hold, before a reader takes it at its word."""
    if kind not in COUNTED:
        return
    size = path.stat().st_size
    with open(path, encoding="utf-8", errors="replace") as stream:
        head = [stream.readline(4096) for _ in range(8)]
    for word in " ".join(head[COUNTED[kind]]).split():
        if word.isdigit() and (len(word) > 15 or int(word) * 4 > size):
            raise StructureError(f"{path}: the head claims {word[:20]} atoms, more than a file of {size} bytes can hold.")


def _charge(info: dict, path: Path) -> int | float | None:
    """Total charge that the file gives, in e: an int where it is whole."""
    for key in CHARGE_KEYS:
        if key in info:
            value = info[key]
            try:
                charge = float(value)
            except (TypeError, ValueError):
                charge = np.nan
            if isinstance(value, bool) or not np.isfinite(charge):
                raise StructureError(f"{path}: {key} must be the total charge in e, got {value!r}.")
            return int(round(charge)) if abs(charge - round(charge)) < 1e-6 else charge
    return None
