"""`mdapp evaluate`: how far a potential is off, on labelled data."""
from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import EvaluateConfig
from mdapp.errors import EXIT_FINISHED, EXIT_INPUT, OutputError, PotentialError, UserError
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from potentials.data.dataset import Batch, Dataset
    from potentials.graph import AtomicGraph
    from potentials.training.evaluate import Evaluation, Predict
    from potentials.training.loss import Prediction


class LabelledDataError(UserError):
    """Labelled data that cannot be used."""

    exit_code = EXIT_INPUT


@dataclass(frozen=True)
class EvaluateResult:
    """Errors of each data set, and how the job ended."""

    summary: dict[str, Any]
    exit_code: int = EXIT_FINISHED


@dataclass
class Comparison:
    """Labels beside predictions of one data set, frame by frame."""

    molecules: list[str] = field(default_factory=list)
    n_atoms: list[int] = field(default_factory=list)
    energy: list[tuple[float, float]] = field(default_factory=list)  # label and prediction, eV
    forces: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # (n_atoms, 3) each, eV/Å, of a batch

    def offset_meV_atom(self) -> float:
        """Mean signed error of the energy per atom: what another zero of energy would look like."""
        energy = np.array(self.energy)
        return float(1000 * np.mean((energy[:, 1] - energy[:, 0]) / np.array(self.n_atoms)))


def evaluate(config: EvaluateConfig, screen: Screen | None = None) -> EvaluateResult:
    """Errors of a potential on every file of `config.data`: all frames, and molecule by molecule.

    Energies are compared as they are, without a shift; the mean signed error says whether the zeros differ.

    Raises
    ------
    UserError : an output folder that exists.
    PotentialError : a potential that cannot be loaded or does not know an element of the data.
    LabelledDataError : data that cannot be read.
    """
    from mdapp.jobs._compute import device_for, set_threads
    from potentials.calculator import load_calculator
    from potentials.data.labelled import DataError

    screen = screen or silent()
    folder = None if config.output is None else _fresh(Path(config.output))
    device = device_for(config.device)
    set_threads(config.threads, 1000)  # batches are large
    try:
        calculator = load_calculator(config.potential if len(config.potential) > 1 else config.potential[0], device=device, dtype=config.dtype)
    except ValueError as error:
        raise PotentialError(str(error)) from error
    shown: dict[str, Any] = {}
    comparisons: dict[str, Comparison] = {}
    screen.header(f"mdapp evaluate  {', '.join(config.potential)}", [("data", ", ".join(config.data))])
    for path in config.data:
        try:
            dataset = _dataset(path, getattr(calculator, "cutoff", None), config.limit)
            found, comparisons[path] = _compare(calculator, dataset, path, device, screen)
        except (DataError, FileNotFoundError) as error:
            raise LabelledDataError(str(error)) from error
        shown[path] = {**found.summary, "energy_offset_meV_atom": comparisons[path].offset_meV_atom()}
        _say(path, shown[path], screen)
    summary = {"verdict": "finished", "potential": list(config.potential), "data": shown, "exit_code": EXIT_FINISHED}
    if folder is not None:
        try:
            folder.mkdir(parents=True)
            _write(folder, summary, comparisons)
        except OSError as error:
            raise OutputError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    return EvaluateResult(summary)


def _dataset(path: str, cutoff: float | None, limit: int | None) -> Dataset:
    """All frames of a file, or `limit` of them, evenly over the file."""
    from potentials.data.dataset import build_dataset
    from potentials.data.read import read_labelled

    frames = list(read_labelled(path))
    if limit is not None and limit < len(frames):
        frames = [frames[k] for k in np.linspace(0, len(frames) - 1, limit).round().astype(int)]
    return build_dataset(frames, cutoff or 0.1)  # a calculator of others finds its own neighbours


def _compare(calculator: Calculator, dataset: Dataset, path: str, device: str, screen: Screen) -> tuple[Evaluation, Comparison]:
    from potentials.calculator import PotentialCalculator
    from potentials.training.evaluate import evaluate as errors_of
    from potentials.training.evaluate import plain_predictor, refuse_unknown_elements

    n_charged = int(np.count_nonzero(dataset.charge))
    if n_charged and not getattr(calculator, "knows_charge", True):
        screen.warn(f"{n_charged} frames of {path} have a total charge, which means nothing to this potential.")
    if isinstance(calculator, PotentialCalculator):
        refuse_unknown_elements(calculator.potential, dataset, f"frames of {path}")
        calculator.potential.to(device)
        predict = plain_predictor(calculator.potential)
    else:
        predict = ase_predictor(calculator)
    comparison, done = Comparison(), [0]

    def seen(indices: np.ndarray, batch: Batch, prediction: Prediction) -> None:
        comparison.molecules += [dataset.molecules[k] for k in indices]
        comparison.n_atoms += batch.atom_counts.tolist()
        comparison.energy += list(zip(batch.energy.tolist(), prediction.energy.tolist()))
        if prediction.forces is not None:
            comparison.forces.append((batch.forces.cpu().numpy(), prediction.forces.detach().cpu().numpy()))
        done[0] += len(indices)
        screen.live(f"{path}  {done[0]}/{len(dataset)} frames")

    found = errors_of(predict, dataset, device=device, seen=seen)
    screen.end_live()
    return found, comparison


def ase_predictor(calculator: Calculator) -> Predict:
    """A function of a graph over any ASE calculator, structure after structure."""
    import torch
    from ase import Atoms
    from ase.calculators.calculator import CalculatorError, PropertyNotImplementedError

    from potentials.training.loss import Prediction

    def predict(graph: AtomicGraph) -> Prediction:
        energies, forces = [], []
        for k in range(graph.n_structures):
            mine = graph.structure == k
            cell = graph.cell[k].numpy()
            atoms = Atoms(graph.numbers[mine].numpy(), graph.positions[mine].numpy(), cell=cell, pbc=cell.any(axis=1), info={"charge": float(graph.charge[k])})
            atoms.calc = calculator
            try:
                energies.append(float(atoms.get_potential_energy()))
                forces.append(atoms.get_forces())
            except (CalculatorError, PropertyNotImplementedError, NotImplementedError, ValueError) as error:
                raise PotentialError(f"{type(calculator).__name__} cannot evaluate {atoms.symbols}: {error}") from error
        return Prediction(torch.tensor(energies, dtype=torch.float64), torch.from_numpy(np.concatenate(forces)))

    return predict


def _say(path: str, found: dict[str, Any], screen: Screen) -> None:
    errors = found["errors"]
    text = f"{path}: {errors['frames']} frames of {len(found['molecules'])} molecules; energy {errors['energy_mae_meV_atom']:.2f} meV/atom"
    if "forces_mae_meV_A" in errors:
        text += f", forces {errors['forces_mae_meV_A']:.1f} meV/Å"
    screen.say(f"{text} (MAE); the energy is off by {found['energy_offset_meV_atom']:+.2f} meV/atom on average.")
    for name, one in sorted(found["molecules"].items(), key=lambda item: -item[1].get("forces_mae_meV_A", item[1]["energy_mae_meV_atom"])):
        forces = one.get("forces_mae_meV_A", float("nan"))
        screen.detail(f"  {name:<40} {one['energy_mae_meV_atom']:9.2f} meV/atom {forces:9.1f} meV/Å {one['frames']:6d} frames")


def _fresh(folder: Path) -> Path:
    if folder.exists():
        raise OutputError(f"{folder} exists already and is not overwritten. Choose another --output or move it away.")
    return folder


def _write(folder: Path, summary: dict[str, Any], comparisons: dict[str, Comparison]) -> None:
    """errors.json, frames.csv, and a parity plot of energies and of forces."""
    from mdapp.plots.figures import parity
    from mdapp.plots.style import save

    scratch = folder / ".errors.json.part"
    scratch.write_text(json.dumps(summary, indent=1, allow_nan=False))
    os.replace(scratch, folder / "errors.json")
    with (folder / "frames.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "molecule", "n_atoms", "energy_eV", "predicted_energy_eV", "error_meV_atom"])
        for path, c in comparisons.items():
            for name, n, (label, predicted) in zip(c.molecules, c.n_atoms, c.energy):
                writer.writerow([path, name, n, f"{label:.6f}", f"{predicted:.6f}", f"{1000 * (predicted - label) / n:.4f}"])
    for number, c in enumerate(comparisons.values(), start=1):
        suffix = f"-{number}" if len(comparisons) > 1 else ""
        energy = np.array(c.energy) / np.array(c.n_atoms)[:, None]
        save(parity(energy[:, 0], energy[:, 1], "energy per atom", "eV", "meV", 1000), folder / f"parity-energy{suffix}")
        if c.forces:
            label, predicted = (np.concatenate([pair[k] for pair in c.forces]) for k in (0, 1))
            labelled = np.isfinite(label)
            if labelled.any():
                save(parity(label[labelled], predicted[labelled], "force component", "eV/Å", "meV/Å", 1000), folder / f"parity-forces{suffix}")
