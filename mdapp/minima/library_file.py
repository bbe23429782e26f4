"""minima.h5: the minima and every visit to one, in a file that an ordinary read-only open finds whole at any time.

It is never changed in place. What is new goes at once to a journal beside it (`minima.journal`, checksummed records; see `mdapp.trajectory.journal`), and now and then the
journal is folded into a copy that takes the file's name. A killed process loses nothing that was written; readers of ours look into the journal too.

Layout, ASE units unless the name says otherwise, -1 for «none» in whole numbers, NaN in others::

    attributes            program, format, library_id, n_events, mirror, rmsd_max_A, energy_window_eV, is_chiral (0 or 1; older files have none), info (JSON: charge and the like)
    numbers               (n_atoms,) atomic numbers
    bonds                 (n_bonds, 2) the bond graph that says which atoms are equivalent
    names/...             (n_atoms,) atom and residue names, where the start had them
    minima/positions      (n_minima, n_atoms, 3) Å, in the order in which they were found
    minima/energy         (n_minima,) eV
    minima/fingerprint    (n_minima, n_features) Å, see mdapp.minima.identity
    minima/frequencies_cm1  (n_minima, 3 n_atoms) imaginary ones negative, NaN where unknown and behind the last
    minima/visits         (n_minima,) how often a search ended there, the first time included
    minima/parent, walker, evaluation, move   (n_minima,) who found it first, from where, at which evaluation of the potential, by which move
    visits/minimum, parent, walker, evaluation, move, energy, distance   (n_visits,) every arrival in order; distance in Å from the stored minimum
"""
from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms

from mdapp.errors import RunFolderError
from mdapp.minima.records import MOVE_BYTES
from mdapp.trajectory.files import replacing
from mdapp.trajectory.hdf5 import image_of, make_room, open_plain
from mdapp.trajectory.layout import Field, Layout

FORMAT = 1
LIBRARY = ("v110", "v110")
CHUNK_BYTES = 1 << 16
NAMES = ("atomtypes", "residuenames", "residuenumbers", "residueindex", "chainindex")
INFO_KEPT = ("charge", "spin", "multiplicity")  # of the start
NEW, VISIT, FREQUENCIES = 0, 1, 2  # kinds of events
_ORIGIN = {"parent": "<i8", "walker": "<i8", "evaluation": "<i8", "move": f"S{MOVE_BYTES}"}
_VISIT = {"minimum": "<i8", **_ORIGIN, "energy": "<f8", "distance": "<f8"}


@dataclass(frozen=True)
class Header:
    """What all minima of a library share."""

    reference: Atoms  # the start: elements, names, charge; its positions are not stored
    bonds: np.ndarray  # (n_bonds, 2)
    mirror: str
    rmsd_max: float  # Å
    energy_window_eV: float
    library_id: str
    is_chiral: bool | None = None  # of the start; None in files that do not say


@dataclass
class Contents:
    """The arrays of a library in memory, by the names of the file."""

    n_events: int
    minima: dict[str, np.ndarray] = field(default_factory=dict)
    visits: dict[str, np.ndarray] = field(default_factory=dict)


def event_layout(n_atoms: int) -> Layout:
    """One record of the journal: a minimum found, a visit, or frequencies (in `values`, padded with NaN)."""
    fields = {"serial": "<i8", "kind": "|u1", **_VISIT, "values": "<f8"}
    return Layout(n_atoms, tuple(Field(name, name, np.dtype(kind).str, (n_atoms, 3) if name == "values" else (), "") for name, kind in fields.items()))


def create(path: Path, header: Header, n_features: int) -> None:
    """A library without minima."""
    from mdapp import version

    n, atoms = len(header.reference), header.reference
    info = {key: value for key, value in atoms.info.items() if key in INFO_KEPT and isinstance(value, (bool, int, float))}
    with image_of(libver=LIBRARY) as (file, image):
        file.attrs.update({
            "program": np.bytes_(f"mdapp {version()}".encode()), "format": FORMAT, "library_id": np.bytes_(header.library_id.encode()), "n_events": 0,
            "mirror": np.bytes_(header.mirror.encode()), "rmsd_max_A": header.rmsd_max, "energy_window_eV": header.energy_window_eV,
            "info": np.bytes_(json.dumps(info).encode("ascii")), **({} if header.is_chiral is None else {"is_chiral": int(header.is_chiral)}),
        })  # fmt: skip
        _whole(file, "numbers", np.asarray(atoms.numbers, dtype="<i4"))
        _whole(file, "bonds", np.asarray(header.bonds, dtype="<i8").reshape(-1, 2))
        for name in (name for name in NAMES if name in atoms.arrays):
            values = atoms.arrays[name]
            _whole(file, f"names/{name}", np.char.encode(values.astype(str), "utf-8") if values.dtype.kind in "UO" else values)
        _growing(file, "minima/positions", (n, 3), "<f8", "angstrom")
        _growing(file, "minima/energy", (), "<f8", "eV")
        _growing(file, "minima/fingerprint", (n_features,), "<f4", "angstrom")
        _growing(file, "minima/frequencies_cm1", (3 * n,), "<f8", "1/cm", np.nan)
        _growing(file, "minima/visits", (), "<i8", "")
        for name, kind in _ORIGIN.items():
            _growing(file, f"minima/{name}", (), kind, "")
        for name, kind in _VISIT.items():
            _growing(file, f"visits/{name}", (), kind, {"energy": "eV", "distance": "angstrom"}.get(name, ""))
    with replacing(path) as temporary:
        temporary.write_bytes(image)


def append(path: Path, n_events: int, minima: Mapping[str, np.ndarray], visits: Mapping[str, np.ndarray], counts: np.ndarray, frequencies: Mapping[int, np.ndarray]) -> None:
    """The file with these rows behind the others.

    Parameters
    ----------
    n_events : how many events the file then knows.
    minima, visits : columns by name, the new rows only.
    counts : (n_minima,) visits of all minima, old and new.
    frequencies : (3 n_atoms,) by minimum, old or new.
    """
    added = sum(v.nbytes for v in (*minima.values(), *visits.values(), *frequencies.values())) + counts.nbytes
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        make_room(temporary, added + 64 * CHUNK_BYTES)
        with h5py.File(temporary, "r+", libver=LIBRARY, locking=False) as file:
            for group, columns in (("minima", minima), ("visits", visits)):
                for name, values in columns.items():
                    dataset = file[f"{group}/{name}"]
                    before = len(dataset)
                    dataset.resize(before + len(values), axis=0)
                    dataset[before:] = values
            file["minima/visits"].resize(len(counts), axis=0)
            file["minima/visits"][:] = counts
            file["minima/frequencies_cm1"].resize(len(counts), axis=0)
            for index, values in frequencies.items():
                file["minima/frequencies_cm1"][index] = values
            file.attrs["n_events"] = n_events


def read(path: Path) -> tuple[Header, Contents]:
    """A library as its file has it, without the journal.

    Raises
    ------
    RunFolderError : missing, damaged, of another program or a newer format.
    """
    with open_plain(path) as file:
        try:
            if _text(file.attrs["program"]).split()[0] != "mdapp" or "minima" not in file:
                raise KeyError("program")
            if int(file.attrs["format"]) > FORMAT:
                raise RunFolderError(f"{path} has format {int(file.attrs['format'])}, this program reads up to {FORMAT}; use a newer version.")
            numbers = file["numbers"][:].astype(np.int64)
            atoms = Atoms(numbers=numbers, positions=np.zeros((len(numbers), 3)))
            for name in file.get("names", {}):
                values = file[f"names/{name}"][:]
                atoms.set_array(name, np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values)
            atoms.info.update(json.loads(_text(file.attrs["info"])))
            header = Header(atoms, file["bonds"][:], _text(file.attrs["mirror"]), float(file.attrs["rmsd_max_A"]), float(file.attrs["energy_window_eV"]),
                            _text(file.attrs["library_id"]), bool(file.attrs["is_chiral"]) if "is_chiral" in file.attrs else None)
            contents = Contents(int(file.attrs["n_events"]), *({name: file[group][name][:] for name in file[group]} for group in ("minima", "visits")))
        except RunFolderError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise RunFolderError(f"{path} is damaged or no library of minima ({type(error).__name__}: {str(error)[:80]}).") from None
    _check(path, header, contents)
    return header, contents


def _check(path: Path, header: Header, contents: Contents) -> None:
    n, m = len(header.reference), contents.minima
    lengths = {len(values) for values in m.values()}
    fits = len(lengths) == 1 and m["positions"].shape[1:] == (n, 3) and m["frequencies_cm1"].shape[1:] == (3 * n,) and np.isfinite(m["positions"]).all()
    fits &= np.isfinite(m["energy"]).all() and len({len(values) for values in contents.visits.values()}) == 1
    reached = contents.visits["minimum"]
    fits &= not len(reached) or (reached.min() >= 0 and reached.max() < len(m["energy"]))
    fits &= not header.bonds.size or (header.bonds.min() >= 0 and header.bonds.max() < n)
    if not fits:
        raise RunFolderError(f"{path} is damaged: its datasets do not belong together.")


def _whole(file: h5py.File, name: str, values: np.ndarray) -> None:
    file.create_dataset(name, data=values, chunks=True if values.size else None, fletcher32=bool(values.size))


def _growing(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, units: str, fill: Any = None) -> None:
    rows = int(np.clip(CHUNK_BYTES // max(1, int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize), 1, 1024))
    dataset = file.create_dataset(name, shape=(0, *shape), maxshape=(None, *shape), dtype=dtype, chunks=(rows, *(max(k, 1) for k in shape)), fletcher32=True,
                                  fillvalue=fill)
    if units:
        dataset.attrs["units"] = np.bytes_(units.encode("ascii"))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
