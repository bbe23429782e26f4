"""Several files named together: mean energy and forces, and how far the members lie apart."""
import numpy as np
import pytest
import torch

from potentials import load_calculator
from potentials.checkpoint import Card, save_potential
from samples import small, water


def periodic(seed):
    atoms = water(seed)
    atoms.set_cell(np.diag([9.0, 10.0, 11.0]))
    atoms.pbc = True
    return atoms


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("committee")
    for seed in range(3):
        torch.manual_seed(seed)
        potential = small("so3krates", num_layers=1)
        with torch.no_grad():
            for p in potential.parameters():
                p += 0.01 * torch.randn_like(p)
        save_potential(folder / f"m{seed}.pt", potential, Card(level_of_theory="toy"))
    return folder


def test_a_glob_makes_a_committee(files):
    atoms = periodic(1)
    each = []
    for seed in range(3):
        atoms.calc = load_calculator(files / f"m{seed}.pt", dtype="float64")
        each.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    atoms.calc = load_calculator(str(files / "m*.pt"), dtype="float64")
    energies, forces, stresses = (np.array(x) for x in zip(*each))
    assert atoms.get_potential_energy() == pytest.approx(energies.mean(), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(0), atol=1e-9)
    np.testing.assert_allclose(atoms.get_stress(), stresses.mean(0), atol=1e-10)
    assert atoms.calc.results["energy_spread"] == pytest.approx(energies.std(ddof=1), rel=1e-6)
    np.testing.assert_allclose(atoms.calc.results["forces_spread"], np.sqrt(forces.var(0, ddof=1).sum(1)), rtol=1e-6)


def test_members_of_different_levels_of_theory_are_refused(files, tmp_path):
    save_potential(tmp_path / "other.pt", small("so3krates", num_layers=1), Card(level_of_theory="another"))
    with pytest.raises(ValueError, match="levels of theory.*m0.pt: toy; other.pt: another"):
        load_calculator([files / "m0.pt", tmp_path / "other.pt"])


def test_what_is_no_file_is_refused_by_name(files):
    with pytest.raises(ValueError, match="emt is none"):
        load_calculator([files / "m0.pt", "emt"])
