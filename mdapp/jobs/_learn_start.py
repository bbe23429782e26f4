"""What a learning loop begins with: start structures, labels that are there, settings of its training, each checked before anything is made."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mdapp.config.learn import LearnConfig
from mdapp.errors import EXIT_INPUT, StructureError, UserError
from mdapp.jobs._learn_train import training_settings
from potentials.typed import ConfigError

if TYPE_CHECKING:
    from ase import Atoms


class LabelsMissing(UserError):
    """A file of labels that is not there, or holds none."""

    exit_code = EXIT_INPUT


def labelled_frames(file: Path) -> list[Atoms]:
    """The frames of an extended XYZ file, none where it is not there."""
    from ase.io import read

    try:
        return read(file, ":", format="extxyz") if file.exists() else []
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise LabelsMissing(f"{file} cannot be read as extended XYZ ({error}).") from error


def known_frames(file: Path) -> list[Atoms]:
    """The frames of a labelled file of any form that training reads; energy and forces, where they are known, in a calculator."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    from potentials.data.read import read_labelled

    found = []
    for s in read_labelled(file):
        atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc, info={"charge": s.charge, "multiplicity": s.multiplicity})
        known = {name: label for name, label in (("energy", s.energy), ("forces", s.forces)) if label is not None}
        atoms.calc = SinglePointCalculator(atoms, **known) if known else None
        found.append(atoms)
    return found


def starts_of(config: LearnConfig) -> list[Atoms]:
    """Where exploration begins.

    Raises
    ------
    StructureError : a file that cannot be read, or that holds a structure that cannot be used.
    """
    from mdapp.jobs._structures import read_all

    found = []
    for source in read_all(config.starts):
        if source.atoms is None:
            raise StructureError(f"{source.name}: {source.problem}")
        atoms = source.atoms
        atoms.info = {key: value for key, value in atoms.info.items() if key in ("charge", "multiplicity", "molecule")}
        atoms.arrays = {name: value for name, value in atoms.arrays.items() if name in ("numbers", "positions")}
        found.append(atoms)
    _refuse_what_has_no_labels(config)
    return found


def _refuse_what_has_no_labels(config: LearnConfig) -> None:
    """Files that are there already are read as they will be later, before anything is made."""
    from potentials.data.labelled import DataError
    from potentials.data.read import read_labelled

    for name in (*config.given, *config.held_out_files):
        if not Path(name).is_file():
            raise LabelsMissing(f"No labelled file {name}.")
    try:
        for name in config.given:
            bare = [frame.source for frame in read_labelled(name) if frame.energy is None or frame.forces is None]
            if bare:
                raise LabelsMissing(f"[learn]: data: {bare[0]} has no energy, or no forces, and members learn from both.")
        for name in config.held_out_files:
            frames = known_frames(Path(name))
            bare = [k for k, frame in enumerate(frames) if frame.calc is None or not {"energy", "forces"} <= frame.calc.results.keys()]
            if bare or not frames:
                lack = f"frame {bare[0]} of {name} has no energy, or no forces" if bare else f"{name} holds no frame"
                raise LabelsMissing(f"[learn]: held_out: {lack}. Frames with both are wanted, as `mdapp label` writes them.")
    except DataError as error:
        raise LabelsMissing(str(error)) from error


def refuse_bad_training(config: LearnConfig) -> None:
    """Settings of [learn.train] that do not fit are told before anything is labelled."""
    from potentials.words import file_of, not_found

    if config.begin_from is not None and file_of(config.begin_from) is None:
        raise UserError(f"[learn]: begin_from: {not_found(config.begin_from)}")
    if _n_heads(config) < 2 and config.members < 2:
        where = "[learn.train.potential.config]" if config.begin_from is None else "[learn]"
        raise UserError(f"[learn]: members must be 2 or more, got 1: a single potential disagrees with nobody. Or give it several heads: energy_heads = 8 under {where}.")
    from potentials.architectures import architectures
    from potentials.registry import UnknownName
    from potentials.typed import from_mapping

    try:
        wanted = training_settings(config, 0, [Path("labelled.xyz")], Path(config.output), None, "").potential
        if config.begin_from is None:
            from_mapping(architectures.get(wanted.name).Config, wanted.config, f"[learn.train.potential.config] of {wanted.name}")
    except (ConfigError, UnknownName) as error:
        raise UserError(str(error)) from error


def _n_heads(config: LearnConfig) -> int:
    """Heads of each member: of the file that it begins from, or as its settings have it."""
    from potentials.checkpoint import PotentialFileError, read_content
    from potentials.words import file_of

    if config.begin_from is not None:
        file = file_of(config.begin_from)
        try:
            found = {} if file is None else read_content(file)["config"]
        except PotentialFileError as error:
            raise UserError(f"[learn]: begin_from: {error}") from error
        return config.energy_heads or int(found.get("energy_heads", 1))
    settings = config.train.get("potential", {})
    return int(settings.get("config", {}).get("energy_heads", 1)) if isinstance(settings, dict) else 1


def theory_of(word: str) -> str:
    """Level of theory of the calculator, which also says whether there is such a one."""
    from mdapp.jobs._label_work import Recipe
    from mdapp.jobs.label import _probe

    return str(getattr(getattr(_probe(Recipe(word)), "card", None), "level_of_theory", "")) or word
