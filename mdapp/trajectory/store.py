"""trajectory.h5: the file that others open.

It is never changed in place: frames are added to a copy that then takes its name. So an ordinary read-only open finds a whole file at any time, also after
`kill -9`, which one growing HDF5 file does not survive.

Altered bytes are errors on reading: data carry Fletcher checksums, and structures are those of HDF5 1.10, which carry theirs. Text is of fixed length, because the heap of
variable text has no checksum and the library may loop for ever in a damaged one.
"""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np

from mdapp.errors import RunFolderError
from mdapp.trajectory.files import replacing
from mdapp.trajectory.hdf5 import image_of, make_room, open_plain
from mdapp.trajectory.layout import Constants, Field, Layout

FORMAT = 1
CHUNK_BYTES = 1 << 16
READ_BYTES = 8 << 20  # at a time, of a file that is looked through
LIBRARY = ("v110", "v110")  # oldest and newest structures in the file


def create(path: Path, layout: Layout, constants: Constants, topology: dict, run_id: str, records: np.ndarray) -> None:
    """A new trajectory that holds these records, in MDTraj's HDF5 form.

    Parameters
    ----------
    topology : as `mdtraj.formats.HDF5TrajectoryFile.convert_topology_to_dict` gives it, in the file's atom order.
    """
    from mdapp import version

    with image_of(libver=LIBRARY) as (file, image):
        for key, text in {"conventions": "Pande", "conventionVersion": "1.1", "program": "mdapp", "programVersion": version(),
                          "application": "mdapp", "title": path.parent.name}.items():  # fmt: skip
            file.attrs[key] = np.bytes_(text.encode("ascii", "replace"))
        file.create_dataset("topology", data=np.array([json.dumps(topology).encode("ascii")]), chunks=(1,), fletcher32=True)
        group = file.create_group("mdapp")
        group.attrs.update({"format": FORMAT, "run_id": np.bytes_(run_id.encode()), "n_atoms": layout.n_atoms})
        group.create_dataset("numbers", data=np.asarray(constants.numbers, dtype="<i4"), chunks=True, fletcher32=True)
        group.create_dataset("masses", data=np.asarray(constants.masses, dtype="<f8"), chunks=True, fletcher32=True)
        group.create_dataset("pbc", data=np.asarray(constants.pbc, dtype="<i4"), chunks=True, fletcher32=True)
        group.create_dataset("atom_order", data=np.asarray(constants.order, dtype="<i8"), chunks=True, fletcher32=True)
        for field in layout.fields:
            per_frame = max(1, int(np.prod(field.shape, dtype=int)) * np.dtype(field.dtype).itemsize)
            rows = int(np.clip(CHUNK_BYTES // per_frame, 1, 256))
            dataset = file.create_dataset(
                field.path, shape=(0, *field.shape), maxshape=(None, *field.shape), dtype=field.dtype, chunks=(rows, *(max(n, 1) for n in field.shape)),
                fletcher32=True,  # an altered byte is an error on reading
            )
            dataset.attrs["units"] = np.bytes_(field.units.encode("ascii"))
            dataset.attrs["record"] = np.bytes_(field.name.encode("ascii"))
        _extend(file, layout, records)
    with replacing(path) as temporary:
        temporary.write_bytes(image)


def append(path: Path, layout: Layout, records: np.ndarray) -> None:
    """The trajectory with these records behind its frames."""
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        make_room(temporary, records.nbytes + (len(layout.fields) + 2) * 2 * CHUNK_BYTES)
        with h5py.File(temporary, "r+", libver=LIBRARY, locking=False) as file:
            _extend(file, layout, records)


def cut(path: Path, n_frames: int) -> None:
    """The trajectory with its first `n_frames` frames only."""
    layout = read_layout(path)[0]
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        make_room(temporary, 2 * CHUNK_BYTES)
        with h5py.File(temporary, "r+", libver=LIBRARY, locking=False) as file:
            for field in layout.fields:
                file[field.path].resize(n_frames, axis=0)


def _extend(file: h5py.File, layout: Layout, records: np.ndarray) -> None:
    n_old = len(file["coordinates"])
    for field in layout.fields:
        dataset = file[field.path]
        dataset.resize(n_old + len(records), axis=0)
        if len(records):
            dataset[n_old:] = records[field.name]


def read_layout(path: Path) -> tuple[Layout, Constants, str, np.ndarray]:
    """Layout, constants, run and steps (n_frames,) of a trajectory of ours.

    Raises
    ------
    RunFolderError : damaged, of another program, of a newer format, or with datasets that do not belong together.
    """
    with open_plain(path) as file:
        return layout_in(file, path)


def refuse_unreadable(path: Path, layout: Layout) -> None:
    """Read every frame once, which compares it with its checksum.

    Raises
    ------
    RunFolderError : some cannot be read; the first such frame is named.
    """
    with open_plain(path) as file:
        for field in layout.fields:
            dataset = file[field.path]
            rows = max(1, READ_BYTES // max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))))
            for begin in range(0, len(dataset), rows):
                try:
                    dataset[begin : begin + rows]
                except OSError:
                    raise RunFolderError(f"{path} is damaged near frame {begin} ({field.path} does not fit its checksum). Bring the whole file back, or start anew.") from None


def layout_in(file: h5py.File, path: Path) -> tuple[Layout, Constants, str, np.ndarray]:
    """The same for an open file."""
    try:
        group = file["mdapp"]
        if int(group.attrs["format"]) > FORMAT:
            raise RunFolderError(f"{path} has format {int(group.attrs['format'])}, this program reads up to {FORMAT}; use a newer version.")
        n_atoms = int(group.attrs["n_atoms"])
        found: list[Field] = []

        def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset) and "record" in item.attrs:
                found.append(Field(_text(item.attrs["record"]), name, item.dtype.str, item.shape[1:], _text(item.attrs["units"])))

        file.visititems(visit)
        counts = {len(file[field.path]) for field in found}
        names = {field.name for field in found}
        constants = Constants(
            numbers=file["mdapp/numbers"][:].astype(np.int64), masses=file["mdapp/masses"][:], pbc=file["mdapp/pbc"][:].astype(bool), order=file["mdapp/atom_order"][:]
        )
        steps = file["mdapp/step"][:]
        run_id = _text(group.attrs["run_id"])
    except RunFolderError:
        raise
    except Exception as error:
        raise RunFolderError(f"{path} is damaged or no trajectory of this program ({type(error).__name__}: {str(error)[:80]}).") from None
    needed = {"step", "time", "coordinates", "velocities", "forces", "potential", "kinetic", "temperature", "conserved"}
    shapes_fit = len(constants.numbers) == len(constants.masses) == n_atoms and np.array_equal(np.sort(constants.order), np.arange(n_atoms))
    if len(counts) != 1 or needed - names or not shapes_fit:
        raise RunFolderError(f"{path} is damaged: its datasets do not belong together.")
    if len(steps) > 1 and not (np.diff(steps) > 0).all():
        raise RunFolderError(f"{path} is damaged: its steps do not rise.")
    return Layout(n_atoms, tuple(found)), constants, run_id, steps


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
