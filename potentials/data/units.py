"""Units of labels, brought to Å and eV once, at the door.

The constants are CODATA 2018 (E. Tiesinga et al., Rev. Mod. Phys. 93, 025010 (2021)); a calorie is 4.184 J.
"""
from __future__ import annotations

import difflib
from dataclasses import dataclass

HARTREE = 27.211386245988  # eV
BOHR = 0.529177210903  # Å
KJ_PER_MOL = 1000 / (6.02214076e23 * 1.602176634e-19)  # eV
GPA = 1e9 * 1e-30 / 1.602176634e-19  # eV/Å³
DEBYE = 0.20819433442462576  # e Å

ENERGIES = {"eV": 1.0, "meV": 1e-3, "hartree": HARTREE, "kJ/mol": KJ_PER_MOL, "kcal/mol": 4.184 * KJ_PER_MOL, "rydberg": HARTREE / 2}
LENGTHS = {"angstrom": 1.0, "bohr": BOHR, "nm": 10.0, "pm": 0.01}
STRESSES = {"eV/angstrom^3": 1.0, "GPa": GPA, "kbar": 0.1 * GPA, "bar": 1e-4 * GPA, "atm": 1.01325e-4 * GPA, "hartree/bohr^3": HARTREE / BOHR**3}
DIPOLES = {"e*angstrom": 1.0, "e*bohr": BOHR, "debye": DEBYE}
_SPELLINGS = {"ev": "eV", "Å": "angstrom", "A": "angstrom", "ang": "angstrom", "Ang": "angstrom", "Angstrom": "angstrom", "angstroms": "angstrom", "Ha": "hartree",
              "Hartree": "hartree", "Eh": "hartree", "Bohr": "bohr", "a0": "bohr", "nanometers": "nm", "nanometer": "nm", "Ry": "rydberg",
              "Hartrees": "hartree", "hartrees": "hartree", "kcal/mole": "kcal/mol", "kcal mol-1": "kcal/mol", "Angs": "angstrom",
              "Debye": "debye", "D": "debye", "elementary_charge*bohr": "e*bohr", "e a0": "e*bohr", "e Å": "e*angstrom", "e*Å": "e*angstrom",
              "eV/A^3": "eV/angstrom^3", "eV/Å^3": "eV/angstrom^3", "eV/Å³": "eV/angstrom^3",
              "eV/Ang^3": "eV/angstrom^3", "eV/Ang/Ang/Ang": "eV/angstrom^3"}  # fmt: skip


@dataclass(frozen=True)
class Units:
    """The units that a file is written in. Forces are energy over length, in a unit of their own only where it is given."""

    energy: str = "eV"
    length: str = "angstrom"
    forces: str | None = None  # e.g. "hartree/bohr"
    stress: str | None = None  # eV/Å³ where energies and lengths are eV and Å; else it must be given where a stress is read
    dipole: str | None = None  # e times the length where not given

    def __post_init__(self):
        _factor(self.energy, ENERGIES, "energy")
        _factor(self.length, LENGTHS, "length")
        if self.stress is None and (self.to_eV, self.to_angstrom) == (1.0, 1.0):
            object.__setattr__(self, "stress", "eV/angstrom^3")
        if self.stress is not None:
            _factor(self.stress, STRESSES, "stress")
        if self.forces is not None:
            force_factor(self.forces)
        if self.dipole is not None:
            _factor(self.dipole, DIPOLES, "dipole")

    @property
    def to_eV(self) -> float:
        return _factor(self.energy, ENERGIES, "energy")

    @property
    def to_angstrom(self) -> float:
        return _factor(self.length, LENGTHS, "length")

    @property
    def to_eV_per_angstrom(self) -> float:
        return self.to_eV / self.to_angstrom if self.forces is None else force_factor(self.forces)

    @property
    def to_eV_per_angstrom3(self) -> float:
        """Factor of a stress; ValueError where nothing says its unit."""
        if self.stress is None:
            raise ValueError(f"nothing says the unit of the stress, while energies are in {self.energy} and lengths in {self.length}. Give units.stress beside "
                             f"units.energy and units.length; known: {', '.join(STRESSES)}.")  # fmt: skip
        return _factor(self.stress, STRESSES, "stress")

    @property
    def to_e_angstrom(self) -> float:
        return self.to_angstrom if self.dipole is None else _factor(self.dipole, DIPOLES, "dipole")

    def __str__(self) -> str:
        return f"energies in {self.energy}, lengths in {self.length}, forces in {self.forces or f'{self.energy}/{self.length}'}"

    def with_stress(self) -> str:
        """The same words with the unit of the stress."""
        return f"{self}, stress in {self.stress or 'a unit that nothing says'}"


def force_factor(unit: str) -> float:
    """Factor to eV/Å of a unit such as "hartree/bohr" or "kcal/mol/angstrom"."""
    energy, slash, length = unit.rpartition("/")
    if not slash:
        raise ValueError(f"Unknown unit of forces '{unit}'; write an energy over a length, such as 'hartree/bohr' or 'kcal/mol/angstrom'.")
    return _factor(energy, ENERGIES, "energy") / _factor(length, LENGTHS, "length")


def _factor(unit: str, known: dict[str, float], of: str) -> float:
    name = _SPELLINGS.get(unit, unit)
    if name not in known:
        near = difflib.get_close_matches(unit, list(known), n=1)
        raise ValueError(f"Unknown unit of {of} '{unit}'{f' (did you mean {near[0]!r}?)' if near else ''}; known: {', '.join(known)}.")
    return known[name]
