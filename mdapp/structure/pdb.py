"""PDB files by their columns: models, alternate locations, names without element column.

Kept for the topology are the arrays `atomtypes` (atom names), `residuenames`, `residuenumbers` (ASE's own names for them), `residueindex`
and `chainindex` (running, from 0). A chain ends at TER or where the chain letter changes; a residue where chain, number, insertion code or name do.
Of alternate locations each residue keeps one, the one with the largest occupancy, the first in the file among equals.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.cell import Cell

from mdapp.errors import StructureError
from mdapp.structure.elements import HEAVY_HYDROGEN, element_of_pdb_name, element_of_symbol


@dataclass(frozen=True)
class Site:
    """One ATOM or HETATM line."""

    name: str
    alternate: str
    residue: str
    residue_key: tuple  # chain section, chain letter, number, insertion code, name
    number: int
    occupancy: float
    position: tuple[float, float, float]
    element: tuple[int, float]  # atomic number, mass in amu
    deduced: bool  # the element, from the name


@dataclass
class Model:
    """One model of a file, as read."""

    number: int
    sites: list[Site] = field(default_factory=list)


def models(path: Path) -> Iterator[tuple[Model, tuple[float, ...] | None]]:
    """The models of a file, one by one, each with the box of CRYST1 (three lengths in Å, three angles in degrees) or None."""
    box: tuple[float, ...] | None = None
    number, section, model = 1, 0, Model(1)
    with open(path, encoding="utf-8", errors="replace") as stream:
        for line_number, line in enumerate(stream, start=1):
            record = line[:6].rstrip().upper()
            if record == "CRYST1":
                box = _box(line, path)
            elif record == "TER":
                section += 1
            elif record in ("ENDMDL", "END", "MODEL") and model.sites:
                yield model, box
                number, section = number + 1, 0
                model = Model(number)
            elif record in ("ATOM", "HETATM"):
                model.sites.append(_site(line.rstrip("\r\n").expandtabs(), section, path, line_number))
    if model.sites:
        yield model, box


def atoms_of(model: Model, box: tuple[float, ...] | None) -> tuple[Atoms, list[str]]:
    """A model as Atoms with the arrays of the module's head, and what there is to say about it."""
    sites, notes = _one_location(model.sites)
    deduced = sum(site.deduced for site in sites)
    if deduced:
        notes.append(f"The elements of {deduced} of {len(sites)} atoms were taken from their names: the file has no element column there.")
    atoms = Atoms(numbers=[site.element[0] for site in sites], positions=[site.position for site in sites])
    if any(site.element[0] == 1 and site.element[1] > 1.5 for site in sites):
        atoms.set_masses([site.element[1] for site in sites])
    if box is not None:
        atoms.cell = Cell.new(box)
        atoms.pbc = True
    residue_index = _running(site.residue_key for site in sites)
    chain_index = _running(site.residue_key[:2] for site in sites)
    atoms.set_array("atomtypes", np.array([site.name for site in sites]))
    atoms.set_array("residuenames", np.array([site.residue or "UNK" for site in sites]))
    atoms.set_array("residuenumbers", np.array([site.number for site in sites]))
    atoms.set_array("residueindex", np.array(residue_index))
    atoms.set_array("chainindex", np.array(chain_index))
    return atoms, notes


def _site(line: str, section: int, path: Path, line_number: int) -> Site:
    where = f"{path}: line {line_number}"
    try:
        position = (float(line[30:38]), float(line[38:46]), float(line[46:54]))
    except ValueError:
        raise StructureError(f"{where}: columns 31 to 54 should hold three coordinates, got {line[30:54]!r}.") from None
    name, residue, chain = line[12:16], line[17:21].strip(), line[21:22]
    if chain != " " and line[20:21] != " ":  # a residue name of four letters runs into nothing: chain stays column 22
        residue = line[17:21].strip()
    number = line[22:26].strip()
    column = line[76:78].strip().rstrip("+-0123456789")
    element = element_of_symbol(column) if column else None
    deduced = element is None
    if element is None:
        element = element_of_pdb_name(name, residue)
    if element is None:
        raise StructureError(f"{where}: no element in columns 77 to 78, and the atom name {name.strip()!r} tells none. Add the element column.")
    if column.upper() in HEAVY_HYDROGEN:
        element = (1, HEAVY_HYDROGEN[column.upper()])
    try:
        resid = int(number) if number else 1
    except ValueError:
        resid = 0  # hybrid numbers of very large files
    key = (section, chain, number, line[26:27], residue)
    return Site(name.strip(), line[16:17].strip(), residue, key, resid, _number(line[54:60], 1.0), position, element, deduced)


def _one_location(sites: list[Site]) -> tuple[list[Site], list[str]]:
    """Without the alternate locations that are not kept, and a note on them."""
    weight: dict[tuple, dict[str, float]] = defaultdict(dict)
    for site in sites:
        if site.alternate:
            labels = weight[_place(site)]
            labels[site.alternate] = labels.get(site.alternate, 0.0) + site.occupancy
    if not weight:
        return list(sites), []
    kept_label = {place: max(labels, key=lambda label: labels[label]) for place, labels in weight.items()}
    kept = [site for site in sites if not site.alternate or site.alternate == kept_label[_place(site)]]
    dropped = len(sites) - len(kept)
    if not dropped:
        return kept, []
    return kept, [f"{dropped} atoms at alternate locations were left out; {len(weight)} residue(s) keep the location with the largest occupancy."]


def _place(site: Site) -> tuple:
    return site.residue_key[:4]  # not the name: alternates may be two residues (microheterogeneity)


def _running(keys: Iterator) -> list[int]:
    """Running index that rises whenever the key changes."""
    index, last, result = -1, object(), []
    for key in keys:
        if key != last:
            index, last = index + 1, key
        result.append(index)
    return result


def _box(line: str, path: Path) -> tuple[float, ...] | None:
    fields = [line[6:15], line[15:24], line[24:33], line[33:40], line[40:47], line[47:54]]
    values = tuple(_number(text, 0.0) for text in fields)
    if not all(np.isfinite(values)):
        raise StructureError(f"{path}: CRYST1 holds numbers that are not finite.")
    if not all(values[:3]):
        return None  # a box of length zero is no box
    return values[:3] + tuple(angle or 90.0 for angle in values[3:])


def _number(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise
