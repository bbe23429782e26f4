"""What a data set is made of: files, each with its own keys and units where they differ, and filters over all of them."""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from potentials.data.filters import FilterConfig, filtered
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, is_isolated_atom
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
    """Frames of some files, one at a time and afresh at each iteration, filtered, without the isolated atoms among them.

    After a whole iteration `fallen` tells how many frames fell to which filter and `isolated_atoms` the energies of the
    isolated atoms that were met, eV by atomic number.
    """

    def __init__(self, files: Iterable[FileConfig | str], default: FileConfig = FileConfig(""), filters: FilterConfig = FilterConfig()):
        self._files = [FileConfig(f) if isinstance(f, str) else f for f in files]
        self._default = default
        self._filters = filters
        self.fallen: Counter[str] = Counter()
        self.isolated_atoms: dict[int, float] = {}

    def __iter__(self) -> Iterator[LabelledStructure]:
        self.fallen.clear()
        self.isolated_atoms.clear()
        return chain.from_iterable(self._file(file) for file in self._files)

    def _file(self, file: FileConfig) -> Iterator[LabelledStructure]:
        d = self._default
        wish = file.filters or self._filters
        fallen: Counter[str] = Counter()
        structures = read_labelled(file.path, file.format or d.format, file.keys or d.keys or LabelKeys(), file.units or d.units, file.lammps or d.lammps)
        taken = 0
        for s in filtered(self._without_isolated(structures), wish, fallen):
            taken += 1
            yield s
        self.fallen.update(fallen)
        if fallen:
            log.info("%s: %d frames taken; %s.", file.path, taken, "; ".join(f"{n} fell to {name}" for name, n in fallen.items()))
        if not taken:
            why = f": {', '.join(f'{n} fell to {name}' for name, n in fallen.items())}. Loosen the filters" if fallen else "; it holds isolated atoms only"
            raise DataError(f"{file.path} has no frame to learn from{why}.")

    def _without_isolated(self, structures: Iterable[LabelledStructure]) -> Iterator[LabelledStructure]:
        for s in structures:
            if is_isolated_atom(s):
                _keep(self.isolated_atoms, s)
            else:
                yield s


def isolated_atom_energies(file: FileConfig | str) -> dict[int, float]:
    """Energies of a file's isolated atoms (config_type=IsolatedAtom, or single atoms where it holds nothing else), eV by atomic number.

    Raises
    ------
    DataError : no isolated atom in it, one without energy, or two energies for an element.
    """
    file = FileConfig(file) if isinstance(file, str) else file
    energies: dict[int, float] = {}
    for s in read_labelled(file.path, file.format, file.keys or LabelKeys(), file.units, file.lammps):
        if is_isolated_atom(s) or len(s.numbers) == 1:
            _keep(energies, s)
    if not energies:
        raise DataError(f"{file.path} has no isolated atoms (frames of one atom, config_type=IsolatedAtom).")
    return energies


def _keep(energies: dict[int, float], s: LabelledStructure) -> None:
    z = int(s.numbers[0])
    if s.energy is None:
        raise DataError(f"{s.source} is an isolated atom without energy.")
    if z in energies and not np.isclose(energies[z], s.energy, rtol=0, atol=1e-6):  # eV
        raise DataError(f"{s.source} gives an isolated atom the energy {s.energy:.6f} eV, another frame {energies[z]:.6f} eV. Keep one of them.")
    energies[z] = s.energy
