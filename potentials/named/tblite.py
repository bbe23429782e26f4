"""`tblite:GFN2-xTB`, `tblite:GFN1-xTB`, `tblite:IPEA1-xTB`: extended tight binding by the package tblite, GFN2-xTB when no method is named.

Total charge and multiplicity are read from ``atoms.info``, as everywhere here.

C. Bannwarth, S. Ehlert and S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
"""
from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from potentials.checkpoint import Card
from potentials.named import named
from potentials.named._wanted import wanted

METHODS = ("GFN2-xTB", "GFN1-xTB", "IPEA1-xTB")
ELEMENTS = tuple(range(1, 87))


@named.register("tblite")
def tblite(device: str = "cpu", dtype: str | None = None, variant: str = "GFN2-xTB") -> Calculator:
    """The calculator; it runs on the CPU in double precision whatever is asked.

    Raises
    ------
    ValueError : an unknown method, or tblite is not installed.
    """
    method = {m.lower(): m for m in METHODS}.get(variant.lower())
    if method is None:
        raise ValueError(f"tblite has no method '{variant}'; known: {', '.join(METHODS)}.")
    calculator = _calculator(wanted("tblite.ase", f"tblite:{method}", "tblite").TBLite)(method=method, verbosity=0)
    calculator.elements = ELEMENTS
    calculator.knows_charge = calculator.knows_spin = True
    calculator.card = Card(level_of_theory=method, energy_zero="absolute: total energies of the valence electrons",
                           description="Semi-empirical quantum mechanics, by tblite.")
    return calculator


def _calculator(base: type) -> Any:
    class TightBinding(base):  # type: ignore[misc, valid-type]
        """TBLite, with charge and multiplicity from ``atoms.info``."""

        def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
            changes = super().check_state(atoms, tol)
            return changes if self._of(atoms) == (self.parameters.charge, self.parameters.multiplicity) else [*changes, "initial_charges"]

        def calculate(self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes) -> None:
            state = self._of(atoms if atoms is not None else self.atoms)
            if state != (self.parameters.charge, self.parameters.multiplicity):
                self.parameters.charge, self.parameters.multiplicity = state
                self.forget()
            super().calculate(atoms, properties, system_changes)

        def forget(self) -> None:
            """Begin the next calculation from atoms, not from the last wave function: it then hangs on nothing that came before."""
            self._xtb = self._res = None

        @staticmethod
        def _of(atoms: Atoms) -> tuple[float, int]:
            return float(atoms.info.get("charge", 0.0)), int(atoms.info.get("multiplicity", 1))

    return TightBinding
