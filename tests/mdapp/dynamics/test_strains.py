"""Masks over cell vectors: what is frozen keeps length and direction, what is free moves, and the ensemble stays what it was."""
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.dynamics._strains import strains_of
from mdapp.simulation import ASEStepper
from toys import Argon, argon

BAROSTATS = ["npt-langevin", "npt-mtk"]
MASKS = [("1,1,0", False), ("0,0,1", False), ("1,1,1", False), ("1,1,0", True), ("0,1,0", True), ("1,1,1", True)]


def boxed(name, atoms, temperature_K=40.0, **options):
    rng = np.random.default_rng(1)
    atoms.set_momenta(draw_momenta(atoms, temperature_K, rng))
    return ASEStepper(atoms, ensembles.get(name)(temperature_K=temperature_K, barostat_time_fs=300.0, **options), 5.0, rng)


@pytest.mark.parametrize("mask, flexible", MASKS)
@pytest.mark.parametrize("name", BAROSTATS)
@pytest.mark.parametrize("turned", [False, True])
def test_masked_cell_vectors_keep_length_and_direction(name, mask, flexible, turned):
    atoms = argon(5.35)
    if turned:  # the mask goes by cell vectors and not by axes of space
        atoms.rotate(50, (1, 2, 3), rotate_cell=True)
    before = atoms.cell.array.copy()
    stepper = boxed(name, atoms, pressure_bar=2500.0, cell_mask=mask, flexible=flexible)
    for _ in range(60):
        stepper.step()
    moves = np.array(mask.split(","), int) == 1
    change = np.abs(atoms.cell.array - before).max(axis=1)
    assert np.array_equal(change > 1e-3, moves) and change[~moves].max(initial=0) < 1e-12
    skew = np.abs(atoms.cell.angles() - 90).max()
    assert (skew > 1e-3) == (flexible and moves.sum() > 1)  # degrees: shear among free vectors, right angles elsewhere


@pytest.mark.parametrize("name", BAROSTATS)
@pytest.mark.parametrize("mask, flexible", MASKS[:4])
def test_masked_cell_keeps_its_conserved_energy(name, mask, flexible):
    stepper, conserved = boxed(name, argon(5.35), pressure_bar=2500.0, cell_mask=mask, flexible=flexible), []
    for _ in range(150):
        stepper.step()
        conserved.append(stepper.frame().conserved_energy)
    assert np.ptp(conserved) / 32 < 0.2e-3  # eV/atom


@pytest.mark.parametrize("mask, flexible, count", [("1,1,0", False, 2), ("1,1,0", True, 3), ("0,0,1", True, 1), ("1,1,1", False, 3), ("1,1,1", True, 6)])
def test_strains_are_counted(mask, flexible, count):
    assert strains_of(argon(), mask, flexible, "npt-mtk").count == count


@pytest.mark.slow
@pytest.mark.parametrize("name", BAROSTATS)
@pytest.mark.parametrize("mask, flexible, count", [("1,1,0", False, 2), ("1,1,0", True, 3), ("0,0,1", False, 1)])
def test_each_free_strain_carries_half_kT(name, mask, flexible, count):
    stepper, twice_kinetic = boxed(name, argon(5.3), pressure_bar=1500.0, cell_mask=mask, flexible=flexible), []
    for n in range(16_000):
        stepper.step()
        if n > 2000 and n % 5 == 0:
            twice_kinetic.append(2 * stepper.dynamics.cell_kinetic_energy() / (units.kB * 40.0))
    means = np.array(twice_kinetic).reshape(-1)[: len(twice_kinetic) // 10 * 10].reshape(10, -1).mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(10)
    assert error < 0.35 and abs(np.mean(twice_kinetic) - count) < 4 * error


def skewed():
    atoms = bulk("Ar", "fcc", a=5.4) * (3, 3, 3)
    atoms.calc = Argon()
    return atoms


@pytest.mark.parametrize("name", BAROSTATS)
@pytest.mark.parametrize("mask, flexible", [("1,1,0", False), ("1,1,0", True), ("1,1,1", False)])
def test_a_skewed_cell_is_refused(name, mask, flexible):
    with pytest.raises(ValueError, match=f"{name} with cell_mask {mask} needs right angles between the cell vectors, but they are 60.00, 60.00, 60.00"):
        boxed(name, skewed(), cell_mask=mask, flexible=flexible)


def test_a_skewed_cell_may_move_as_a_whole():
    assert strains_of(skewed(), "1,1,1", True, "npt-mtk").count == 6


@pytest.mark.parametrize("name", BAROSTATS)
@pytest.mark.parametrize("mask, said", [("0,0,0", "holds the whole cell"), ("1,1", "three numbers 0 or 1"), ("1,2,0", "three numbers 0 or 1")])
def test_senseless_masks_are_refused(name, mask, said):
    with pytest.raises(ValueError, match=said):
        ensembles.get(name)(temperature_K=40.0, cell_mask=mask)
