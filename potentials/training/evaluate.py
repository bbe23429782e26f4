"""Errors of a potential on labelled frames: all of them, and molecule by molecule."""
from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from potentials.data.dataset import Batch, Dataset, batches
from potentials.data.labelled import DataError
from potentials.derivatives import energies_of_heads, energy_forces_stress, forces_of_heads
from potentials.graph import AtomicGraph
from potentials.potential import Potential
from potentials.training.loss import Prediction
from potentials.training.metrics import Errors, ErrorSums, known_errors

log = logging.getLogger(__name__)

Predict = Callable[..., Prediction]  # of a graph; of a potential with several heads also of `head` and `all_heads`, as `plain_predictor` says


def plain_predictor(potential: Potential, *, forces: bool = True, stress: bool = False, create_graph: bool = False) -> Predict:
    """A function of a graph that gives energy and, as asked, forces and stress; `create_graph` where the forces are learnt.

    It also takes `head` (n_structures,), whose forces and stress are meant, and `all_heads`, for the forces of each.
    """

    def predict(graph: AtomicGraph, head: Tensor | None = None, all_heads: bool = False) -> Prediction:
        if all_heads and forces:
            outputs, energies, of_heads = forces_of_heads(potential, graph, create_graph=create_graph)
            return Prediction(energies.mean(1), of_heads.mean(0), None, outputs.charges, energies, of_heads)
        results = energy_forces_stress(potential, graph, forces=forces, stress=stress, create_graph=create_graph, head=head)
        of_each = None if results.outputs.head_energies is None else energies_of_heads(results.outputs, graph)
        return Prediction(results.energy, results.forces, results.stress, results.outputs.charges, of_each)

    return predict


@dataclass(frozen=True)
class Evaluation:
    """Errors of all frames together and of each molecule by name."""

    errors: Errors
    molecules: dict[str, Errors]

    @property
    def summary(self) -> dict[str, Any]:
        """Plain data for a JSON file; what had no label is left out."""
        return {"errors": known_errors(self.errors), "molecules": {name: known_errors(e) for name, e in self.molecules.items()}}


def evaluate(
    predict: Predict,
    dataset: Dataset,
    indices: np.ndarray | None = None,
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    seen: Callable[[np.ndarray, Batch, Prediction], None] = lambda indices, batch, prediction: None,
) -> Evaluation:
    """Errors of predictions on the frames of `indices` (all when None), molecule after molecule.

    Energies are compared as they are: no shift is fitted. A potential whose zero is another than the labels' shows it.

    Parameters
    ----------
    seen : called with the indices of each batch, its labels and what was predicted.
    """
    indices = np.arange(len(dataset)) if indices is None else indices
    total = ErrorSums()
    of_molecule: dict[str, ErrorSums] = defaultdict(ErrorSums)
    names = np.array(dataset.molecules)[indices]
    for name in dict.fromkeys(names):
        for chosen in batches(dataset, indices[names == name], batch_size):
            batch = dataset.batch(chosen).to(device)
            prediction = predict(batch.graph)
            total.add(prediction, batch)
            of_molecule[str(name)].add(prediction, batch)
            seen(chosen, batch, prediction)
    return Evaluation(total.errors(), {name: sums.errors() for name, sums in sorted(of_molecule.items())})


def refuse_unknown_elements(potential: Potential, dataset: Dataset, what: str) -> None:
    """DataError if `dataset` has elements that the potential does not know."""
    if potential.elements is None:
        return
    unknown = [chemical_symbols[z] for z in dataset.elements if z not in potential.elements]
    if unknown:
        known = ", ".join(chemical_symbols[z] for z in potential.elements)
        raise DataError(f"The {what} contain {', '.join(unknown)}, which the potential does not know; it knows {known}.")
