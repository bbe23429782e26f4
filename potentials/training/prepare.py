"""From a training config to data with pairs, their statistics, and a potential that knows them."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from potentials.architectures import architectures
from potentials.data.dataset import Dataset, build_dataset, split
from potentials.data.labelled import DataError, LabelledStructure
from potentials.data.read import read_labelled
from potentials.data.statistics import Statistics, statistics
from potentials.potential import Potential
from potentials.training.config import DataConfig, TrainConfig
from potentials.training.evaluate import refuse_unknown_elements
from potentials.typed import ConfigError, from_mapping


@dataclass(frozen=True)
class Part:
    """Some frames of a data set."""

    dataset: Dataset
    indices: np.ndarray  # (n,) ascending


def prepare(config: TrainConfig, tell: Callable[[str], None]) -> tuple[Part, Part, Statistics, Potential]:
    """Training part, validation part, statistics of the training part, and the potential before its first step."""
    draft = build_potential(config, None)  # says which pairs it wants to see
    files = _files(config.data.train), _files(config.data.validation)

    def dataset_of(paths: tuple[Path, ...]) -> Dataset:
        return build_dataset(_usable(_read(paths, config.data), config, draft), draft.cutoff, draft.far_cutoff(periodic=False))

    all_frames = dataset_of(files[0])
    if files[1]:
        training, validation = Part(all_frames, np.arange(len(all_frames))), dataset_of(files[1])
        held_out = Part(validation, np.arange(len(validation)))
    else:
        inside, outside = split(all_frames, config.data.validation_fraction, config.seed, config.data.split_by)
        training, held_out = Part(all_frames, inside), Part(all_frames, outside)
    known = statistics(training.dataset, training.indices, _given_energies(config.data))
    potential = build_potential(config, known)
    refuse_unknown_elements(potential, training.dataset, "training data")
    _refuse_unseen(held_out, known)
    for name, part in (("Training", training), ("Validation", held_out)):
        molecules = len({part.dataset.molecules[k] for k in part.indices})
        tell(f"{name}: {len(part.indices)} frames of {molecules} molecules, {part.dataset.atom_counts[part.indices].mean():.1f} atoms on average.")
    energies = ", ".join(f"{chemical_symbols[z]} {e:.4f}" for z, e in known.reference_energies.items())
    tell(f"Reference energies (eV): {energies}; {1000 * known.energy_spread:.1f} meV/atom are left to learn.")
    tell(f"{known.mean_neighbours:.1f} neighbours per atom within {potential.cutoff:g} Å; forces {known.force_rms:.2f} eV/Å rms by component.")
    tell(f"{config.potential.name}: {sum(p.numel() for p in potential.parameters())} parameters.")
    return training, held_out, known, potential


def build_potential(config: TrainConfig, known: Statistics | None) -> Potential:
    """The potential of a training config; elements and the mean number of neighbours come from the data where not given.

    The same seed gives the same weights, whatever was drawn before.
    """
    architecture = architectures.get(config.potential.name)
    settings: dict[str, Any] = dict(config.potential.config)
    if known is not None:
        options = {f.name for f in fields(architecture.Config)}
        found = {"elements": tuple(known.reference_energies), "avg_num_neighbors": known.mean_neighbours}
        settings = {**{name: value for name, value in found.items() if name in options}, **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        potential = architecture(from_mapping(architecture.Config, settings, f"[train.potential.config] of {config.potential.name}"))
    potential.to(getattr(torch, config.dtype))
    if known is not None:
        potential.set_reference_energies(known.reference_energies)
    return potential


def _files(paths: tuple[str, ...] | str) -> tuple[Path, ...]:
    return tuple(Path(p) for p in ((paths,) if isinstance(paths, str) else paths))


def _read(paths: Iterable[Path], data: DataConfig) -> Iterator[LabelledStructure]:
    for path in paths:
        yield from read_labelled(path, data.format, data.keys, data.units)


def _usable(structures: Iterable[LabelledStructure], config: TrainConfig, potential: Potential) -> Iterator[LabelledStructure]:
    """The frames, or an error on the first one without a label that the loss needs, or with a charge that nobody understands."""
    for s in structures:
        if config.loss.forces > 0 and s.forces is None:
            raise DataError(f"{s.source} has no forces, but forces have a weight in the loss. Name them with keys.forces or set forces = 0.")
        if config.loss.stress > 0 and not s.pbc.all():
            raise DataError(f"{s.source} is not periodic, but stress has a weight in the loss. Set stress = 0 or leave such frames out.")
        if s.charge != 0 and not potential.knows_charge and config.data.charged != "keep":
            if config.data.charged == "drop":
                continue
            raise DataError(
                f"{s.source} has a total charge of {s.charge:+g} e, which means nothing to {config.potential.name} as configured. "
                "Leave such frames out (charged = 'drop'), or take charges into the potential."
            )
        yield s


def _given_energies(data: DataConfig) -> dict[int, float] | None:
    if data.reference_energies == "fit":
        return None
    unknown = [symbol for symbol in data.reference_energies if symbol not in atomic_numbers]
    if unknown:
        raise ConfigError(f"[train.data]: reference_energies names no element with {', '.join(map(repr, unknown))}; use symbols such as 'C'.")
    return {atomic_numbers[symbol]: energy for symbol, energy in data.reference_energies.items()}  # type: ignore[union-attr]


def _refuse_unseen(held_out: Part, known: Statistics) -> None:
    numbers = np.unique(np.concatenate([held_out.dataset.numbers[held_out.dataset.start[k] : held_out.dataset.start[k + 1]] for k in held_out.indices]))
    unseen = [chemical_symbols[z] for z in numbers if int(z) not in known.reference_energies]
    if unseen:
        raise DataError(f"Validation frames contain {', '.join(unseen)}, which no training frame has. Move such frames to training, or leave them out.")
