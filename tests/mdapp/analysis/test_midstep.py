"""The temperature in the middle of a step of Langevin dynamics is that of its bath, whatever the step; at the ends it is short by a known amount."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from mdapp.analysis.midstep import in_the_middle, middle_words, midstep_excess_K
from mdapp.analysis.statistics import Mean
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta, ensembles
from mdapp.dynamics._constraints import FixedBonds
from mdapp.simulation import ASEStepper
from mdapp.topology import find_bonds
from toys import Bonded, Well

TARGET = 300.0


def frames_of(atoms, timestep_fs, friction_per_ps, n=4000, every=4, seed=2):
    ensemble, rng = ensembles.get("nvt-langevin")(TARGET, friction_per_ps), np.random.default_rng(seed)
    atoms.set_momenta(draw_momenta(atoms, TARGET, rng, degrees_of_freedom_of(ensemble, atoms)))
    stepper, found = ASEStepper(atoms, ensemble, timestep_fs, rng), []
    for k in range(n + n // 10):
        stepper.step()
        if k >= n // 10 and k % every == 0:
            found.append(stepper.frame())
    return found


def mean_K(frames):
    return float(np.mean([f.temperature_K for f in frames]))


@pytest.mark.parametrize("share", [0.05, 0.25])
def test_a_harmonic_mode_lacks_a_quarter_of_its_angle_squared(share):
    """<p²> at whole steps of BAOAB is m k T (1 - (ωΔt)²/4), exactly, and thermal in their middle."""
    atoms = Atoms("C100", np.zeros((100, 3)))
    atoms.calc = Well(k=2.0)
    omega_per_fs = np.sqrt(2.0 / 12.011) / 10.1805  # eV/Å² and amu, in 1/fs
    frames = frames_of(atoms, 2 * np.sqrt(share) / omega_per_fs, friction_per_ps=20.0, n=2000)
    excess = midstep_excess_K(frames, 2 * np.sqrt(share) / omega_per_fs)
    assert mean_K(frames) == pytest.approx(TARGET * (1 - share), rel=0.01)
    assert excess == pytest.approx(TARGET * share, rel=0.02)
    assert mean_K(frames) + excess == pytest.approx(TARGET, rel=0.01)


def test_bonds_and_atoms_that_are_held_add_nothing():
    one = molecule("CH3CH2OH")
    atoms = Atoms(np.tile(one.numbers, 6), np.concatenate([one.positions + [40.0 * k, 0, 0] for k in range(6)]))
    bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    atoms.calc = Bonded(atoms, bonds)
    atoms.set_constraint([FixAtoms([2])])
    atoms.set_constraint([FixAtoms([2]), FixedBonds(atoms, bonds[(atoms.numbers[bonds] == 1).any(axis=1)])])
    frames = frames_of(atoms, 3.0, friction_per_ps=20.0, n=1200)
    short = TARGET - mean_K(frames)
    assert 6.0 < short < 40.0  # which a thermometer would see
    assert midstep_excess_K(frames, 3.0, atoms.constraints) == pytest.approx(short, abs=4.0)
    assert midstep_excess_K(frames, 3.0) > 1.2 * midstep_excess_K(frames, 3.0, atoms.constraints)  # of forces along held bonds too, which move nothing


def test_without_forces_or_motion_nothing_is_said():
    atoms = Atoms("C2", np.zeros((2, 3)))
    atoms.calc = Well()
    resting = ASEStepper(atoms, ensembles.get("nvt-langevin")(TARGET), 1.0, np.random.default_rng(1)).frame()
    assert midstep_excess_K([resting], 1.0) is None and midstep_excess_K([], 1.0) is None
    mean = Mean(286.0, 0.7, 20.0, 1000, 800.0, 0.7)
    assert in_the_middle(mean, None) is mean and in_the_middle(None, 13.0) is None
    assert in_the_middle(mean, 13.3).value == pytest.approx(299.3) and middle_words(mean, 13.3) == ", 299.3 K in the middle of the steps"
    assert middle_words(mean, 0.2) == "" and middle_words(mean, None) == ""
