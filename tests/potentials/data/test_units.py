"""Units at the door."""
import ase.units
import pytest

from potentials.data.units import BOHR, HARTREE, Units


def test_codata_2018_constants():
    assert HARTREE == 27.211386245988  # eV
    assert BOHR == 0.529177210903  # Å


def test_forces_follow_from_energy_and_length():
    assert Units("hartree", "bohr").to_eV_per_angstrom == pytest.approx(51.42206747, abs=1e-8)  # the atomic unit of force in eV/Å, CODATA 2018
    assert Units("kcal/mol").to_eV_per_angstrom == pytest.approx(ase.units.kcal / ase.units.mol, rel=1e-7)  # ASE has CODATA 2014


def test_forces_may_have_a_unit_of_their_own():
    units = Units("eV", "angstrom", forces="hartree/bohr")
    assert units.to_eV == 1.0
    assert units.to_eV_per_angstrom == pytest.approx(HARTREE / BOHR)
    assert Units(forces="kcal/mol/angstrom").to_eV_per_angstrom == pytest.approx(0.0433641, rel=1e-5)


def test_stress_agrees_with_ase():
    assert Units(stress="GPa").to_eV_per_angstrom3 == pytest.approx(ase.units.GPa, rel=1e-7)  # ASE has CODATA 2014


@pytest.mark.parametrize("wrong", [{"energy": "hartre"}, {"length": "bohrs"}, {"forces": "hartree"}, {"stress": "psi"}])
def test_unknown_unit_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong.values()))}'"):
        Units(**wrong)


def test_nearest_unit_is_named():
    with pytest.raises(ValueError, match="did you mean 'hartree'"):
        Units(energy="hartre")
