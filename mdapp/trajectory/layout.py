"""What is stored of a frame: names, units and precision, after MDTraj's HDF5 convention.

Root datasets are MDTraj's: `coordinates` (nm), `time` (ps), `cell_lengths` (nm), `cell_angles` (degrees), `velocities` (nm/ps), `kineticEnergy` and
`potentialEnergy` (kJ/mol), `temperature` (K); `forces` (kJ/mol/nm) stands beside them. The group `mdapp` holds the rest in ASE units. Per-atom data are float32 as
in MDTraj, scalars are float64: in float32 a total energy of a peptide is known to 1 kJ/mol, and a long time to no better than the time step.

MDTraj knows a cell by lengths and angles only, a along x. A cell that lies otherwise is turned with everything in it; `mdapp/cell` keeps the true one, so that
reading turns back. Atoms are stored residue by residue, as MDTraj demands; `mdapp/atom_order` leads from the input's order to the file's.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import units
from ase.geometry import cell_to_cellpar, cellpar_to_cell

from mdapp.frame import OF_ALL, Frame

NM = 0.1  # per Å
PS = 1e-3  # per fs
KJ_PER_MOL = units.mol / units.kJ  # per eV
NM_PER_PS = NM * units.fs / PS  # per Å and ASE time unit


@dataclass(frozen=True)
class Field:
    """One dataset of a trajectory: what of a frame goes there."""

    name: str  # in records
    path: str  # in the HDF5 file
    dtype: str
    shape: tuple[int, ...]  # of one frame
    units: str


@dataclass(frozen=True)
class Layout:
    """The fields of a trajectory, fixed by its first frame. A later frame without one of them stores NaN there."""

    n_atoms: int
    fields: tuple[Field, ...]

    @property
    def record(self) -> np.dtype:
        """One frame as a packed record."""
        return np.dtype([(field.name, field.dtype, field.shape) for field in self.fields])


def layout_of(frame: Frame) -> Layout:
    """The layout that holds everything in a frame."""
    n = len(frame.numbers)
    fields = [
        Field("step", "mdapp/step", "<i8", (), "dimensionless"),
        Field("time", "time", "<f8", (), "picoseconds"),
        Field("coordinates", "coordinates", "<f4", (n, 3), "nanometers"),
        Field("velocities", "velocities", "<f4", (n, 3), "nanometers/picosecond"),
        Field("forces", "forces", "<f4", (n, 3), "kilojoules_per_mole/nanometer"),
        Field("potential", "potentialEnergy", "<f8", (), "kilojoules_per_mole"),
        Field("kinetic", "kineticEnergy", "<f8", (), "kilojoules_per_mole"),
        Field("temperature", "temperature", "<f8", (), "kelvin"),
        Field("conserved", "mdapp/conserved_energy", "<f8", (), "eV"),
    ]
    if np.any(frame.cell):
        fields.append(Field("cell", "mdapp/cell", "<f8", (3, 3), "angstrom"))
    if _is_box(frame):
        fields.append(Field("cell_lengths", "cell_lengths", "<f8", (3,), "nanometers"))
        fields.append(Field("cell_angles", "cell_angles", "<f8", (3,), "degrees"))
    if frame.stress is not None:
        fields.append(Field("stress", "mdapp/stress", "<f8", (6,), "eV/angstrom^3, xx yy zz yz xz xy, positive under tension"))
    if frame.pressure is not None:
        fields.append(Field("pressure", "mdapp/pressure", "<f8", (), "eV/angstrom^3"))
    if frame.spread is not None:
        fields.append(Field("spread", "mdapp/spread", "<f8", (), "eV/angstrom"))
    for name in sorted(frame.extras):
        values = np.asarray(frame.extras[name])
        if values.dtype.kind in "fiub" and name.isidentifier():
            fields.append(Field(f"extra_{name}", f"mdapp/extras/{name}", "<f4", values.shape, "ASE units"))
    return Layout(n, tuple(fields))


def record_of(frame: Frame, layout: Layout, order: np.ndarray) -> np.ndarray:
    """A frame as one record in the file's units and atom order.

    Raises
    ------
    ValueError : another number of atoms; numbers that are not finite, which are never stored.
    """
    if len(frame.numbers) != layout.n_atoms:
        raise ValueError(f"a frame of {len(frame.numbers)} atoms in a trajectory of {layout.n_atoms}")
    turn = to_standard(frame.cell) if _is_box(frame) else None
    rotated = (lambda vectors: vectors[order]) if turn is None else (lambda vectors: vectors[order] @ turn)
    record = np.zeros((), dtype=layout.record)
    names = layout.record.names or ()
    record["step"], record["time"] = frame.step, frame.time_fs * PS
    record["coordinates"] = rotated(frame.positions) * NM
    record["velocities"] = rotated(frame.velocities) * NM_PER_PS
    record["forces"] = rotated(frame.forces) * (KJ_PER_MOL / NM)
    record["potential"], record["kinetic"] = frame.potential_energy * KJ_PER_MOL, frame.kinetic_energy * KJ_PER_MOL
    record["temperature"], record["conserved"] = frame.temperature_K, frame.conserved_energy
    for name in ("coordinates", "velocities", "forces", "potential", "kinetic"):
        if not np.isfinite(record[name]).all():
            raise ValueError(f"the {name} of the frame at step {frame.step} are not all finite; such a frame is not stored")
    if "cell" in names:
        record["cell"] = frame.cell
    if "cell_lengths" in names:
        parameters = cell_to_cellpar(frame.cell)
        record["cell_lengths"], record["cell_angles"] = parameters[:3] * NM, parameters[3:]
    for name in ("stress", "pressure", "spread"):
        if name in names:
            value = getattr(frame, name)
            record[name] = np.nan if value is None else value
    for name in names:
        if name.startswith("extra_"):
            value = frame.extras.get(name[6:])
            if value is None:
                record[name] = np.nan
            else:
                value = np.asarray(value)
                record[name] = value[order] if _by_atom(name, value, layout.n_atoms) else value
    return record


@dataclass(frozen=True)
class Constants:
    """What all frames of a trajectory share, in the input's atom order."""

    numbers: np.ndarray  # (n_atoms,)
    masses: np.ndarray  # (n_atoms,), amu
    pbc: np.ndarray  # (3,) bool
    order: np.ndarray  # (n_atoms,) file's atom k is the input's atom order[k]


def frame_of(record: np.ndarray, constants: Constants) -> Frame:
    """A frame from a record, in ASE units and the input's atom order."""
    names = record.dtype.names or ()
    cell = np.array(record["cell"], dtype=float) if "cell" in names else np.zeros((3, 3))
    turn = to_standard(cell) if "cell_lengths" in names else None
    back = np.empty(len(constants.order), dtype=np.int64)
    back[constants.order] = np.arange(len(constants.order))

    def vectors(name: str, unit: float) -> np.ndarray:
        found = np.asarray(record[name], dtype=float) / unit
        return (found if turn is None else found @ turn.T)[back]

    def optional(name: str):
        if name not in names or not np.isfinite(record[name]).all():
            return None
        return np.array(record[name]) if record[name].shape else float(record[name])

    frame = Frame(
        step=int(record["step"]), time_fs=float(record["time"]) / PS, numbers=constants.numbers, masses=constants.masses,
        positions=vectors("coordinates", NM), momenta=vectors("velocities", NM_PER_PS) * constants.masses[:, None],
        forces=vectors("forces", KJ_PER_MOL / NM), cell=cell, pbc=constants.pbc,
        potential_energy=float(record["potential"]) / KJ_PER_MOL, kinetic_energy=float(record["kinetic"]) / KJ_PER_MOL,
        temperature_K=float(record["temperature"]), conserved_energy=float(record["conserved"]),
        stress=optional("stress"), pressure=optional("pressure"), spread=optional("spread"),
    )  # fmt: skip
    extras = {}
    for name in (n for n in names if n.startswith("extra_")):
        value = np.array(record[name])
        if np.isfinite(value).all():
            extras[name[6:]] = value[back] if _by_atom(name, value, len(back)) else value
    return replace(frame, extras=extras) if extras else frame


def to_standard(cell: np.ndarray) -> np.ndarray | None:
    """(3, 3) rotation Q with `cell @ Q` in MDTraj's orientation (a along x, b in the xy plane); None where it lies so already."""
    standard = cellpar_to_cell(cell_to_cellpar(cell))
    if np.linalg.det(cell) < 0:
        standard[2] *= -1.0  # a left-handed cell stays one
    if np.abs(cell - standard).max() < 1e-6:
        return None
    turn = np.linalg.solve(cell, standard)
    u, _, vt = np.linalg.svd(turn)  # exactly orthogonal
    return u @ vt


def _by_atom(name: str, value: np.ndarray, n_atoms: int) -> bool:
    """Has an extra (field `name`) one row for each atom? A dipole has three numbers, of water too."""
    return name.removeprefix("extra_") not in OF_ALL and value.shape[:1] == (n_atoms,)


def _is_box(frame: Frame) -> bool:
    return bool(np.all(frame.pbc)) and abs(float(np.linalg.det(frame.cell))) > 1e-6
