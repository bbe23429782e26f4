"""From a training config to data with pairs, their statistics, and a potential that knows them."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from potentials.architectures import architectures
from potentials.data.cache import cached_dataset
from potentials.data.dataset import Dataset, batches, build_dataset, split
from potentials.data.filters import FilterConfig
from potentials.data.labelled import DataError, LabelledStructure
from potentials.data.pairlists import ranges
from potentials.data.read import usable_keys
from potentials.data.sources import FileConfig, LeftOut
from potentials.data.statistics import Statistics, elements_of, pieces, statistics
from potentials.potential import Potential
from potentials.training import fine_tuning
from potentials.training.cleaning import clean
from potentials.training.config import DataConfig, TrainConfig
from potentials.training.evaluate import refuse_unknown_elements
from potentials.training.isolated_atoms import energies_of_atoms, without_isolated_atoms
from potentials.typed import ConfigError, from_mapping, to_mapping


@dataclass(frozen=True)
class Part:
    """Some frames of a data set."""

    dataset: Dataset
    indices: np.ndarray  # (n,) ascending


def prepare(config: TrainConfig, tell: Callable[[str], None]) -> tuple[Part, Part, Statistics, Potential]:
    """Training part, validation part, statistics of the training part, and the potential before its first step."""
    parent = None if config.fine_tune is None else fine_tuning.parent_of(config.fine_tune, config.potential, config.dtype)
    draft = parent or build_potential(config, None)  # says which pairs it wants to see
    refuse_unknown_outputs(config, draft)
    files = config.data.train, config.data.validation
    atoms: list[LabelledStructure] = []  # isolated ones, which are no frames to learn from
    left_out: list[LeftOut] = []  # frames with labels that are not finite numbers
    lenient = config.data.cleaning != "off"

    def dataset_of(paths: tuple[FileConfig | str, ...] | str, name: str) -> Dataset:
        def read() -> Iterator[LabelledStructure]:
            found = config.data.frames(paths).leaving_out(left_out) if lenient else config.data.frames(paths)
            frames = without_isolated_atoms(found, atoms, every=config.data.reference_energies == "isolated")
            return _usable(frames, config, draft)

        near, far = draft.cutoff, draft.far_cutoff(periodic=False)
        if config.data.cache is None:
            return build_dataset(read(), near, far)
        named = (paths,) if isinstance(paths, str) else paths
        dataset = cached_dataset(
            Path(config.data.cache, name), read, config.data.frames(paths).sources, _recipe(config, draft, named), near, far,
            pairs=config.data.pairs, aside=atoms, left_out=left_out, tell=tell,
        )
        for frame in () if lenient else left_out:  # of data that another training has prepared
            raise DataError(f"{frame.what} is not a finite number in frame {frame.frame} of {frame.file}; drop that frame or label it again.")
        return dataset

    all_frames = dataset_of(files[0], "train")
    if files[1]:
        training, validation = Part(all_frames, np.arange(len(all_frames))), dataset_of(files[1], "validation")
        held_out = Part(validation, np.arange(len(validation)))
    else:
        inside, outside = split(all_frames, config.data.validation_fraction, config.seed, config.data.split_by)
        training, held_out = Part(all_frames, inside), Part(all_frames, outside)
    refuse_missing_labels(config, training.dataset, training.indices)
    parts = [("training", training.dataset, training.indices), ("validation", held_out.dataset, held_out.indices)]
    training, held_out = (replace(part, indices=left) for part, left in zip((training, held_out), clean(parts, config.data.cleaning, Path(config.output), tell, left_out)))
    given = _given_energies(config.data, atoms)
    if parent is None:
        known = statistics(training.dataset, training.indices, given)
        potential = build_potential(config, known)
    else:
        known, potential = _fine_tuned(config, parent, training, given, tell)
    refuse_unknown_elements(potential, training.dataset, "training data")
    anew = parent is None or (config.fine_tune is not None and config.fine_tune.units == "refit")
    if anew and hasattr(potential, "fit_to"):  # what an architecture takes from the data before the first step: scaling, ranges
        some = batches(training.dataset, training.indices, config.batch_size, config.batch_edges)
        tell(potential.fit_to(training.dataset.batch(indices) for indices in some))
    _refuse_unseen(held_out, known)
    for name, part in (("Training", training), ("Validation", held_out)):
        molecules = len(part.dataset.molecules.unique(part.indices)[0])
        tell(f"{name}: {len(part.indices)} frames of {molecules} molecules, {part.dataset.atom_counts[part.indices].mean():.1f} atoms on average.")
    if atoms and config.data.reference_energies == "fit":
        tell(f"{len(atoms)} isolated atoms were set aside; reference_energies = 'isolated' takes their energies.")
    energies = ", ".join(f"{chemical_symbols[z]} {e:.4f}" for z, e in known.reference_energies.items())
    left = f"; {1000 * known.energy_spread:.1f} meV/atom are left to learn" if np.isfinite(known.energy_spread) else ""
    tell(f"Reference energies (eV): {energies}{left}.")
    tell(f"{known.mean_neighbours:.1f} neighbours per atom within {potential.cutoff:g} Å; forces {known.force_rms:.2f} eV/Å rms by component.")
    tell(f"{type(potential).name}: {sum(p.numel() for p in potential.parameters())} parameters.")  # type: ignore[attr-defined]
    return training, held_out, known, potential


def _fine_tuned(
    config: TrainConfig, parent: Potential, training: Part, given: dict[int, float] | None, tell: Callable[[str], None]
) -> tuple[Statistics, Potential]:
    """The parent with the elements and the zero of energy of these data, and what may change of it."""
    assert config.fine_tune is not None
    dataset, indices = training.dataset, training.indices
    present = elements_of(dataset, indices)
    new = [z for z in present if parent.elements is not None and z not in parent.elements]
    wider = fine_tuning.with_heads(parent, config.fine_tune.energy_heads, config.seed)
    potential = fine_tuning.extended(wider, present).to(config.device)
    n_free = fine_tuning.let_change(potential, config.fine_tune.what)
    fine_tuning.jittered_(potential, config.fine_tune.jitter, config.seed)
    keep = config.fine_tune.reference_energies == "keep"
    energies = fine_tuning.fitted_energies(potential, dataset, indices, keep, config.device, config.seed) if given is None else (
        {**fine_tuning.reference_energies(potential), **given})  # fmt: skip
    known = statistics(dataset, indices, energies)
    potential.set_reference_energies(energies)  # type: ignore[operator]
    fine_tuning.tell_of(potential, new, n_free, tell)
    return known, potential


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
        place = f"[train.potential.config] of {config.potential.name}"
        chosen = from_mapping(architecture.Config, settings, place)
        try:
            potential = architecture(chosen)
        except ValueError as error:  # settings that do not fit each other
            raise ConfigError(f"{place}: {error}") from error
    potential.to(getattr(torch, config.dtype))
    if known is not None:
        potential.set_reference_energies(known.reference_energies)
    return potential


def _usable(structures: Iterable[LabelledStructure], config: TrainConfig, potential: Potential) -> Iterator[LabelledStructure]:
    """The frames, or an error on the first one without a label that the loss needs, or with a charge that nobody understands."""
    whole = config.data.missing_labels == "refuse"
    for s in structures:
        if whole and config.loss.learns_forces and s.forces is None:
            raise DataError(
                f"{s.source} has no forces, but forces have a weight in the loss. Name them with keys.forces, set forces = 0, "
                "or learn from what there is with missing_labels = 'mask'."
            )
        if whole and config.loss.learns_energy and s.energy is None:
            raise DataError(
                f"{s.source} has no energy, but the energy has a weight in the loss. Name it with keys.energy, set energy = 0, "
                "or learn from what there is with missing_labels = 'mask'."
            )
        if config.loss.stress > 0 and not s.pbc.all():
            raise DataError(f"{s.source} is not periodic, but stress has a weight in the loss. Set stress = 0 or leave such frames out.")
        if s.charge != 0 and not potential.knows_charge and config.data.charged != "keep":
            if config.data.charged == "drop":
                continue
            raise DataError(
                f"{s.source} has a total charge of {s.charge:+g} e, which means nothing to {config.potential.name} as configured. "
                "Leave such frames out (charged = 'drop'), or take charges into the potential."
            )
        yield s if potential.provides_energy else replace(s, energy=None)  # 0 is no energy to compare with a label


def _recipe(config: TrainConfig, potential: Potential, files: Iterable[FileConfig | str]) -> dict[str, Any]:
    """What decides, beside the files, which frames are used and how they are read."""
    other = {"train", "validation", "validation_fraction", "split_by", "reference_energies", "isolated_atoms", "cleaning", "cache", "pairs"}
    asked = {key: value for key, value in to_mapping(config.data).items() if key not in other}
    own = [{**to_mapping(file), "path": ""} if isinstance(file, FileConfig) else {} for file in files]  # of a file, beside what it holds
    needs = {"energy": config.loss.learns_energy, "forces": config.loss.learns_forces, "stress": config.loss.stress > 0}
    if not potential.provides_energy:
        asked["energies"] = "left out"
    return {**asked, "files": own, "labels needed": needs, "charge": potential.knows_charge, "atoms apart": config.data.reference_energies == "isolated"}


def _given_energies(data: DataConfig, atoms: list[LabelledStructure]) -> dict[int, float] | None:
    """Reference energies by atomic number that are not fitted, None where they are; `atoms` are the isolated ones among the frames."""
    if data.reference_energies == "fit":
        return None
    if data.reference_energies == "isolated":
        named = (data.isolated_atoms,) if isinstance(data.isolated_atoms, str) else data.isolated_atoms
        files = [FileConfig(path, keys=usable_keys(path, data.format, data.keys)) for path in named]
        return energies_of_atoms(data.frames(files, FilterConfig()) if files else atoms)
    unknown = [symbol for symbol in data.reference_energies if symbol not in atomic_numbers]
    if unknown:
        raise ConfigError(f"[train.data]: reference_energies names no element with {', '.join(map(repr, unknown))}; use symbols such as 'C'.")
    return {atomic_numbers[symbol]: energy for symbol, energy in data.reference_energies.items()}  # type: ignore[union-attr]


def refuse_unknown_outputs(config: TrainConfig, potential: Potential) -> None:
    """ConfigError if the loss asks for what the potential does not give: energy, stress, charges."""
    wanted = {"energy": config.loss.learns_energy, "stress": config.loss.stress > 0}
    for name, weighs in wanted.items():
        if weighs and name not in potential.provides:
            raise ConfigError(
                f"[train.loss]: {name} has a weight, but {type(potential).name} as configured provides {' and '.join(potential.provides)}. "  # type: ignore[attr-defined]
                f"Set {name} = 0, or take a potential (a head) that has one."
            )
    asked = [name for name in ("charges", "dipole") if getattr(config.loss, name) > 0]
    if asked and getattr(potential, "charges", None) is None:
        raise ConfigError(
            f"[train.loss]: {' and '.join(asked)} have a weight, but {type(potential).name} as configured gives no partial charges "  # type: ignore[attr-defined]
            "(So3krates does with electrostatic_energy_bool = true)."
        )


def refuse_missing_labels(config: TrainConfig, dataset: Dataset, indices: np.ndarray) -> None:
    """DataError if a term of the loss has a weight, but no training frame has its label."""
    wanted = {"energy": config.loss.learns_energy, "forces": config.loss.learns_forces,
              **{name: getattr(config.loss, name) > 0 for name in ("stress", "charges", "dipole")}}  # fmt: skip
    for name, is_wanted in wanted.items():
        labels, of_atoms = getattr(dataset, name), name in ("forces", "charges")
        found = (np.isfinite(labels[ranges(dataset.start, some) if of_atoms else some]).any() for some in pieces(indices))
        if is_wanted and not any(found):
            raise DataError(f"No training frame has a label for {name}, which has a weight in the loss. Name it with keys.{name}, or set {name} = 0.")


def _refuse_unseen(held_out: Part, known: Statistics) -> None:
    unseen = [chemical_symbols[z] for z in elements_of(held_out.dataset, held_out.indices) if z not in known.reference_energies]
    if unseen:
        raise DataError(f"Validation frames contain {', '.join(unseen)}, which no training frame has. Move such frames to training, or leave them out.")
