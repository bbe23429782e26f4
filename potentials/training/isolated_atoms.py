"""Reference energies from isolated atoms: the energy of an element is that of its free atom, at the labels' level of theory."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from ase.data import chemical_symbols

from potentials.data.labelled import DataError, LabelledStructure, is_isolated_atom


def without_isolated_atoms(structures: Iterable[LabelledStructure], aside: list[LabelledStructure], *, every: bool) -> Iterator[LabelledStructure]:
    """The frames to learn from; isolated atoms go to `aside`.

    Parameters
    ----------
    every : any single atom without a cell is one, not only those that their file marks as such (config_type=IsolatedAtom).
    """
    for s in structures:
        if is_isolated_atom(s) or (every and len(s.numbers) == 1 and not s.pbc.any()):
            aside.append(s)
        else:
            yield s


def energies_of_atoms(atoms: Iterable[LabelledStructure]) -> dict[int, float]:
    """Energy of the free neutral atom by atomic number, eV; the lowest where an element has several (its ground state).

    Raises
    ------
    DataError : none; a structure of more than one atom; an atom without energy; an element with ions only.
    """
    atoms = list(atoms)
    if not atoms:
        raise DataError("reference_energies = 'isolated', but no frame is a single atom. Name a file with them in isolated_atoms, or use 'fit'.")
    energies: dict[int, float] = {}
    for s in atoms:
        if len(s.numbers) != 1:
            raise DataError(f"{s.source} has {len(s.numbers)} atoms; a file of isolated_atoms holds single atoms only.")
        if s.energy is None:
            raise DataError(f"{s.source}, an isolated {chemical_symbols[int(s.numbers[0])]} atom, has no energy. Name it with keys.energy, or leave it out.")
        z = int(s.numbers[0])
        if s.charge == 0:
            energies[z] = min(s.energy, energies.get(z, s.energy))
    ions = sorted({int(s.numbers[0]) for s in atoms} - energies.keys())
    if ions:
        raise DataError(f"The isolated atoms of {', '.join(chemical_symbols[z] for z in ions)} are ions only; reference energies are those of neutral atoms.")
    return energies
