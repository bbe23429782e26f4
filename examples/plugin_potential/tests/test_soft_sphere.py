"""The laws that every potential obeys, and one number that can be worked out by hand."""
import pytest
from ase import Atoms
from potentials.calculator import PotentialCalculator
from potentials.conformance import check_potential
from soft_sphere import Config, SoftSphere


def test_soft_sphere_obeys_the_laws():
    check_potential(SoftSphere(Config(epsilon=0.7, cutoff=2.5)))


def test_a_pair_has_the_energy_of_the_formula():
    atoms = Atoms("Ar2", [(0, 0, 0), (1.5, 0, 0)], calculator=PotentialCalculator(SoftSphere(Config(epsilon=2.0, cutoff=3.0))))
    assert atoms.get_potential_energy() == pytest.approx(2.0 * 0.25)
    assert atoms.get_forces()[1] == pytest.approx([2 * 2.0 * 0.5 / 3.0, 0, 0])


def test_a_sphere_without_size_is_refused():
    with pytest.raises(ValueError, match="must be > 0"):
        Config(cutoff=0.0)
