"""Labels that a frame carries under names: which one is meant, and what it is in eV and Å.

Extended xyz, ASE's data bases and its trajectories all bring a mapping from names to values; they are read alike.
"""
from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked, formula_of
from potentials.data.units import Units

log = logging.getLogger(__name__)

USUAL_KEYS: dict[str, tuple[str, ...]] = {
    "energy": ("REF_energy", "ref_energy", "energy", "Energy", "dft_energy", "DFT_energy", "free_energy"),
    "forces": ("REF_forces", "ref_forces", "forces", "force", "Forces", "dft_forces", "DFT_forces"),
    "stress": ("REF_stress", "ref_stress", "stress", "dft_stress", "DFT_stress"),
    "charges": ("REF_charges", "ref_charges", "charges", "dft_charges", "hirshfeld_charges"),
    "dipole": ("REF_dipole", "ref_dipole", "dipole", "dft_dipole"),
    "molecule": ("molecule", "molecule_name", "config_type", "name"),
    "charge": ("charge", "total_charge"),
    "multiplicity": ("multiplicity", "spin_multiplicity"),
}
GEOMETRY = ("numbers", "positions", "cell", "pbc")
LABELS = ("energy", "forces", "stress", "charges", "dipole")
_ENDINGS = ("energy", "forces", "force", "stress", "virial", "virials", "dipole")


@dataclass(frozen=True)
class RawFrame:
    """One frame as its file has it, in the file's units."""

    labels: Mapping[str, Any]  # by name: forces (n_atoms, 3), stress of six numbers in ASE's Voigt order or of nine
    numbers: np.ndarray  # (n_atoms,)
    positions: np.ndarray  # (n_atoms, 3)
    cell: np.ndarray  # (3, 3)
    pbc: np.ndarray  # (3,) bool
    source: str  # file and frame, for messages


def structures_of(frames: Iterable[RawFrame], keys: LabelKeys, units: Units, file: str) -> Iterator[LabelledStructure]:
    """Frames of a file in eV and Å, checked; the log says which names and units were taken.

    Names that are given must be there in the first frame, which catches a slip of the pen at once. Later frames, and single atoms
    (references, often without forces), may lack some labels.

    Raises
    ------
    DataError : no frames; a name that was given is not there; a frame with neither energy nor forces; see `checked`.
    """
    announced, n_molecules = "", 0
    doubts = _Doubts(keys, file)
    for frame in frames:
        single = len(frame.numbers) == 1
        found = keys_of(frame.labels, keys, frame.source, named_needed=not single and n_molecules == 0, family=doubts.family)
        doubts.look(frame, found)
        if not announced or (not single and n_molecules == 0 and announced != told(found, units)):
            announced = told(found, units)
            log.info("%s: %s.", file, announced)
        n_molecules += not single
        yield structure_of(frame, found, units)
    if not announced:
        raise DataError(f"{file} holds no frames.")


def keys_of(labels: Mapping[str, Any], keys: LabelKeys, source: str, *, named_needed: bool = True, family: str | None = None) -> dict[str, str]:
    """The name under which each quantity is there; a quantity that is not there is left out.

    Where there are several names, energy and forces are taken from one family ("REF_", "dft_", or plain names), the first that has both, so that
    the forces are those of the energy; stress, charges and dipole follow them.

    Parameters
    ----------
    family : see `family_of`; taken before all others where it is there, as for the later frames of a file.

    Raises
    ------
    DataError : a name that was given is not there though `named_needed`, or there is neither an energy nor forces; the message
        lists what is there.
    """
    found = {}
    there = {quantity: _names_there(labels, keys, quantity) for quantity in USUAL_KEYS}
    families = {quantity: [family_of(k) for k in there[quantity]] for quantity in ("energy", "forces")}
    both = [f for f in families["energy"] if f in families["forces"]]
    candidates = both or families["energy"] or families["forces"]
    if family not in candidates:
        family = next(iter(candidates), None)
    for quantity in USUAL_KEYS:
        given = getattr(keys, quantity)
        same = [k for k in there[quantity] if quantity in LABELS and family_of(k) == family]
        key = next(iter(same or there[quantity]), None)
        if key is not None:
            found[quantity] = key
        elif given is not None and named_needed:
            raise DataError(f"No {quantity} in {source}: looked for '{given}'; {_there(labels)} Name it with keys.{quantity}.")
    if "energy" not in found and "forces" not in found:
        names = ", ".join(map(repr, USUAL_KEYS["energy"] if keys.energy is None else (keys.energy,)))
        raise DataError(f"No energy in {source}: looked for {names}, and no forces either; {_there(labels)} Name them with keys.energy and keys.forces.")
    return found


def family_of(key: str) -> str:
    """What names of one origin have in common: "ref" of REF_energy and ref_forces, "" of energy, Energy, force and ASE's free_energy."""
    return "" if key == "free_energy" else key.lower().rpartition("_")[0]


def is_label(key: str) -> bool:
    """Whether a name is that of an energy, of forces or of another result of a calculator; a total charge is none."""
    return any(key in USUAL_KEYS[quantity] for quantity in LABELS) or key.lower().endswith(_ENDINGS)


class _Doubts:
    """Watches the labels of a file's frames; the log warns, once of each kind, where others of the usual names say something else."""

    def __init__(self, keys: LabelKeys, file: str):
        self.family: str | None = None  # of energy and forces of the frames so far
        self._keys, self._file = keys, file
        self._warned: set[str] = set()

    def look(self, frame: RawFrame, found: Mapping[str, str]) -> None:
        keys, source = self._keys, frame.source
        energy, forces = found.get("energy"), found.get("forces")
        if energy and forces and family_of(energy) != family_of(forces) and energy in USUAL_KEYS["energy"] and forces in USUAL_KEYS["forces"]:
            if keys.energy is None or keys.forces is None:
                self._warn("families", f"energy is read from '{energy}' and forces from '{forces}' ({source}), which may be of different methods: no two names of "
                           "one kind are there for both. Say which are meant with keys.energy and keys.forces.")  # fmt: skip
        if energy and self.family not in (None, family_of(energy)):
            self._warn("changed", f"energy is read from '{energy}' in {source}, and from another name before; they may be of different methods. Name it with keys.energy.")
        if energy and forces and self.family is None:
            self.family = family_of(energy)
        for quantity in ("energy", "forces"):
            if quantity in self._warned or getattr(keys, quantity) is not None or quantity not in found:
                continue
            taken = found[quantity]
            names = [k for k in _names_there(frame.labels, keys, quantity) if k not in (taken, "free_energy")]  # which differs from ASE's own energy by the smearing
            other = next((k for k in names if _differ(frame.labels[taken], frame.labels[k])), None)
            if other is not None:
                self._warn(quantity, f"{quantity} is there as '{taken}' and, with other values, as '{other}' ({source}); '{taken}' is taken. Say which is meant "
                           f"with keys.{quantity}.")  # fmt: skip

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s: %s", self._file, text)


def _names_there(labels: Mapping[str, Any], keys: LabelKeys, quantity: str) -> list[str]:
    """Names of a quantity that a frame has, the preferred one first; a name that was given is looked for alone."""
    given = getattr(keys, quantity)
    return [k for k in (USUAL_KEYS[quantity] if given is None else (given,)) if labels.get(k) is not None]


def _differ(one: Any, other: Any) -> bool:
    try:
        a, b = np.asarray(one, dtype=np.float64).ravel(), np.asarray(other, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return True
    return a.shape != b.shape or not np.allclose(a, b, rtol=1e-10, atol=1e-6, equal_nan=True)


def structure_of(frame: RawFrame, key: Mapping[str, str], units: Units) -> LabelledStructure:
    """One frame in eV and Å, checked; `key` is what `keys_of` found."""
    labels, numbers, source = frame.labels, np.asarray(frame.numbers), frame.source

    def array(quantity: str, factor: float) -> np.ndarray | None:
        return array_of(labels[key[quantity]], key[quantity], source) * factor if quantity in key else None

    charges = array("charges", 1.0)
    return checked(LabelledStructure(
        numbers=numbers,
        positions=np.asarray(frame.positions, dtype=np.float64) * units.to_angstrom,
        energy=number_of(labels[key["energy"]], key["energy"], source) * units.to_eV if "energy" in key else None,
        forces=array("forces", units.to_eV_per_angstrom),
        stress=stress_of(labels[key["stress"]], key["stress"], source) * stress_factor(units, key["stress"], source) if "stress" in key else None,
        cell=np.asarray(frame.cell, dtype=np.float64) * units.to_angstrom,
        pbc=np.asarray(frame.pbc, dtype=bool),
        charge=number_of(labels[key["charge"]], key["charge"], source) if "charge" in key else 0.0,
        molecule=str(labels[key["molecule"]]) if "molecule" in key else formula_of(numbers),
        source=source,
        multiplicity=multiplicity_of(labels[key["multiplicity"]], key["multiplicity"], source) if "multiplicity" in key else 1,
        charges=charges.ravel() if charges is not None and charges.size == len(numbers) else charges,
        dipole=array("dipole", units.to_e_angstrom),
    ))  # fmt: skip


def told(found: Mapping[str, str], units: Units) -> str:
    """What is read from where, for the log."""
    shown = [f"{quantity} from '{found[quantity]}'" for quantity in ("energy", "forces", "stress", "charges", "dipole", "charge") if quantity in found]
    missing = [f"no {quantity}" for quantity in ("energy", "forces") if quantity not in found]
    return f"{', '.join(shown + missing)}; {units.with_stress() if 'stress' in found else units}, turned into eV and Å"


def number_of(value: Any, key: str, source: str) -> float:
    """One number, also as an array of one."""
    try:
        return float(np.asarray(value, dtype=np.float64).reshape(()))
    except (TypeError, ValueError):
        raise DataError(f"'{key}' is not a number in {source}: {str(value)[:80]!r}.") from None


def multiplicity_of(value: Any, key: str, source: str) -> int:
    number = number_of(value, key, source)
    if not number.is_integer() or number < 1:
        raise DataError(f"'{key}' must be a whole number of 1 or more (2 S + 1), got {number:g} in {source}.")
    return int(number)


def array_of(value: Any, key: str, source: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"'{key}' does not hold numbers in {source}.") from None


def stress_of(value: Any, key: str, source: str) -> np.ndarray:
    """(3, 3) from six numbers in ASE's Voigt order xx, yy, zz, yz, xz, xy, or from nine."""
    stress = array_of(value, key, source)
    if stress.size == 6:
        return voigt_6_to_full_3x3_stress(stress.ravel())
    if stress.size == 9:
        return stress.reshape(3, 3)
    raise DataError(f"'{key}' has {stress.size} numbers in {source}; expected 6 (xx, yy, zz, yz, xz, xy) or 9.")


def stress_factor(units: Units, key: str, source: str) -> float:
    """Factor of a stress to eV/Å³.

    Raises
    ------
    DataError : nothing says its unit.
    """
    try:
        return units.to_eV_per_angstrom3
    except ValueError as error:
        raise DataError(f"'{key}' of {source} cannot be read: {error}") from None


def _there(labels: Mapping[str, Any]) -> str:
    return f"there: {', '.join(sorted(k for k in labels if k not in GEOMETRY)) or 'nothing'}."
