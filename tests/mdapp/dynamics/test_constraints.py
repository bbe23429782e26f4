"""Bonds of fixed length and fixed atoms: what is held stays held, what is projected stays thermal, what is counted is what moves."""
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLengths
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta, ensembles
from mdapp.dynamics._constraints import FixedBonds, NotSolved
from mdapp.dynamics._masses import repartitioned
from mdapp.dynamics._rigid import turning, without_turning
from mdapp.simulation import ASEStepper, Exploded
from mdapp.topology import find_bonds
from toys import Bonded, argon

THERMOSTATS = [("nvt-langevin", {"friction_per_ps": 40.0}), ("nvt-csvr", {"thermostat_time_fs": 10.0}),
               ("nvt-nose-hoover", {"thermostat_time_fs": 20.0}), ("nvt-andersen", {"friction_per_ps": 40.0})]


def bonds_of(atoms):
    return find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def ethanol(*, frozen=(), tied=True):
    """9 atoms; six bonds of hydrogens."""
    atoms = molecule("CH3CH2OH")
    bonds = bonds_of(atoms)
    atoms.calc = Bonded(atoms, bonds)
    held = [FixAtoms(list(frozen))] if frozen else []
    atoms.set_constraint(held)
    if tied:
        atoms.set_constraint([*held, FixedBonds(atoms, bonds[(atoms.numbers[bonds] == 1).any(axis=1)])])
    return atoms


def bond_vectors(atoms):
    pairs = atoms.constraints[-1].pairs
    return atoms.positions[pairs[:, 1]] - atoms.positions[pairs[:, 0]], pairs


def started(name, atoms, timestep_fs=0.5, temperature_K=300.0, seed=1, **options):
    cls = ensembles.get(name)
    ensemble = cls(**({"temperature_K": temperature_K} if "temperature_K" in cls.__dataclass_fields__ else {}), **options)
    rng = np.random.default_rng(seed)
    atoms.set_momenta(draw_momenta(atoms, temperature_K, rng, degrees_of_freedom_of(ensemble, atoms)))
    return ASEStepper(atoms, ensemble, timestep_fs, rng)


def test_positions_and_momenta_are_those_of_ase(rng=np.random.default_rng(3)):
    """ASE goes bond by bond until all fit; the star is solved at once. Same lengths, same direction of the push, same answer."""
    ours, theirs = ethanol(), ethanol(tied=False)
    theirs.set_constraint(FixBondLengths(ours.constraints[0].pairs))
    moved = ours.positions + rng.normal(0, 0.03, ours.positions.shape)
    momenta = rng.normal(0, 1, moved.shape)
    for atoms in (ours, theirs):
        atoms.set_momenta(momenta)
    np.testing.assert_allclose(ours.get_momenta(), theirs.get_momenta(), atol=1e-10)
    for atoms in (ours, theirs):
        atoms.set_positions(moved)
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-10)


def test_projection_is_orthogonal_in_the_masses(rng=np.random.default_rng(4)):
    """Idempotent, and it takes the least kinetic energy away: then projected thermal momenta are thermal."""
    atoms = ethanol()
    w = 1 / atoms.get_masses()[:, None]
    p = rng.normal(0, 1, atoms.positions.shape)
    once = p.copy()
    atoms.constraints[0].adjust_momenta(atoms, once)
    twice = once.copy()
    atoms.constraints[0].adjust_momenta(atoms, twice)
    np.testing.assert_allclose(twice, once, atol=1e-13)
    assert np.sum(once * w * (p - once)) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose((p - once).sum(axis=0), 0, atol=1e-12)  # bonds push nothing as a whole


@pytest.mark.parametrize("frozen", [(), (0,), (0, 3)])
@pytest.mark.parametrize("name, options", [("nve", {}), *THERMOSTATS])
def test_lengths_hold_and_fixed_atoms_rest(name, options, frozen):
    atoms = ethanol(frozen=frozen)
    start, lengths = atoms.positions.copy(), np.linalg.norm(bond_vectors(atoms)[0], axis=1)
    stepper = started(name, atoms, 1.0, **options)
    for _ in range(60):
        stepper.step()
    d, pairs = bond_vectors(atoms)
    v = atoms.get_momenta() / atoms.get_masses()[:, None]
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), lengths, rtol=1e-12)
    np.testing.assert_allclose(np.einsum("bx,bx->b", v[pairs[:, 1]] - v[pairs[:, 0]], d), 0, atol=1e-13)
    np.testing.assert_array_equal(atoms.positions[list(frozen)], start[list(frozen)])
    frame = stepper.frame(full=True)
    assert frame.pressure is None and not atoms.get_momenta()[list(frozen)].any()


def test_bonds_hold_through_a_periodic_wall():
    atoms = molecule("H2O", cell=[6, 6, 6], pbc=True)
    atoms.positions += 6.0 - atoms.positions[0]
    atoms.wrap()
    bonds = FixedBonds(atoms, bonds_of(atoms))
    np.testing.assert_allclose(bonds.bondlengths, atoms.get_distances(0, [1, 2], mic=True), atol=1e-12)
    new = atoms.positions + np.random.default_rng(1).normal(0, 0.05, (3, 3))
    bonds.adjust_positions(atoms, new)
    moved = atoms.copy()
    moved.positions = new
    np.testing.assert_allclose(moved.get_distances(0, [1, 2], mic=True), bonds.bondlengths, rtol=1e-12)


def test_tied_energy_is_kept_to_second_order():
    def error(timestep_fs):
        stepper, energies = started("nve", ethanol(), timestep_fs), []
        for _ in range(round(100 / timestep_fs)):
            stepper.step()
            energies.append(stepper.frame().conserved_energy)
        return np.std(energies[:: round(2 / timestep_fs)])

    errors = np.array([error(dt) for dt in (2.0, 1.0)])
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)


def test_tied_motion_turned_round_comes_back():
    stepper = started("nve", ethanol(), 1.0)
    start = stepper.frame()
    for _ in range(2):
        for _ in range(100):
            stepper.step()
        stepper.atoms.set_momenta(-stepper.atoms.get_momenta())
    np.testing.assert_allclose(stepper.atoms.positions, start.positions, atol=1e-9)


@pytest.mark.parametrize("name, options", THERMOSTATS)
def test_tied_molecule_has_the_target_temperature(name, options):
    """21 momenta of 27 where the whole moves, 15 where it rests: bonds that are forgotten would show as 28 %, drift and spin as 40 %."""
    stepper = started(name, ethanol(), 1.0, **options)
    T = []
    for n in range(2500):
        stepper.step()
        if n > 150 and n % 4 == 0:
            T.append(stepper.frame().temperature_K)
    means = np.array(T[: len(T) // 20 * 20]).reshape(20, -1).mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(20)
    assert error < 18 and abs(np.mean(T) - 300) < 4 * error


@pytest.mark.parametrize("name, count", [("nvt-langevin", 27 - 6), ("nvt-csvr", 27 - 6 - 6), ("nve", 27 - 6 - 6)])
def test_tied_bonds_are_counted(name, count):
    assert degrees_of_freedom_of(ensembles.get(name), ethanol()) == count


@pytest.mark.parametrize("frozen, rotations", [((0,), 3), ((0, 3), 1), ((0, 1, 2), 0)])
def test_spin_about_fixed_atoms_is_counted_and_taken_out(frozen, rotations):
    """Newton's equations around one or two fixed atoms keep the angular momentum about them: it must not be thermal heat."""
    atoms = ethanol(frozen=frozen, tied=False)
    dof = degrees_of_freedom_of(ensembles.get("nve"), atoms)
    assert dof == 3 * (9 - len(frozen)) - rotations
    momenta = draw_momenta(atoms, 300.0, np.random.default_rng(1), dof)
    about = turning(atoms)
    spin = np.cross(atoms.positions - about.pivot, momenta).sum(axis=0)
    np.testing.assert_allclose(about.axes @ spin, 0, atol=1e-12)
    assert 2 * np.sum(momenta**2 / (2 * atoms.get_masses()[:, None])) / (dof * units.kB) == pytest.approx(300)
    stepper = ASEStepper(atoms, ensembles.get("nve")(), 0.5, np.random.default_rng())
    atoms.set_momenta(momenta)
    for _ in range(50):
        stepper.step()
    np.testing.assert_allclose(about.axes @ np.cross(atoms.positions - about.pivot, atoms.get_momenta()).sum(axis=0), 0, atol=1e-10)


def test_spin_about_a_periodic_wire_is_taken_out():
    atoms = Atoms("C8", np.random.default_rng(5).normal(0, 1, (8, 3)), cell=[0, 0, 9], pbc=[False, False, True])
    assert degrees_of_freedom_of(ensembles.get("nve"), atoms) == 24 - 3 - 1
    p = without_turning(np.random.default_rng(6).normal(0, 1, (8, 3)), atoms.positions, atoms.get_masses(), turning(atoms))
    centre = atoms.get_center_of_mass()
    assert np.cross(atoms.positions - centre, p).sum(axis=0)[2] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name, atoms, count", [
    ("nve", Atoms("Ar"), 0), ("nvt-langevin", Atoms("Ar"), 3), ("nve", molecule("N2"), 1), ("nve", molecule("CO2"), 3),
    ("nve", argon(n=1), 9), ("nvt-andersen", molecule("CO2"), 9),
])
def test_small_and_linear_and_periodic_systems_are_counted(name, atoms, count):
    assert degrees_of_freedom_of(ensembles.get(name), atoms) == count


def test_a_torn_bond_ends_the_run_by_name():
    atoms = ethanol()
    stepper = started("nve", atoms, 0.5)
    atoms.positions[5] += 30.0  # what no step of a sound run does; the present bonds then point anywhere
    atoms.constraints[0].adjust_positions = lambda atoms, new: (_ for _ in ()).throw(NotSolved((0, 5)))
    with pytest.raises(Exploded, match="the bond of fixed length between C0 and H5") as told:
        stepper.step()
    assert told.value.atoms == (0, 5)


def test_heavier_hydrogens_take_their_mass_from_their_partners():
    atoms = molecule("CH3CH2OH")
    new = repartitioned(atoms.numbers, atoms.get_masses(), bonds_of(atoms), 3.0)
    assert new.sum() == pytest.approx(atoms.get_masses().sum(), abs=1e-12)
    assert set(new[atoms.numbers == 1]) == {3.0}
    moved = 3.0 - 1.008
    np.testing.assert_allclose(sorted(new[atoms.numbers > 1]), sorted([12.011 - 2 * moved, 15.999 - moved, 12.011 - 3 * moved]), atol=1e-9)
    again = repartitioned(atoms.numbers, new, bonds_of(atoms), 3.0)
    np.testing.assert_array_equal(again, new)  # deuterium and hydrogens that are heavy already stay


@pytest.mark.parametrize("atoms, mass, said", [
    (molecule("CO2"), 3.0, "no hydrogen is bonded to a heavy atom"), (molecule("CH4"), 4.0, "less than its hydrogens. Take at most 3.20"),
])
def test_senseless_masses_are_refused(atoms, mass, said):
    with pytest.raises(ValueError, match=said):
        repartitioned(atoms.numbers, atoms.get_masses(), bonds_of(atoms), mass)


@pytest.mark.parametrize("name", ["npt-langevin", "npt-mtk"])
def test_barostats_refuse_tied_bonds(name):
    atoms = molecule("H2O", cell=[9, 9, 9], pbc=True)
    atoms.set_constraint(FixedBonds(atoms, bonds_of(atoms)))
    with pytest.raises(ValueError, match=f"{name} cannot hold bonds at their length while the cell changes"):
        ensembles.get(name)(temperature_K=300.0).dynamics(atoms, 0.5, np.random.default_rng())
