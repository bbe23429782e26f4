"""What a training shows at its end: learning curves and parity of the validation frames, each as PNG and SVG with the numbers behind it.

learning.* comes from log.csv; parity-energy.* and parity-forces.* compare best.pt with the labels of all validation frames.
"""
from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from potentials.data.dataset import Batch
    from potentials.training.fit import FitResult
    from potentials.training.loss import Prediction

MOST_FORCES = 100_000  # force components that are kept; of more, evenly chosen ones


@dataclass
class Parity:
    """Labels and predictions as they come, batch after batch; of many forces a sample that stays even."""

    compositions: list[str] = field(default_factory=list)  # of each frame
    n_atoms: list[int] = field(default_factory=list)
    energies: list[tuple[float, float]] = field(default_factory=list)  # label and prediction of each frame, eV
    forces: list[np.ndarray] = field(default_factory=list)  # (n, 2) label and prediction, eV/Å
    n_forces: int = 0  # components with a label, kept or not
    stride: int = 1
    _kept: int = 0

    def add(self, indices: np.ndarray, batch: Batch, prediction: Prediction) -> None:
        """Called by `fit` for each batch of validation frames."""
        counts = batch.atom_counts.tolist()
        numbers = np.split(batch.graph.numbers.cpu().numpy(), np.cumsum(counts)[:-1])
        self.compositions += [_formula(z) for z in numbers]
        self.n_atoms += counts
        self.energies += list(zip(batch.energy.tolist(), prediction.energy.tolist()))
        if prediction.forces is None:
            return
        pairs = np.column_stack([batch.forces.cpu().numpy().ravel(), prediction.forces.detach().double().cpu().numpy().ravel()])
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        first = -self.n_forces % self.stride
        self.n_forces += len(pairs)
        self.forces.append(pairs[first :: self.stride])
        self._kept += len(self.forces[-1])
        while self._kept > MOST_FORCES:
            self.forces, self.stride = [np.concatenate(self.forces)[::2]], 2 * self.stride
            self._kept = len(self.forces[0])


def write_training_report(folder: Path, result: FitResult, parity: Parity) -> list[Path]:
    """Draw and write everything there are numbers for; the paths of the pictures.

    Raises
    ------
    OSError : the folder cannot be written to.
    """
    from mdapp.plots.evaluation import parity as parity_figure
    from mdapp.plots.style import save
    from mdapp.plots.training import learning_curves

    drawn = []
    columns = log_columns(folder / "log.csv")
    if len(columns.get("step", ())):
        drawn.append(save(learning_curves(columns, result.best_step), folder / "learning", svg=True))
    energy, n = np.array(parity.energies).reshape(-1, 2), np.array(parity.n_atoms)
    labelled = np.isfinite(energy).all(axis=1)
    if labelled.any():
        names = np.array(parity.compositions, dtype=object)[labelled]
        per_atom = _from_means(energy[labelled] / n[labelled, None], names)
        rows = zip(names, n[labelled], *energy[labelled].T, *per_atom.T)
        _table(folder / "parity-energy.csv", ["composition", "n_atoms", "energy_eV", "predicted_eV", "label_from_mean_eV_atom", "predicted_from_mean_eV_atom"], rows)
        title = "Energies per atom, from the mean of each composition" if len(set(names)) > 1 else "Energies per atom, from their mean"
        figure = parity_figure(per_atom[:, 0], per_atom[:, 1], "energy per atom", "eV", "meV", 1000, title=title)
        drawn.append(save(figure, folder / "parity-energy", svg=True))
    if parity.n_forces:
        forces, errors = np.concatenate(parity.forces), None if result.evaluation is None else result.evaluation.errors
        _table(folder / "parity-forces.csv", ["force_eV_A", "predicted_eV_A"], forces)
        exact = None if errors is None else (errors.forces_mae_meV_A, errors.forces_rmse_meV_A)
        figure = parity_figure(forces[:, 0], forces[:, 1], "force component", "eV/Å", "meV/Å", 1000, exact, parity.n_forces)
        drawn.append(save(figure, folder / "parity-forces", svg=True))
    return drawn


def log_columns(path: Path) -> dict[str, np.ndarray]:
    """Columns of a log.csv as numbers, NaN where there is nothing."""
    from potentials.training.log import read_log

    rows = read_log(path) if path.exists() else []
    return {name: np.array([_number(row[name]) for row in rows]) for name in (rows[0] if rows else ())}


def _from_means(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Labels and predictions (n, 2) from the mean label of what shares a name: total energies of compositions lie far apart."""
    out = values.copy()
    for name in set(names):
        mine = names == name
        out[mine] -= values[mine, 0].mean()
    return out


def _formula(numbers: np.ndarray) -> str:
    from ase.formula import Formula
    from ase.symbols import Symbols

    return str(Formula(str(Symbols(np.sort(numbers)))).format("hill"))


def _table(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([f"{value:.8g}" if isinstance(value, float) else value for value in row] for row in rows)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
