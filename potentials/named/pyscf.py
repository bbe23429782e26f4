"""`pyscf:METHOD/BASIS`: Hartree-Fock or density functional theory of molecules by the package pyscf, for instance `pyscf:wb97x/def2-svp` or `pyscf:hf/sto-3g`.

Restricted for singlets, unrestricted otherwise; total charge and multiplicity are read from ``atoms.info``.

Q. Sun et al., J. Chem. Phys. 153, 024109 (2020).
"""
from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Debye, Hartree

from potentials.checkpoint import Card
from potentials.named import named
from potentials.named._wanted import wanted

TOLERANCE = 1e-9  # Hartree, of the energy between two cycles


@named.register("pyscf")
def pyscf(device: str = "cpu", dtype: str | None = None, variant: str = "") -> Calculator:
    """The calculator; it runs on the CPU in double precision whatever is asked.

    Raises
    ------
    ValueError : no method or basis named, or pyscf is not installed.
    """
    method, _, basis = variant.partition("/")
    if not (method and basis):
        raise ValueError(f"pyscf wants METHOD/BASIS, for instance pyscf:wb97x/def2-svp or pyscf:hf/sto-3g; got 'pyscf:{variant}'.")
    wanted("pyscf", f"pyscf:{variant}")
    return ElectronicStructure(method, basis)


class ElectronicStructure(Calculator):
    """Energy (eV), forces (eV/Å) and dipole (e Å) of a molecule by a self-consistent field of pyscf."""

    implemented_properties = ["energy", "free_energy", "forces", "dipole"]
    knows_charge = knows_spin = True
    elements = None

    def __init__(self, method: str, basis: str):
        super().__init__()
        self.method, self.basis = method, basis
        self.card = Card(level_of_theory=f"{method}/{basis}", energy_zero="absolute: total energies", description="Electronic structure, by pyscf.")
        self._state: tuple[int, int] | None = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        changes = super().check_state(atoms, tol)
        return changes if self._state in (None, _state(atoms)) else [*changes, "initial_charges"]

    def calculate(self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if self.atoms.pbc.any():
            raise CalculationFailed("pyscf is used here for molecules, and the structure is periodic")
        self._state = charge, multiplicity = _state(self.atoms)
        from pyscf import dft, gto, scf

        molecule = gto.M(atom=[(z, tuple(x)) for z, x in zip(self.atoms.get_chemical_symbols(), self.atoms.positions)], unit="Ang", basis=self.basis,
                         charge=charge, spin=multiplicity - 1, verbose=0)
        if self.method.lower() == "hf":
            field = scf.RHF(molecule) if multiplicity == 1 else scf.UHF(molecule)
        else:
            field = dft.RKS(molecule, xc=self.method) if multiplicity == 1 else dft.UKS(molecule, xc=self.method)
        energy = field.run(conv_tol=TOLERANCE).e_tot
        if not field.converged:
            raise CalculationFailed("the self-consistent field has not converged")
        self.results = {"energy": float(energy) * Hartree, "free_energy": float(energy) * Hartree, "dipole": field.dip_moment(verbose=0) * Debye}
        if "forces" in properties:
            self.results["forces"] = -field.nuc_grad_method().run().de * Hartree / Bohr


def _state(atoms: Atoms) -> tuple[int, int]:
    return int(atoms.info.get("charge", 0)), int(atoms.info.get("multiplicity", 1))
