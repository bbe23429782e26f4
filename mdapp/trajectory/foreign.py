"""Trajectories of other programs as Frames: text formats and ASE's traj through ASE, binary ones through MDTraj with a topology, LAMMPS dumps by our own reader.

What such a file does not hold is NaN. Steps count frames, times are 0 where the file tells none.
"""
from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses

from mdapp.errors import StructureError
from mdapp.frame import Frame
from mdapp.structure import pdb, xyz
from mdapp.structure.read import SUFFIXES, existing_file
from mdapp.trajectory import lammps
from mdapp.trajectory.cut import cut_off
from mdapp.trajectory.hdf5 import open_plain
from mdapp.trajectory.hushed import hushed

if TYPE_CHECKING:
    import mdtraj

BY_MDTRAJ = (".dcd", ".xtc", ".trr", ".nc", ".netcdf", ".h5", ".hdf5")
NOISY = (".dcd", ".xtc", ".trr")  # their libraries print
MANY = 200  # frames read at once
TELLS_NO_TIME = (".dcd",)  # MDTraj counts its frames as picoseconds
KNOWS_TOPOLOGY = (".h5", ".hdf5")
TOPOLOGIES = (".pdb", ".h5", ".hdf5", ".prmtop", ".parm7", ".psf")


def read(path: Path, stride: int = 1, topology: str | Path | None = None, elements: Sequence[str] = ()) -> Iterator[Frame]:
    """Frames of a file, one at a time. See `mdapp.trajectory.read.read_frames`."""
    path = existing_file(path)
    kind = SUFFIXES.get(path.suffix.lower())
    if path.suffix.lower() in BY_MDTRAJ:
        yield from _by_mdtraj(path, stride, topology)
    elif kind == "xyz":
        images = (xyz.parse(block, path) for block in xyz.blocks(path) if (block.number - 1) % stride == 0)
        yield from (_frame(atoms, k * stride, path) for k, atoms in enumerate(images))
    elif kind == "pdb":
        models = (pdb.atoms_of(model, box)[0] for model, box in pdb.models(path) if (model.number - 1) % stride == 0)
        yield from (_frame(atoms, k * stride, path) for k, atoms in enumerate(models))
    elif kind == "traj":
        yield from _by_ase_trajectory(path, stride)
    elif lammps.is_dump(path):
        images = enumerate(lammps.read_dump(path, topology, elements))
        yield from (_frame(atoms, step, path, time_fs=time_fs) for k, (atoms, step, time_fs) in images if k % stride == 0)
    else:
        raise StructureError(f"{path}: trajectories are read from run folders, xyz, extxyz, pdb, traj, LAMMPS dumps, {', '.join(s[1:] for s in BY_MDTRAJ)}.")


def load_mdtraj(path: Path, stride: int = 1, topology: str | Path | None = None) -> mdtraj.Trajectory:
    """A whole file as an mdtraj.Trajectory; where the format knows no names, residues are found from the first frame's graph."""
    import mdtraj

    from mdapp.topology.mdtraj_topology import topology_of
    from mdapp.topology.order import in_residue_order

    path = existing_file(path)
    if path.suffix.lower() in BY_MDTRAJ:
        return mdtraj.join(list(_chunks(path, stride, topology)), check_topology=False)
    positions, times, boxes, order, ordered = [], [], [], None, None
    for frame in read(path, stride, topology):
        if ordered is None:
            first = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
            ordered, order = in_residue_order(topology_of(first))
        elif len(frame.numbers) != len(positions[0]):
            raise StructureError(f"{path}: frame {frame.step} has {len(frame.numbers)} atoms, the first has {len(positions[0])}; all must be alike.")
        positions.append(frame.positions[order] * 0.1)
        times.append(frame.time_fs * 1e-3)
        boxes.append(frame.cell * 0.1)
    trajectory = mdtraj.Trajectory(np.array(positions), ordered, time=np.array(times))
    if all(np.linalg.matrix_rank(box) == 3 for box in boxes):
        trajectory.unitcell_vectors = np.array(boxes)
    return trajectory


def _by_ase_trajectory(path: Path, stride: int) -> Iterator[Frame]:
    from ase.io.trajectory import Trajectory

    try:
        with Trajectory(path) as images:
            for k in range(0, len(images), stride):
                yield _frame(images[k], k, path)
    except (StructureError, GeneratorExit):
        raise
    except Exception as error:
        raise StructureError(f"{path} cannot be read as an ASE trajectory: {str(error).splitlines()[0] if str(error) else type(error).__name__}.") from None


def _by_mdtraj(path: Path, stride: int, topology: str | Path | None) -> Iterator[Frame]:
    k, timed = 0, path.suffix.lower() not in TELLS_NO_TIME
    for chunk in _chunks(path, stride, topology):
        numbers = np.array([atom.element.atomic_number for atom in chunk.topology._atoms], dtype=np.int64)
        if not (numbers > 0).all():
            raise StructureError(f"{path}: the topology has atoms without element.")
        cells = chunk.unitcell_vectors  # made anew at each look
        for i in range(chunk.n_frames):
            atoms = Atoms(numbers=numbers, positions=chunk.xyz[i].astype(float) * 10, cell=None if cells is None else cells[i] * 10, pbc=cells is not None)
            yield _frame(atoms, k * stride, path, time_fs=float(chunk.time[i]) * 1e3 if timed else 0.0)
            k += 1
    if cut := cut_off(path):
        raise StructureError(f"{path} is cut off: {cut}")


def _chunks(path: Path, stride: int, topology: str | Path | None) -> Iterator[mdtraj.Trajectory]:
    import mdtraj

    options = {}
    if path.suffix.lower() in KNOWS_TOPOLOGY:
        with open_plain(path):  # no links out of the file
            pass
    else:
        if topology is None:
            raise StructureError(f"{path} knows no elements; give a PDB file with the same atoms as its topology.")
        options["top"] = _topology(existing_file(topology))
    n_read = 0
    for at_once in (MANY, 1):  # what many cannot be read of at once, a file that was cut, is read one by one up to its last whole frame
        chunks = mdtraj.iterload(str(path), chunk=at_once * stride, stride=stride, skip=n_read * stride, **options)
        while True:
            try:
                chunk = _next(chunks, noisy=path.suffix.lower() in NOISY)
            except Exception as error:
                if at_once > 1 and path.suffix.lower() in NOISY:
                    break
                reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
                raise StructureError(f"{path} cannot be read{f' beyond frame {n_read * stride - 1}' if n_read else ''}: {reason}.") from None
            if chunk is None:
                return
            n_read += chunk.n_frames
            yield chunk


def _next(chunks: Iterator[mdtraj.Trajectory], *, noisy: bool) -> mdtraj.Trajectory | None:
    with warnings.catch_warnings(), hushed() if noisy else nullcontext():
        warnings.simplefilter("ignore")  # on optional packages and missing times
        return next(chunks, None)


def _topology(path: Path) -> str | mdtraj.Topology:
    """What MDTraj reads by itself, or of any other structure file the topology that its graph shows, in the file's atom order."""
    from mdapp.structure import read_structure
    from mdapp.topology.mdtraj_topology import topology_of

    if path.suffix.lower() in TOPOLOGIES:
        return str(path)
    return topology_of(read_structure(path))


def _frame(atoms: Atoms, number: int, path: Path, time_fs: float | None = None) -> Frame:
    """Atoms with whatever a file told of them, as a Frame."""
    n = len(atoms)
    if n == 0 or not np.isfinite(atoms.positions).all():
        raise StructureError(f"{path}: frame {number} {'has no atoms' if n == 0 else 'holds coordinates that are not finite numbers'}.")
    results = atoms.calc.results if atoms.calc is not None else {}
    masses = atoms.get_masses() if atoms.has("masses") else atomic_masses[atoms.numbers]
    momenta = atoms.get_momenta() if atoms.has("momenta") else np.full((n, 3), np.nan)
    kinetic = float((momenta**2 / (2 * masses[:, None])).sum())
    stress = results.get("stress")
    return Frame(
        step=int(_number(atoms.info.get("step"), number)), time_fs=time_fs if time_fs is not None else _number(atoms.info.get("time_fs"), 0.0),
        numbers=atoms.numbers.copy(), masses=masses, positions=atoms.positions.copy(), momenta=momenta,
        forces=np.asarray(results.get("forces", np.full((n, 3), np.nan)), dtype=float), cell=atoms.cell.array.copy(), pbc=atoms.pbc.copy(),
        potential_energy=_number(results.get("energy"), np.nan), kinetic_energy=kinetic, temperature_K=kinetic / (1.5 * n * units.kB), conserved_energy=np.nan,
        stress=np.asarray(stress, dtype=float) if stress is not None and np.shape(stress) == (6,) else None, extras=_extras(atoms, results),
    )  # fmt: skip


def _extras(atoms: Atoms, results: dict) -> dict[str, np.ndarray]:
    """Charges of the atoms and the dipole, where a file holds them as results or as plain columns and numbers."""
    found = {"charges": results.get("charges", atoms.arrays.get("charges")), "dipole": results.get("dipole", atoms.info.get("dipole"))}
    shapes = {"charges": (len(atoms),), "dipole": (3,)}
    return {name: np.asarray(value, dtype=float) for name, value in found.items() if value is not None and np.shape(value) == shapes[name]}


def _number(value, otherwise: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return otherwise
