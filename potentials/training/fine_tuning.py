"""Fine-tuning: begin with the weights of another potential.

The architecture and its settings are those of the file. Elements that it does not know are taken in where its weights have a
row for every element (So3krates does): their rows begin as the mean of the known ones, and the potential then knows the union.
The labels may be of another level of theory, with another zero of energy: shifts per element are found by least squares on what
the potential leaves of the training frames' energies, so that its energies lie on the new level before the first step.

What may change is said by `what`:

=================  ===============================================================================================
"all"              every weight
"head"             the readout of atomic energies: names that begin with one of `HEAD`
("layers.2", ...)  weights whose names begin so; `named_parameters()` of the potential lists them
=================  ===============================================================================================
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from potentials.checkpoint import PotentialFileError, fingerprint, load_potential
from potentials.data.dataset import Dataset, batches
from potentials.data.statistics import composition, elements_of
from potentials.derivatives import energy_forces_stress
from potentials.layers.charges import N_ROWS
from potentials.layers.embedding import N_NUMBERS
from potentials.potential import Potential
from potentials.training.config import FineTuneConfig, PotentialConfig
from potentials.training.state import TrainingError
from potentials.typed import from_mapping, to_mapping

log = logging.getLogger(__name__)

HEAD = ("readout", "scales", "shifts", "energy", "output", "head", "energy_head", "force_head")
FRAMES_TO_FIT = 4000  # of which energies are computed for the reference energies
FRAMES_OF_AN_ELEMENT = 50  # at least, where there are so many
HEADS_APART = 0.2  # heads drawn about one, in units of its weights' root mean square
NEW_ELEMENT_EASE = 1000.0  # a shift of a new element weighs so much less than that of a known one, where data leave the choice


def parent_of(tuning: FineTuneConfig, asked: PotentialConfig, dtype: str) -> Potential:
    """The potential to begin with; what is known of its origin is in ``potential.lineage``.

    Parameters
    ----------
    asked : [train.potential]; nothing in it may differ from the file.

    Raises
    ------
    TrainingError : no such potential, a file that cannot be used, another architecture than asked for.
    """
    path = _file_of(tuning.potential)
    try:
        potential = load_potential(path, dtype)
    except PotentialFileError as error:
        raise TrainingError(f"Cannot fine-tune: {error}") from error
    if not hasattr(potential, "element_energies"):
        raise TrainingError(f"Cannot fine-tune {tuning.potential}: a {type(potential).name} has no reference energies of elements.")  # type: ignore[attr-defined]
    _refuse_other_architecture(potential, asked, tuning.potential)
    card = potential.card
    if potential.domain is not None:  # of its own weights, which see atoms otherwise than those that are to come
        log.warning("%s says how far its training set reaches; what is made of it says so of the new data with domain = true under [train].", tuning.potential)
        potential.domain = None
    potential.lineage = {  # type: ignore[assignment]
        "file": Path(path).name, "sha256": fingerprint(path), "architecture": type(potential).name,  # type: ignore[attr-defined]
        "level_of_theory": card.level_of_theory, "data_hash": card.data_hash, "what": _plain(tuning.what), "reference_energies": tuning.reference_energies,
        "fine_tuned_from": card.training.get("fine_tuned_from"),
    }  # fmt: skip
    return potential


def extended(parent: Potential, elements: Iterable[int]) -> Potential:
    """The same potential, which knows these elements too.

    Raises
    ------
    TrainingError : its weights have no room for another element.
    """
    if parent.elements is None or set(elements) <= set(parent.elements):
        return parent
    lineage: dict[str, Any] = getattr(parent, "lineage", {"file": f"This {type(parent).name}"})  # type: ignore[attr-defined]
    new = sorted(set(elements) - set(parent.elements))
    symbols = ", ".join(chemical_symbols[z] for z in new)
    if "elements" not in {f.name for f in fields(parent.config)}:  # type: ignore[arg-type]
        raise TrainingError(f"{lineage['file']} cannot take {symbols}: its elements cannot be changed. Leave such frames out.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            child = type(parent)(replace(parent.config, elements=(*parent.elements, *new)))  # type: ignore[arg-type,call-arg,type-var]
        except ValueError as error:  # its settings have no word for the new element
            raise TrainingError(f"{lineage['file']} cannot take {symbols}: {error}") from error
    child.to(next(parent.parameters()).dtype)
    before, after = parent.state_dict(), child.state_dict()
    unlike = [name for name in after if name not in before or before[name].shape != after[name].shape]
    if unlike or before.keys() - after.keys():
        raise TrainingError(
            f"{lineage['file']} cannot take {symbols}: its weights have no row for another element ({(unlike or ['fewer'])[0]}). "
            "Leave such frames out, or train anew."
        )
    child.load_state_dict(before)
    child.lineage = lineage  # type: ignore[assignment]
    known = torch.tensor(parent.elements)
    with torch.no_grad():
        for table in element_tables(child):
            table[torch.tensor(new)] = table[known].mean(dim=0)
    return child.eval()


def element_tables(potential: Potential) -> list[Tensor]:
    """Weights with a row for each atomic number."""
    tables = [m.weight for m in potential.modules() if isinstance(m, torch.nn.Embedding) and m.num_embeddings in (N_NUMBERS, N_ROWS)]
    vectors = [getattr(potential, name, None) for name in ("scales", "shifts")]
    return tables + [v for v in vectors if isinstance(v, torch.nn.Parameter) and len(v) == N_NUMBERS]


def fitted_energies(potential: Potential, dataset: Dataset, indices: np.ndarray, keep: bool, device: str, seed: int) -> dict[int, float]:
    r"""Reference energies (eV by atomic number) with which the potential's energies lie on the labels of these frames.

    .. math:: \min_{\Delta_Z} \sum_k \Big( E^*_k - E_k - \sum_Z n_{kZ} \Delta_Z \Big)^2 / n_k^2

    Where compositions do not determine the shifts, the smallest ones that fit as well are taken, those of new elements free: what known
    elements need not explain, the new ones do. Elements without a frame keep theirs.

    Parameters
    ----------
    keep : shift only elements that had no reference energy before.
    """
    energies = reference_energies(potential)
    present = elements_of(dataset, indices)
    free = [z for z in present if not keep or z not in energies]
    labelled = indices[np.isfinite(dataset.energy[indices])]
    if not free or not len(labelled):
        return {**dict.fromkeys(present, 0.0), **energies}
    chosen = _enough(dataset, labelled, seed)
    predicted = np.concatenate([_energies(potential, dataset, some, device) for some in batches(dataset, chosen, 32)])
    elements, counts = composition(dataset, chosen)
    n = counts.sum(axis=1)
    columns = [elements.index(z) for z in free if z in elements]
    ease = np.array([1.0 if elements[column] in energies else NEW_ELEMENT_EASE for column in columns])
    shifts = ease * np.linalg.lstsq(ease * counts[:, columns] / n[:, None], (dataset.energy[chosen] - predicted) / n, rcond=1e-10)[0]
    found = {elements[column]: float(shift) for column, shift in zip(columns, shifts)}
    return {z: energies.get(z, 0.0) + found.get(z, 0.0) for z in sorted({*energies, *present})}


def reference_energies(potential: Potential) -> dict[int, float]:
    """The reference energies that a potential has, eV by atomic number; without the zeros of elements that it never saw."""
    table: Tensor = potential.element_energies.energies  # type: ignore[union-attr,assignment]
    return {z: float(e) for z, e in enumerate(table) if e != 0}


def let_change(potential: Potential, what: str | tuple[str, ...]) -> int:
    """Only the weights that `what` names will be trained; how many numbers that is.

    Raises
    ------
    TrainingError : no weight has such a name.
    """
    if what == "all":
        return sum(p.numel() for p in potential.parameters())
    names = [name for name, _ in potential.named_parameters()]
    beginnings = HEAD if what == "head" else ((what,) if isinstance(what, str) else what)
    unmatched = [b for b in beginnings if not any(_begins(name, b) for name in names)]
    if unmatched and what != "head" or len(unmatched) == len(beginnings):
        there = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) if name.startswith("layers.") else name.split(".")[0] for name in names))
        raise TrainingError(f"[train.fine_tune]: what names no weight: {', '.join(unmatched)}. There are: {there}; or 'all', or 'head'.")
    for name, p in potential.named_parameters():
        p.requires_grad_(any(_begins(name, b) for b in beginnings))
    return sum(p.numel() for p in potential.parameters() if p.requires_grad)


def with_heads(parent: Potential, n: int | None, seed: int) -> Potential:
    """The same potential with so many last layers of the energy, drawn about its one, whose mean they keep.

    They differ by a fifth of the one's weights: drawn as far apart as these are large, each is a bad potential to begin with, and in learning to be a good one
    it spoils the trunk that all share (a peptide after 12 labels: 65 meV/Å where 51 had been; 52 with a fifth).

    Raises
    ------
    TrainingError : an architecture without such heads, or one that has another number of several.
    """
    if n is None or n == parent.energy_heads:
        return parent
    lineage: dict[str, Any] = getattr(parent, "lineage", {"file": f"This {type(parent).name}"})  # type: ignore[attr-defined]
    if "energy_heads" not in {f.name for f in fields(parent.config)} or parent.energy_heads > 1:  # type: ignore[arg-type]
        raise TrainingError(f"{lineage['file']} cannot take {n} heads: it has {parent.energy_heads}, and "
                            f"{'a ' + type(parent).name + ' knows no other number' if parent.energy_heads == 1 else 'several stay as many'}.")  # type: ignore[attr-defined]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        child = type(parent)(replace(parent.config, energy_heads=n)).to(next(parent.parameters()).dtype)  # type: ignore[arg-type,call-arg,type-var]
    before, after = parent.state_dict(), child.state_dict()
    for name, drawn in after.items():  # a last layer has n rows where the parent's has one
        mine = before[name]
        if drawn.shape != mine.shape:
            spread = drawn - drawn.mean(0, keepdim=True)
            scale = HEADS_APART * float(mine.square().mean().sqrt()) / max(float(spread.square().mean().sqrt()), 1e-12) if drawn.ndim > 1 else 0.0
            mine = mine + scale * spread
        drawn.copy_(mine)
    child.lineage = lineage  # type: ignore[assignment]
    return child.eval()


@torch.no_grad()
def jittered_(potential: Potential, by: float, seed: int) -> None:
    """Gaussian noise on the weights that may change, of each tensor in units of its root mean square."""
    rng = torch.Generator().manual_seed(seed)
    for p in potential.parameters():
        if by and p.requires_grad:
            p += by * p.square().mean().sqrt() * torch.randn(p.shape, generator=rng, dtype=torch.float64).to(p)


def tell_of(potential: Potential, new: Iterable[int], n_free: int, tell: Callable[[str], None]) -> None:
    """Where it comes from, in a sentence."""
    lineage: Any = potential.lineage
    symbols = ", ".join(chemical_symbols[z] for z in new)
    total = sum(p.numel() for p in potential.parameters())
    tell(f"Fine-tuning {lineage['file']} ({lineage['architecture']}, {lineage['level_of_theory']}): {n_free} of {total} weights may change"
         f"{f'; new elements: {symbols}' if symbols else ''}.")  # fmt: skip
    if symbols and n_free < total:
        tell(f"The rows of {symbols} stay the mean of the known elements where what leaves them out; what = 'all' learns them.")


def _begins(name: str, beginning: str) -> bool:
    """`layers.1` is not the beginning of `layers.10.norm`."""
    return name == beginning or name.startswith(beginning if beginning.endswith(".") else beginning + ".")


def _file_of(words: str) -> Path:
    path, shipped = Path(words), [Path(str(f)) for f in (files("potentials") / "shipped").iterdir() if f.name.endswith(".pt")]
    if path.exists():
        return path
    for candidate in shipped:
        if words in (candidate.name, candidate.stem):
            return candidate
    raise TrainingError(f"Cannot fine-tune: no potential file '{words}', and none of that name is shipped; shipped: {', '.join(f.name for f in shipped)}.")


def _refuse_other_architecture(potential: Potential, asked: PotentialConfig, words: str) -> None:
    if asked == PotentialConfig():
        return
    there, name = to_mapping(potential.config), type(potential).name  # type: ignore[attr-defined]
    if asked.name != name:
        differences = [f"architecture {name}, not {asked.name}"]
    else:
        whole = to_mapping(from_mapping(type(potential.config), asked.config, f"[train.potential.config] of {name}"))  # type: ignore[attr-defined]
        differences = [f"{key} = {there.get(key)}, not {_plain(value)}" for key, value in asked.config.items() if there.get(key) != whole.get(key)]
    if differences:
        raise TrainingError(f"{words} has {'; '.join(differences)}. Fine-tuning keeps the architecture of the file: leave [train.potential] out.")


def _enough(dataset: Dataset, indices: np.ndarray, seed: int) -> np.ndarray:
    """Some frames, in which every element occurs."""
    if len(indices) <= FRAMES_TO_FIT:
        return indices
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(indices, FRAMES_TO_FIT, replace=False)]
    elements, counts = composition(dataset, indices)
    chosen += [indices[np.flatnonzero(counts[:, k])[:FRAMES_OF_AN_ELEMENT]] for k in range(len(elements))]
    return np.unique(np.concatenate(chosen))


def _energies(potential: Potential, dataset: Dataset, indices: np.ndarray, device: str) -> np.ndarray:
    graph = dataset.batch(indices).to(device).graph
    return energy_forces_stress(potential, graph, forces=False).energy.cpu().numpy()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
