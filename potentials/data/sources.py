"""What a data set is made of: files, each with its own keys and units where they differ, and filters over all of them."""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from potentials.data.filters import FilterConfig, filtered
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure
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


class Frames:
    """Frames of some files, one at a time and afresh at each iteration, filtered.

    Isolated atoms pass every filter but are not counted by it: they are no frames to learn from, but references, and whoever
    learns sets them aside. `fallen` tells after a whole iteration how many frames fell to which filter.
    """

    def __init__(self, files: Iterable[FileConfig | str], default: FileConfig = FileConfig(""), filters: FilterConfig = FilterConfig()):
        self._files = [FileConfig(f) if isinstance(f, str) else f for f in files]
        self._default = default
        self._filters = filters
        self.fallen: Counter[str] = Counter()

    def __iter__(self) -> Iterator[LabelledStructure]:
        self.fallen.clear()
        return chain.from_iterable(self._file(file) for file in self._files)

    def _file(self, file: FileConfig) -> Iterator[LabelledStructure]:
        d = self._default
        fallen: Counter[str] = Counter()
        structures = read_labelled(file.path, file.format or d.format, file.keys or d.keys or LabelKeys(), file.units or d.units, file.lammps or d.lammps)
        taken = 0
        for s in filtered(structures, file.filters or self._filters, fallen):
            taken += 1
            yield s
        self.fallen.update(fallen)
        told = ", ".join(f"{count} fell to {name}" for name, count in fallen.items())
        if fallen:
            log.info("%s: %d frames taken, %s.", file.path, taken, told)
        if not taken:
            raise DataError(f"{file.path}: no frame is left, {told}. Loosen the filters, or leave the file out.")
