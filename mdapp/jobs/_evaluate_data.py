"""Labelled frames as an evaluation wants them: read lazily, thinned, told their charge, in portions that fit in memory."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mdapp.config import EvaluateConfig, pairs
from mdapp.errors import EXIT_INPUT, PotentialError, UserError
from mdapp.record import nearest

if TYPE_CHECKING:
    from potentials.data.labelled import LabelKeys, LabelledStructure
    from potentials.data.units import Units

PORTION_ATOMS = 20_000  # held at once
PORTION_FRAMES = 2_000


class LabelledDataError(UserError):
    """Labelled data that cannot be used."""

    exit_code = EXIT_INPUT


@dataclass
class Frame:
    """A labelled structure and its running number in the file, from 0."""

    number: int
    labelled: LabelledStructure


@dataclass
class LeftOut:
    """Frames that were not evaluated, counted while they are read."""

    isolated: int = 0  # single atoms that the file marks as references
    charged: int = 0


def frames_of(path: str, config: EvaluateConfig, left_out: LeftOut, knows_charge: bool | None, knows_spin: bool | None, title: str) -> Iterator[Frame]:
    """Frames of a file, one at a time, with the charge and multiplicity that hold.

    Parameters
    ----------
    knows_charge, knows_spin : whether they mean anything to the potential called `title`; None where it does not say.

    Raises
    ------
    LabelledDataError : a file that cannot be read, labels that cannot be used.
    PotentialError : a charged or open-shell frame for a potential that knows no such, unless the configuration says how to take it.
    """
    from potentials.data.labelled import DataError, is_isolated_atom
    from potentials.data.read import read_labelled

    try:
        structures = read_labelled(path, config.format, label_keys(config), label_units(config))
        for number, s in enumerate(structures):
            if is_isolated_atom(s):
                left_out.isolated += 1
                continue
            s = _told(s, config)
            if s.charge and knows_charge is False and config.charged == "drop":
                left_out.charged += 1
                continue
            _refuse_foreign_state(s, config, knows_charge, knows_spin, title)
            yield Frame(number, s)
    except (DataError, OSError) as error:
        raise LabelledDataError(str(error)) from error


def evenly(frames: Iterable[Frame], limit: int | None) -> Iterator[Frame]:
    """At most `limit` frames, spread evenly from the first to the last; all of them when None.

    The number of frames is known only at the end of a file: every frame is kept until there are twice as many as wanted, then every second one, and
    so on. One pass, at most ``2 * limit`` frames in memory.
    """
    if limit is None:
        yield from frames
        return
    kept: list[Frame] = []
    stride, last = 1, None
    for k, frame in enumerate(frames):
        last = frame
        if k % stride:
            continue
        kept.append(frame)
        if len(kept) > 2 * limit:
            kept, stride = kept[::2], 2 * stride
    if last is not None and kept[-1] is not last:
        kept.append(last)
    if len(kept) > limit:
        kept = [kept[k] for k in np.linspace(0, len(kept) - 1, limit).round().astype(int)]
    yield from kept


def portions(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Frames in lists of at most `PORTION_FRAMES` frames and `PORTION_ATOMS` atoms."""
    portion: list[Frame] = []
    atoms = 0
    for frame in frames:
        n = len(frame.labelled.numbers)
        if portion and (len(portion) >= PORTION_FRAMES or atoms + n > PORTION_ATOMS):
            yield portion
            portion, atoms = [], 0
        portion.append(frame)
        atoms += n
    if portion:
        yield portion


def label_keys(config: EvaluateConfig) -> LabelKeys:
    """Names of labels as asked for.

    Raises
    ------
    UserError : a label that there is none of, or that is named twice.
    """
    from potentials.data.labelled import LabelKeys

    short = {"energy": config.energy_key, "forces": config.forces_key}
    given = {name: key for name, key in short.items() if key is not None}
    named = {name: str(key) for name, key in _named(config.key, "key", LabelKeys).items()}
    twice = sorted(given.keys() & named.keys())
    if twice:
        raise UserError(f"{twice[0]}_key and key = '{twice[0]}=...' are both given; give one of them.")
    return LabelKeys(**given, **named)


def label_units(config: EvaluateConfig) -> Units | None:
    """Units as asked for; None where those of the format hold.

    Raises
    ------
    UserError : a quantity without unit, an unknown unit.
    """
    from potentials.data.units import Units

    named = _named(config.unit, "unit", Units)
    try:
        return Units(**named) if named else None
    except ValueError as error:
        raise UserError(f"unit: {error}") from error


def _named(words: tuple[str, ...], option: str, cls: type) -> dict[str, str]:
    known = list(cls.__dataclass_fields__)
    try:
        found = {name: str(value) for name, value in pairs(words, option).items()}
    except ValueError as error:
        raise UserError(str(error)) from error
    for name in found:
        if name not in known:
            raise UserError(f"{option}: unknown '{name}'{nearest(name, known)}; known: {', '.join(known)}.")
    return found


def _told(s: LabelledStructure, config: EvaluateConfig) -> LabelledStructure:
    """The command line overrides what a file says of charge and multiplicity."""
    charge = s.charge if config.charge is None else float(config.charge)
    multiplicity = s.multiplicity if config.multiplicity is None else config.multiplicity
    return s if (charge, multiplicity) == (s.charge, s.multiplicity) else replace(s, charge=charge, multiplicity=multiplicity)


def _refuse_foreign_state(s: LabelledStructure, config: EvaluateConfig, knows_charge: bool | None, knows_spin: bool | None, title: str) -> None:
    if s.charge and knows_charge is False and config.charged == "refuse":
        raise PotentialError(f"{_capital(s.source)} has a total charge of {s.charge:+g} e, but {title} knows no charge. Take a potential that does, leave "
                             "such frames out by --charged drop, or have them evaluated all the same by --charged keep.")
    if s.multiplicity != 1 and knows_spin is False and config.charged == "refuse":
        raise PotentialError(f"{_capital(s.source)} has multiplicity {s.multiplicity}, but {title} knows no unpaired electrons. Take a potential that does, or "
                             "give --multiplicity 1 to have every frame treated as a closed shell.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Quiet(logging.Handler):
    """Collects what a reader says in its log, so that a job can show it."""

    def __init__(self, at_once: Callable[[], None] | None) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []
        self.at_once = at_once

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        if self.at_once is not None:
            self.at_once()


class listening:
    """Within the block, what the readers log (units, keys, warnings) is handed to `say`, once each: when it is asked for, or at once."""

    def __init__(self, say: Callable[[str], None], *, at_once: bool = False) -> None:
        self.say, self.handler, self.shown = say, _Quiet(self.pass_on if at_once else None), 0

    def __enter__(self) -> listening:
        self.logger = logging.getLogger("potentials.data")
        self.level = self.logger.level
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self.handler)
        return self

    def pass_on(self) -> None:
        """Show what came since the last call."""
        for sentence in self.handler.said[self.shown :]:
            self.say(sentence)
        self.shown = len(self.handler.said)

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self.handler)
        self.logger.setLevel(self.level)
        self.pass_on()
