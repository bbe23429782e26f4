"""Errors of a potential on labelled frames, added up as frames come: all together, by element, by molecule, by size of the force.

An error is prediction minus label, in eV and Å until it is named: a name says its unit. What has no label counts nowhere; a prediction that is not
finite counts as `HOPELESS`, so that it can never make an error smaller. Of each frame a few numbers are kept (about 100 bytes), of its atoms none.
"""
from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

HOPELESS = 1e9  # eV and eV/Å, the error of a prediction that is not a finite number
FORCE_BINS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, np.inf)  # eV/Å, edges of |F| of the label
LEAST_FOR_ANGLE = 0.1  # eV/Å; the direction of a smaller force means little

Metrics = dict[str, float | int]


@dataclass(frozen=True)
class Compared:
    """Some frames: labels beside predictions. Labels are NaN where there are none; predictions are None where nothing was predicted.

    The atoms of frame k are ``start[k]:start[k + 1]``.
    """

    number: np.ndarray  # (n_frames,) running number of each frame in its file, from 0
    molecules: tuple[str, ...]  # (n_frames,)
    start: np.ndarray  # (n_frames + 1,)
    numbers: np.ndarray  # (n_atoms,) atomic numbers
    energy: np.ndarray  # (n_frames,) eV
    predicted_energy: np.ndarray  # (n_frames,)
    forces: np.ndarray  # (n_atoms, 3) eV/Å
    predicted_forces: np.ndarray | None = None  # (n_atoms, 3)
    stress: np.ndarray | None = None  # (n_frames, 3, 3) eV/Å³
    predicted_stress: np.ndarray | None = None
    charges: np.ndarray | None = None  # (n_atoms,) e
    predicted_charges: np.ndarray | None = None
    dipole: np.ndarray | None = None  # (n_frames, 3) e Å
    predicted_dipole: np.ndarray | None = None

    @property
    def atom_counts(self) -> np.ndarray:
        return np.diff(self.start)


@dataclass
class Sums:
    """Sums over errors x: how many, |x|, x, x²."""

    count: int = 0
    absolute: float = 0.0
    signed: float = 0.0
    squares: float = 0.0

    def add(self, x: np.ndarray) -> None:
        x = x[~np.isnan(x)]
        if x.size:
            self.count += x.size
            self.absolute += float(np.abs(x).sum())
            self.signed += float(x.sum())
            self.squares += float(np.square(x).sum())

    def metrics(self, mae: str | None = None, rmse: str | None = None, mean: str | None = None, scale: float = 1.0) -> Metrics:
        """The mean absolute, root mean square and mean signed error under the given names, times `scale`; nothing where nothing was added."""
        if not self.count:
            return {}
        values = {mae: self.absolute / self.count, rmse: (self.squares / self.count) ** 0.5, mean: self.signed / self.count}
        return {name: scale * value for name, value in values.items() if name is not None}


@dataclass
class ForceSums:
    """Errors of the forces on atoms: by component, of the magnitude, of the direction."""

    atoms: int = 0
    component: Sums = field(default_factory=Sums)
    magnitude: Sums = field(default_factory=Sums)
    angle_deg: Sums = field(default_factory=Sums)

    def add(self, error: np.ndarray, magnitude: np.ndarray, angle_deg: np.ndarray) -> None:
        """Errors (n, 3), errors of |F| (n,) and angles (n,) of n atoms; NaN where there is no label or no direction."""
        self.atoms += int(np.isfinite(error).all(axis=1).sum())
        self.component.add(error)
        self.magnitude.add(magnitude)
        self.angle_deg.add(angle_deg)

    @property
    def metrics(self) -> Metrics:
        return {
            **self.component.metrics("forces_mae_meV_A", "forces_rmse_meV_A", scale=1000),
            **self.magnitude.metrics("forces_magnitude_mae_meV_A", "forces_magnitude_rmse_meV_A", scale=1000),
            **self.angle_deg.metrics("forces_angle_mean_deg"),
        }


@dataclass
class FrameSums:
    """Errors of the frames of one molecule, or of all."""

    frames: int = 0
    atoms: int = 0
    energy: Sums = field(default_factory=Sums)  # eV
    energy_atom: Sums = field(default_factory=Sums)  # eV/atom
    forces: ForceSums = field(default_factory=ForceSums)
    stress: Sums = field(default_factory=Sums)
    charges: Sums = field(default_factory=Sums)
    dipole: Sums = field(default_factory=Sums)

    @property
    def metrics(self) -> Metrics:
        counts = {"frames": self.frames, "atoms": self.atoms, "frames_with_energy": self.energy.count, "atoms_with_forces": self.forces.atoms}
        return {
            **self.energy_atom.metrics("energy_mae_meV_atom", "energy_rmse_meV_atom", "energy_offset_meV_atom", 1000),
            **self.energy.metrics("energy_mae_meV", "energy_rmse_meV", "energy_offset_meV", 1000),
            **self.forces.metrics,
            **self.stress.metrics("stress_mae_meV_A3", "stress_rmse_meV_A3", scale=1000),
            **self.charges.metrics("charges_mae_e", "charges_rmse_e"),
            **self.dipole.metrics("dipole_mae_e_A", "dipole_rmse_e_A"),
            **counts,
        }


@dataclass(frozen=True)
class FrameTable:
    """A few numbers of every frame, in the order in which frames were compared; NaN where there is no label."""

    number: np.ndarray  # (n_frames,) in the file, from 0
    molecule: np.ndarray  # (n_frames,) text
    composition: np.ndarray  # (n_frames,) text, such as "C2H6O"
    n_atoms: np.ndarray  # (n_frames,)
    energy: np.ndarray  # (n_frames,) label, eV
    predicted_energy: np.ndarray  # (n_frames,) eV
    forces_mae: np.ndarray  # (n_frames,) over components, eV/Å
    forces_largest: np.ndarray  # (n_frames,) the largest |F - F*| of an atom, eV/Å

    def __len__(self) -> int:
        return len(self.number)


class Tally:
    """Errors of frame after frame."""

    def __init__(self) -> None:
        self.all = FrameSums()
        self.molecules: dict[str, FrameSums] = defaultdict(FrameSums)
        self.elements: dict[int, ForceSums] = defaultdict(ForceSums)
        self.bins = [ForceSums() for _ in FORCE_BINS[1:]]
        self.not_finite = 0  # frames with a prediction that is not a finite number
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._names: dict[str, str] = {}  # each molecule and composition once, however many frames it has

    def add(self, c: Compared) -> None:
        """Count these frames in."""
        n, frame_of_atom = c.atom_counts, np.repeat(np.arange(len(c.number)), c.atom_counts)
        energy = error(c.predicted_energy, c.energy)  # (n_frames,)
        forces = error(c.predicted_forces, c.forces)  # (n_atoms, 3)
        magnitude, angle = magnitude_errors(c.predicted_forces, c.forces), angles_deg(c.predicted_forces, c.forces)
        stress, charges, dipole = error(c.predicted_stress, c.stress), error(c.predicted_charges, c.charges), error(c.predicted_dipole, c.dipole)

        def into(sums: FrameSums, frames: np.ndarray, atoms: np.ndarray) -> None:
            sums.frames += int(np.size(n[frames]))
            sums.atoms += int(n[frames].sum())
            sums.energy.add(energy[frames])
            sums.energy_atom.add(energy[frames] / n[frames])
            sums.forces.add(forces[atoms], magnitude[atoms], angle[atoms])
            for total, x, where in ((sums.stress, stress, frames), (sums.charges, charges, atoms), (sums.dipole, dipole, frames)):
                if x.size:
                    total.add(x[where])

        names = np.array(c.molecules)
        for name in dict.fromkeys(c.molecules):
            chosen = names == name
            into(self.molecules[name], chosen, chosen[frame_of_atom])
        into(self.all, np.ones(len(n), dtype=bool), np.ones(len(frame_of_atom), dtype=bool))
        for z in np.unique(c.numbers):
            mine = c.numbers == z
            self.elements[int(z)].add(forces[mine], magnitude[mine], angle[mine])
        size = np.linalg.norm(c.forces, axis=1)
        for sums, low, high in zip(self.bins, FORCE_BINS[:-1], FORCE_BINS[1:]):
            inside = (size >= low) & (size < high)
            sums.add(forces[inside], magnitude[inside], angle[inside])
        largest = np.maximum.reduceat(np.linalg.norm(forces, axis=1), c.start[:-1])
        self.not_finite += int(np.sum((np.abs(energy) >= HOPELESS) | (largest >= HOPELESS)))
        self._keep(c, np.add.reduceat(np.abs(forces).mean(axis=1), c.start[:-1]) / n, largest)

    def _keep(self, c: Compared, forces_mae: np.ndarray, forces_largest: np.ndarray) -> None:
        formulas = [formula(c.numbers[a:b]) for a, b in zip(c.start[:-1], c.start[1:])]
        molecule, composition = (np.array([self._names.setdefault(word, word) for word in words], dtype=object) for words in (c.molecules, formulas))
        self._rows.append((c.number, molecule, composition, c.atom_counts, c.energy, c.predicted_energy, forces_mae, forces_largest))

    @property
    def table(self) -> FrameTable:
        """Every frame, in the file's order."""
        columns = [np.concatenate(column) for column in zip(*self._rows)]
        order = np.argsort(columns[0], kind="stable")
        return FrameTable(*(column[order] for column in columns))

    @property
    def force_bins(self) -> list[Metrics]:
        """Errors of the forces by the size of the label, from small to large; bins without atoms are left out."""
        rows: list[Metrics] = []
        for sums, low, high in zip(self.bins, FORCE_BINS[:-1], FORCE_BINS[1:]):
            if sums.atoms:
                rows.append({"from_eV_A": low, **({"below_eV_A": high} if np.isfinite(high) else {}), "atoms": sums.atoms, **sums.metrics})
        return rows


def error(predicted: np.ndarray | None, label: np.ndarray | None) -> np.ndarray:
    """Prediction minus label: NaN without a label or without a prediction, `HOPELESS` where a prediction is not finite; empty without either."""
    if label is None:
        return np.zeros(0)
    if predicted is None:
        return np.full(np.shape(label), np.nan)
    with np.errstate(invalid="ignore"):
        x = np.asarray(predicted, dtype=np.float64) - label
    return np.where(np.isnan(label), np.nan, np.where(np.isfinite(x), x, HOPELESS))


def magnitude_errors(predicted: np.ndarray | None, label: np.ndarray) -> np.ndarray:
    """Errors of |F|, (n_atoms,)."""
    return error(None if predicted is None else np.linalg.norm(predicted, axis=1), np.linalg.norm(label, axis=1))


def angles_deg(predicted: np.ndarray | None, label: np.ndarray) -> np.ndarray:
    """Angles between predicted and labelled forces, degrees (n_atoms,); NaN where the label is below `LEAST_FOR_ANGLE`."""
    if predicted is None:
        return np.full(len(label), np.nan)
    cross, dot = np.linalg.norm(np.cross(predicted, label), axis=1), np.einsum("na,na->n", predicted, label)
    known = (np.linalg.norm(label, axis=1) >= LEAST_FOR_ANGLE) & np.isfinite(dot)
    return np.where(known, np.degrees(np.arctan2(cross, dot)), np.nan)


def formula(numbers: np.ndarray) -> str:
    """'C2H6O' in Hill's order, for any atomic numbers."""
    return _hill(np.sort(numbers).astype(np.int16).tobytes())


@functools.lru_cache(maxsize=10_000)
def _hill(numbers: bytes) -> str:
    from ase.formula import Formula
    from ase.symbols import Symbols

    return Formula.from_list(list(Symbols(np.frombuffer(numbers, dtype=np.int16)))).format("hill")
