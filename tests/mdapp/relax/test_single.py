"""Every optimiser finds the same minimum; the criterion is kept; what breaks is said."""
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.cluster import Icosahedron
from ase.constraints import FixAtoms
from ase.units import GPa

from mdapp.relax import OPTIMISERS, CellRelaxation, RelaxationFailed, largest_force, relax

LJ13 = -44.326801  # eps; global minimum, Hoare and Pal 1971; Cambridge Cluster Database


def lj13(seed: int = 1) -> Atoms:
    """An icosahedron of 13 Lennard-Jones atoms, rattled."""
    atoms = Icosahedron("Ar", 2, latticeconstant=1.1 * np.sqrt(2))
    atoms.rattle(0.08, seed=seed)
    atoms.calc = LennardJones(sigma=1.0, epsilon=1.0, rc=50.0)
    return atoms


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_finds_the_minimum_of_lj13(optimiser):
    found = relax(lj13(), optimiser, fmax=1e-3, steps=2000)
    assert found.converged and found.fmax <= 1e-3 and found.reason == "converged"
    assert found.energy == pytest.approx(LJ13, abs=2e-5)  # rc = 50 sigma leaves 1e-7 of the pair energy


def test_the_start_is_left_as_it_was_and_the_result_stands_alone():
    start = lj13()
    before = start.positions.copy()
    found = relax(start, fmax=0.01)
    assert np.array_equal(start.positions, before)
    energy = found.atoms.get_potential_energy()
    start.calc.reset()
    start.positions *= 3
    start.get_potential_energy()
    assert found.atoms.get_potential_energy() == energy == found.energy
    assert largest_force(found.atoms) == pytest.approx(found.fmax)


def test_steps_run_out_without_convergence_and_say_so():
    seen = []
    found = relax(lj13(), fmax=1e-8, steps=3, on_step=lambda step, energy, fmax: seen.append((step, energy, fmax)))
    assert not found.converged and found.n_steps == 3 and "3 steps" in found.reason
    assert [step for step, *_ in seen] == [0, 1, 2, 3]
    assert seen[-1][1:] == (found.energy, found.fmax)


def test_zero_steps_only_evaluate():
    start = lj13()
    found = relax(start, steps=0)
    assert found.n_steps == 0 and np.array_equal(found.atoms.positions, start.positions)


def test_a_relaxed_structure_takes_no_step():
    found = relax(lj13(), fmax=0.01)
    again = found.atoms.copy()
    again.calc = lj13().calc
    assert relax(again, fmax=0.01).n_steps == 0


def test_should_stop_ends_the_search_where_it_is():
    calls = iter([False, False, True])
    found = relax(lj13(), fmax=1e-8, should_stop=lambda: next(calls))
    assert found.n_steps == 2 and not found.converged and "stopped" in found.reason


def test_fixed_atoms_do_not_move_and_do_not_count():
    atoms = lj13()
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    found = relax(atoms, fmax=1e-3, steps=2000)
    assert found.converged
    assert np.array_equal(found.atoms.positions[:3], atoms.positions[:3])
    assert np.abs(found.atoms.get_forces(apply_constraint=False)[:3]).max() > 1e-3


def test_cell_reaches_the_pressure_asked_for():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell[:] * [1.01, 0.98, 0.99], scale_atoms=True)
    atoms.rattle(0.02, seed=3)
    atoms.calc = EMT()
    found = relax(atoms, fmax=0.01, cell=CellRelaxation(pressure=5 * GPa, stress_max=0.02 * GPa))
    assert found.converged and found.stress_max <= 0.02 * GPa
    stress = found.atoms.get_stress() / GPa
    assert stress[:3] == pytest.approx([-5, -5, -5], abs=0.021) and stress[3:] == pytest.approx([0, 0, 0], abs=0.021)
    assert found.atoms.get_volume() < bulk("Cu", cubic=True).get_volume()


def test_masked_strain_stays_as_it_was():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell[:] * 1.02, scale_atoms=True)
    atoms.calc = EMT()
    found = relax(atoms, fmax=1e-3, cell=CellRelaxation(mask=(True, False, False, False, False, False)))
    assert found.converged
    lengths = found.atoms.cell.lengths()
    assert lengths[1:] == pytest.approx(atoms.cell.lengths()[1:], abs=1e-10) and lengths[0] < atoms.cell.lengths()[0]


@pytest.mark.parametrize("what, message", [
    (dict(optimiser="newton"), "No optimiser 'newton'; known: lbfgs"),
    (dict(fmax=0.0), "fmax must be > 0"),
    (dict(fmax=float("nan")), "fmax must be > 0"),
    (dict(steps=-1), "steps must be 0 or more"),
    (dict(cell=CellRelaxation()), "not periodic"),
])
def test_wrong_questions_are_refused(what, message):
    with pytest.raises(ValueError, match=message):
        relax(lj13(), **what)


def test_strain_across_vacuum_is_refused():
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    slab.calc = EMT()
    with pytest.raises(ValueError, match="along zz"):
        relax(slab, cell=CellRelaxation(mask=(True,) * 3 + (False,) * 3))


def test_no_calculator_is_refused():
    with pytest.raises(ValueError, match="no calculator"):
        relax(molecule("H2O"))


class FailsAfter(Calculator):
    """A spring to the origin that gives NaN from the n-th evaluation on."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, n: int):
        super().__init__()
        self.left = n

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        bad = np.nan if self.left < 0 else 1.0
        self.results = {"energy": bad * 0.5 * float(np.sum(atoms.positions ** 2)), "forces": -bad * atoms.positions}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_what_is_not_finite_stops_with_the_last_finite_structure(optimiser):
    atoms = Atoms("Ar2", [[3.0, 0, 0], [0, -2.0, 0]])
    atoms.calc = FailsAfter(2)
    with pytest.raises(RelaxationFailed, match="not finite") as caught:
        relax(atoms, optimiser, fmax=1e-6)
    assert caught.value.exit_code == 4
    assert np.all(np.isfinite(caught.value.last.positions)) and np.isfinite(caught.value.last.get_potential_energy())


def test_a_start_that_is_not_finite_is_said():
    atoms = Atoms("Ar", [[1.0, 0, 0]])
    atoms.calc = FailsAfter(0)
    with pytest.raises(RelaxationFailed, match="step 0"):
        relax(atoms)
