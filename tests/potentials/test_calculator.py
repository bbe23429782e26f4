"""The ASE face: what users of ASE expect of a calculator, and what ours refuses."""
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import voigt_6_to_full_3x3_stress

import potentials
from potentials.architectures.lennard_jones import Config, LennardJones
from potentials.calculator import PotentialCalculator, load_calculator, load_potential
from potentials.checkpoint import PotentialFileError, save_potential
from potentials.derivatives import energy_forces_stress
from potentials.neighbours import graph_of
from potentials.words import shipped
from samples import argon, small, water


def with_calculator(atoms, potential, **options):
    atoms.calc = PotentialCalculator(potential, **options)
    return atoms


def count(atoms):
    return atoms.calc.evaluator.calls


# the numbers


def test_it_says_what_the_potential_says():
    potential, atoms = small(), argon(1, n=1)
    expected = energy_forces_stress(potential, graph_of(atoms, potential.cutoff), stress=True)
    with_calculator(atoms, potential)
    assert atoms.get_potential_energy() == float(expected.energy)
    np.testing.assert_array_equal(atoms.get_forces(), expected.forces.numpy())
    np.testing.assert_allclose(voigt_6_to_full_3x3_stress(atoms.get_stress()), expected.stress[0].numpy(), atol=1e-15)


def test_energies_of_atoms_sum_to_the_energy():
    atoms = with_calculator(water(1), small())
    assert atoms.get_potential_energies().shape == (6,)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-13)
    assert atoms.calc.results["free_energy"] == atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_parts_of_the_energy_sum_to_the_energy():
    atoms = with_calculator(water(1), small("so3krates", electrostatic_energy_bool=True, dispersion_energy_bool=True))
    energy, results = atoms.get_potential_energy(), atoms.calc.results
    assert set(results["energy_terms"]) == {"network", "repulsion", "electrostatics", "dispersion", "elements"}
    assert sum(results["energy_terms"].values()) == pytest.approx(energy, rel=1e-12)
    assert results["charges"].sum() == pytest.approx(0, abs=1e-12) and results["hirshfeld_ratios"].shape == (6,)


def test_stress_is_in_the_order_of_voigt():
    """xx yy zz yz xz xy, each against the slope of the energy with that strain."""
    atoms = with_calculator(argon(2, n=1), LennardJones())
    stress, volume = atoms.get_stress(), atoms.get_volume()
    h = 1e-4
    for k, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * h / 2
            strain[b, a] += sign * h / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(with_calculator(strained, LennardJones()).get_potential_energy())
        assert stress[k] == pytest.approx((energies[0] - energies[1]) / (2 * h) / volume, abs=1e-8)  # second order in h


def test_the_same_bits_every_time():
    potential = small().float()
    results = []
    for order in (("forces", "stress"), ("stress", "forces"), ("energy", "forces")):
        atoms = with_calculator(argon(3, n=1), potential)
        for what in order:
            atoms.calc.get_property(what, atoms)
        results.append((atoms.get_potential_energy(), atoms.get_forces().tobytes()))
    assert len(set(results)) == 1


def test_forces_far_from_the_origin_lose_nothing_in_single_precision():
    near, far = water(2), water(2)
    far.positions += 4096.0
    one, other = (with_calculator(a, small().float()).get_forces() for a in (near, far))
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(one).max())  # float32 has 6e-8; positions at 4096 Å in it, 2e-4 Å


def test_results_are_plain_numbers_in_double_precision():
    atoms = with_calculator(argon(1, n=1), small().float())
    atoms.get_stress()
    results = atoms.calc.results
    assert type(results["energy"]) is float
    assert results["forces"].dtype == results["energies"].dtype == results["stress"].dtype == np.float64
    assert results["stress"].shape == (6,)


def test_changing_a_result_does_not_change_the_next():
    atoms = with_calculator(argon(1, n=1), small())
    forces = atoms.get_forces()
    forces += 1e3
    assert np.abs(atoms.get_forces()).max() < 1e3


# when it computes


def test_nothing_is_computed_twice():
    atoms = with_calculator(argon(1, n=1), LennardJones())
    atoms.get_stress()
    for _ in range(3):
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energies()
    assert count(atoms) == 1
    atoms.set_velocities(np.ones((len(atoms), 3)))
    atoms.info["note"] = "nothing that matters"
    atoms.get_forces()
    assert count(atoms) == 1


def test_stress_comes_with_the_forces_once_it_was_asked_for():
    """A barostat asks for forces, then for stress, at every step: that is one evaluation."""
    atoms = with_calculator(argon(1, n=1), LennardJones())
    atoms.get_forces(), atoms.get_stress()
    before = count(atoms)
    for _ in range(3):
        atoms.positions += 0.01
        atoms.get_forces(), atoms.get_stress()
    assert count(atoms) - before == 3


CHANGES = {
    "positions": lambda a: a.positions.__setitem__((1, 2), a.positions[1, 2] + 1e-9),
    "cell": lambda a: a.cell.__setitem__((2, 2), a.cell[2, 2] + 1e-6),
    "numbers": lambda a: a.numbers.__setitem__(0, 8),
    "pbc": lambda a: a.pbc.__setitem__(2, False),
    "charge": lambda a: a.info.update(charge=1),
    "multiplicity": lambda a: a.info.update(multiplicity=3),
    "an atom less": lambda a: a.__delitem__(-1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_in_place_is_noticed(change):
    potential = small("so3krates", use_charge_embed=True, use_spin_embed=True)
    atoms = with_calculator(argon(1, n=1), potential)
    before = atoms.get_potential_energy()
    change(atoms)
    after = atoms.get_potential_energy()
    assert count(atoms) == 2 and after != before
    assert after == with_calculator(atoms.copy(), potential).get_potential_energy()


def test_one_calculator_serves_many_structures():
    potential = small()
    calculator, structures = PotentialCalculator(potential), [water(1), argon(1, n=1), water(2)]
    expected = [with_calculator(a.copy(), potential).get_potential_energy() for a in structures]
    for atoms in structures:
        atoms.calc = calculator
    for _ in range(2):
        assert [atoms.get_potential_energy() for atoms in structures] == expected


# what it refuses


def test_an_unknown_element_is_named():
    atoms = with_calculator(Atoms("OHAu", [[0, 0, 0], [1, 0, 0], [0, 2, 0]]), small("so3krates", elements=(1, 8)), name="mine.pt")
    with pytest.raises(ValueError, match=r"The potential mine\.pt does not know Au; it knows H, O\."):
        atoms.get_potential_energy()
    assert count(atoms) == 0


def test_a_charge_that_means_nothing_is_refused():
    atoms = water()
    atoms.info["charge"] = -1
    with_calculator(atoms, LennardJones())
    with pytest.raises(ValueError, match=r"total charge of -1 e, which means nothing to the potential lennard-jones"):
        atoms.get_forces()
    with_calculator(atoms, small("so3krates", use_charge_embed=True))
    assert np.isfinite(atoms.get_forces()).all()


@pytest.mark.parametrize("pbc", [False, (True, True, False)], ids=str)
def test_stress_needs_three_periodic_directions(pbc):
    atoms = argon(1, n=1)
    atoms.pbc = pbc
    with_calculator(atoms, LennardJones())
    with pytest.raises(PropertyNotImplementedError, match="periodic along all three"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())  # the rest goes on


@pytest.mark.parametrize(
    "spoil",
    [lambda a: a.numbers.__setitem__(0, 79), lambda a: a.info.update(charge=1), lambda a: a.positions.__setitem__((0, 0), np.nan)],
    ids=["element", "charge", "nan"],
)
def test_after_a_refusal_nothing_stale_is_returned(spoil):
    potential = small("so3krates", elements=(1, 8))
    atoms = with_calculator(water(3), potential)
    good, energy = atoms.copy(), atoms.get_potential_energy()
    spoil(atoms)
    for _ in range(2):
        with pytest.raises(ValueError):
            atoms.get_potential_energy()
    with pytest.raises(ValueError):
        atoms.get_forces()
    assert "energy" not in atoms.calc.results
    good.calc = atoms.calc
    assert good.get_potential_energy() == energy


def test_no_atoms_are_refused():
    with pytest.raises(ValueError, match="needs atoms"):
        PotentialCalculator(LennardJones()).calculate()


# from words to calculators


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_comes_first(here):
    save_potential("lj", LennardJones(Config(epsilon=0.5)))
    assert load_calculator("lj").potential.config.epsilon == 0.5
    assert load_calculator("lj").source.name == "lj"
    (here / "lj").unlink()
    assert load_calculator("lj").potential.config == Config()


def test_a_folder_does_not_stand_in_the_way_of_a_name(here):
    (here / "lj").mkdir()
    assert isinstance(load_calculator("lj"), PotentialCalculator)
    (here / "other").mkdir()
    for load in (load_calculator, load_potential):
        with pytest.raises(PotentialFileError, match="other is a folder"):
            load("other")


def test_named_potentials_need_no_file(here):
    atoms = argon(1, n=1)
    atoms.calc = load_calculator("lj")
    assert atoms.get_potential_energy() < 0
    metal = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], calculator=load_calculator("emt"))
    assert np.isfinite(metal.get_potential_energy()) and 29 in metal.calc.elements
    for name in ("lj", "emt"):
        assert load_calculator(name).card.level_of_theory != "not stated"


def test_any_ase_calculator(here):
    calculator = load_calculator("ase:ase.calculators.lj:LennardJones")
    assert type(calculator).__module__ == "ase.calculators.lj"


def test_shipped_potentials_are_found_by_name_and_file_name(here):
    if not shipped():
        pytest.skip("no potential is shipped in this checkout")
    file = shipped()[0]
    for word in (file.name, file.stem, str(file)):
        assert load_calculator(word).source == file
    save_potential(file.name, LennardJones())  # a file of that name here comes first
    assert load_calculator(file.name).source.resolve() == (here / file.name).resolve()


def test_a_pattern_of_one_file_is_that_file(here):
    save_potential("mine-1.pt", LennardJones())
    assert load_calculator("mine-*.pt").source.name == "mine-1.pt"
    save_potential("mine-2.pt", LennardJones())
    assert len(load_calculator("mine-*.pt").potential.members) == 2


def test_the_public_face(here):
    save_potential("p.pt", small())
    assert isinstance(potentials.load_calculator("p.pt", dtype="float64"), PotentialCalculator)
    assert isinstance(potentials.load_potential("p.pt", dtype="float32"), torch.nn.Module)
    with pytest.raises(AttributeError, match="no attribute 'load_pickle'"):
        potentials.load_pickle


@pytest.mark.parametrize(
    "word, words",
    [
        ("nothing.pt", ["No potential 'nothing.pt'", "no such file", "lj", "ase:package.module:Class"]),
        ("ljj", ["No potential 'ljj'", "Did you mean 'lj'?"]),
        ("", ["No potential ''"]),
        ("ase:ase.calculators.lj", ["expected ase:package.module:Class"]),
        ("ase::X", ["expected ase:package.module:Class"]),
        ("ase:no_such_package.module:X", ["cannot import no_such_package.module", "Is its package installed?"]),
        ("ase:ase.calculators.lj:LennardJonesium", ["ase.calculators.lj has no class LennardJonesium"]),
        ("ase:os:getcwd", ["getcwd is not an ASE calculator class", "not called"]),
        ("ase:ase.calculators.mixing:SumCalculator", ["SumCalculator() failed", "without arguments"]),
    ],
)
def test_words_that_name_nothing(here, word, words):
    with pytest.raises(ValueError) as caught:
        load_calculator(word)
    for part in words:
        assert part in str(caught.value)


def test_options_that_make_no_sense(here):
    save_potential("p.pt", LennardJones())
    with pytest.raises(ValueError, match="dtype is 'half'; allowed: float32, float64"):
        load_calculator("p.pt", dtype="half")
    for device in ("gpu", "mps", "cuda:99", "meta"):
        with pytest.raises(ValueError, match=f"device is '{device}'"):
            load_calculator("p.pt", device=device)
        with pytest.raises(ValueError, match=f"device is '{device}'"):
            load_calculator("lj", device=device)
    with pytest.raises(ValueError, match="long_range_cutoff means nothing to p.pt"):
        load_calculator("p.pt", long_range_cutoff=9.0)
    with pytest.raises(ValueError, match="No potential given"):
        load_calculator([])


def test_the_long_range_cutoff_is_the_users(here):
    save_potential("p.pt", small("so3krates", electrostatic_energy_bool=True))
    atoms = argon(1, n=1)
    energies = {}
    for cutoff in ("auto", 12.0, 8.0):
        atoms.calc = load_calculator("p.pt", long_range_cutoff=cutoff)
        energies[cutoff] = atoms.get_potential_energy()
    assert energies["auto"] == energies[12.0] != energies[8.0]
    with pytest.raises(ValueError, match="must be > 0 Å, got -1"):
        load_calculator("p.pt", long_range_cutoff=-1)
