"""What a data set is made of: files, each with its own keys and units where they differ, and filters over all of them."""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from potentials.data.filters import FilterConfig, filtered
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, not_finite
from potentials.data.lammps import LammpsConfig
from potentials.data.read import read_labelled
from potentials.data.units import Units

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileConfig:
    """One file of a data set. What is not given here is as for the whole set."""

    path: str
    format: str | None = None
    keys: LabelKeys | None = None
    units: Units | None = None
    lammps: LammpsConfig | None = None
    filters: FilterConfig | None = None

    def __fspath__(self) -> str:
        return self.path


@dataclass(frozen=True)
class LeftOut:
    """A frame that is not used, since something of it is not a finite number."""

    file: str
    frame: int  # its number in the file, from 0
    molecule: str
    what: str  # "energy", "forces, stress", ...


class Frames:
    """Frames of some files, one at a time and afresh at each iteration, filtered.

    Isolated atoms pass every filter but are not counted by it: they are no frames to learn from, but references, and whoever
    learns sets them aside. `fallen` tells after a whole iteration how many frames fell to which filter.

    Parameters
    ----------
    left_out : where frames go that pass the filters, but have a position or a label that is not a finite number; None refuses such frames.
    """

    def __init__(self, files: Iterable[FileConfig | str], default: FileConfig = FileConfig(""), filters: FilterConfig = FilterConfig(),
                 left_out: list[LeftOut] | None = None):  # fmt: skip
        self._files = [FileConfig(f) if isinstance(f, str) else f for f in files]
        self._default = default
        self._filters = filters
        self._left_out = left_out
        self.fallen: Counter[str] = Counter()

    def leaving_out(self, left_out: list[LeftOut]) -> Frames:
        """The same frames without those that are not finite numbers, which are listed in `left_out` as they come."""
        return Frames(self._files, self._default, self._filters, left_out)

    @property
    def sources(self) -> list[str]:
        """Every file that decides what the frames are: those with frames, and the LAMMPS logs and data files beside them."""
        settings = [lammps for file in self._files if (lammps := file.lammps or self._default.lammps) is not None]
        beside = [path for lammps in settings for path in (lammps.energies, lammps.topology) if path is not None]
        return [file.path for file in self._files] + list(dict.fromkeys(beside))

    def __iter__(self) -> Iterator[LabelledStructure]:
        self.fallen.clear()
        return chain.from_iterable(self._file(file) for file in self._files)

    def _file(self, file: FileConfig) -> Iterator[LabelledStructure]:
        d = self._default
        fallen: Counter[str] = Counter()
        structures = read_labelled(file.path, file.format or d.format, file.keys or d.keys or LabelKeys(), file.units or d.units, file.lammps or d.lammps,
                                   "refuse" if self._left_out is None else "keep")  # fmt: skip
        taken = n_left_out = index = 0

        def counted() -> Iterator[LabelledStructure]:
            nonlocal index
            for index, s in enumerate(structures):
                yield s

        for s in filtered(counted(), file.filters or self._filters, fallen):
            if self._left_out is not None and (what := not_finite(s)):
                self._left_out.append(LeftOut(file.path, index, s.molecule, ", ".join(what)))
                n_left_out += 1
                continue
            taken += 1
            yield s
        self.fallen.update(fallen)
        told = ", ".join(f"{count} fell to {name}" for name, count in fallen.items())
        if fallen:
            log.info("%s: %d frames taken, %s.", file.path, taken, told)
        if not taken:
            told = ", ".join(filter(None, (told, f"{n_left_out} have labels that are not finite numbers" if n_left_out else "")))
            raise DataError(f"{file.path}: no frame is left, {told}. Loosen the filters, or leave the file out.")
