"""The card that a trained potential carries: what it was trained on, for how long, and how far off it is."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from potentials.checkpoint import Card
from potentials.data.statistics import Statistics
from potentials.potential import Potential
from potentials.training.config import DataConfig, TrainConfig
from potentials.training.metrics import Errors, known_errors
from potentials.training.prepare import Part
from potentials.training.state import Position
from potentials.typed import to_mapping


def card_before_training(config: TrainConfig, training: Part, validation: Part, known: Statistics, potential: Potential) -> Card:
    """What is known before the first step."""
    counts = training.dataset.atom_counts[training.indices]
    summary = {
        "training_frames": len(training.indices),
        "training_molecules": len({training.dataset.molecules[k] for k in training.indices}),
        "atoms_mean": float(counts.mean()),
        "atoms_max": int(counts.max()),
        "elements": [chemical_symbols[z] for z in known.reference_energies],
        "reference_energies_eV": {chemical_symbols[z]: e for z, e in known.reference_energies.items()},
        "validation_frames": len(validation.indices),
        "validation_molecules": len({validation.dataset.molecules[k] for k in validation.indices}),
        "files": [Path(p).name for p in _listed(config.data.train)],
        "seed": config.seed,
        "batch_size": config.batch_size,
        "batch_edges": config.batch_edges,
        "energy_spread_meV_atom": 1000 * known.energy_spread,  # what was left to learn beyond reference energies
        "forces_rms_eV_A": known.force_rms if np.isfinite(known.force_rms) else None,
        "mean_neighbours": known.mean_neighbours,
        "parameters": sum(p.numel() for p in potential.parameters()),
        "trained_parameters": sum(p.numel() for p in potential.parameters() if p.requires_grad),
        "loss": {name: value for name, value in to_mapping(config.loss).items() if value},
        "optimiser": to_mapping(config.optimiser),
        "best_by": config.best_by,
        "device": config.device,
        "dtype": config.dtype,
        "compiled": config.compile,
        "torch": str(torch.__version__),
    }
    lineage = getattr(potential, "lineage", None)
    if lineage is not None:
        summary["fine_tuned_from"] = lineage
    return Card(config.level_of_theory, config.energy_zero, config.description, config.licence, summary, data_hash(_listed(config.data.train)))


def card_at(card: Card, position: Position, seconds: float, errors: Errors, frames: str) -> Card:
    """The card of a potential of this step, with its errors on `frames` ("all validation frames", ...)."""
    at = {"steps": position.step, "epochs": round(position.epoch + position.frames / card.training["training_frames"], 3), "hours": seconds / 3600, "errors_on": frames}
    return replace(card, training={**card.training, **at, **known_errors(errors)})


def data_hash(paths: Iterable[str]) -> str:
    """SHA-256 over the files of a data set, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def file_hashes(data: DataConfig) -> dict[str, str]:
    """SHA-256 of every file that a data section names, those beside LAMMPS dumps included, by its path; a folder and what is not there are left out."""
    named: list[str] = []
    for part in (data.train, data.validation, data.isolated_atoms):
        for one in (part,) if isinstance(part, str) else part:
            lammps = (None if isinstance(one, str) else one.lammps) or data.lammps
            beside = () if lammps is None else (lammps.energies, lammps.topology)
            named += [os.fspath(one), *(path for path in beside if path is not None)]
    return {path: data_hash([path]) for path in dict.fromkeys(named) if os.path.isfile(path)}


def _listed(paths: tuple[str, ...] | str) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else paths
