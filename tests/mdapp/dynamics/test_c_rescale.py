"""Stochastic cell rescaling: exact volumes for atoms and for molecules, whatever the compressibility that was guessed; bonds keep their length."""
import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from mdapp.dynamics import draw_momenta, ensembles
from mdapp.dynamics._constraints import FixedBonds
from mdapp.dynamics._molecules import pieces_of
from mdapp.observables import PER_BAR
from mdapp.simulation import ASEStepper
from toys import Argon, argon

kT = units.kB * 300.0


class Ideal(Calculator):
    """No forces at all."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


class Dimers(Argon):
    """Atoms 2k and 2k + 1 on a spring; between molecules Lennard-Jones, or nothing at all."""

    def __init__(self, ideal=False):
        super().__init__()
        self.ideal = ideal

    def curve(self, r):
        energy, slope = super().curve(r)
        if self.ideal:
            energy, slope = np.zeros_like(r), np.zeros_like(r)
        n = round((1 + np.sqrt(1 + 8 * len(r))) / 2)
        i, j = np.triu_indices(n, 1)
        bond = (i % 2 == 0) & (j == i + 1)
        energy[bond], slope[bond] = 10.0 * (r[bond] - 1.1) ** 2, 20.0 * (r[bond] - 1.1)
        return energy, slope


def dimers(ideal=False, n=2, edge=5.0, symbols="NN"):
    """4 n³ molecules, some of them through the walls."""
    sites, rng = bulk("Ar", "fcc", a=edge, cubic=True) * (n, n, n), np.random.default_rng(8)
    along = rng.normal(size=(len(sites), 3))
    along *= 0.55 / np.linalg.norm(along, axis=1)[:, None]
    x = np.stack([sites.positions - along, sites.positions + along], axis=1).reshape(-1, 3)
    atoms = Atoms(symbols * len(sites), x, cell=sites.cell, pbc=True)
    atoms.wrap()
    atoms.calc = Dimers(ideal)
    return atoms


def started(atoms, timestep_fs=1.0, seed=1, state=None, **options):
    options = {"temperature_K": 300.0, "pressure_bar": 1000.0, "barostat_time_fs": 200.0, **options}
    rng = np.random.default_rng(seed)
    if state is None:
        atoms.set_momenta(draw_momenta(atoms, options["temperature_K"], rng))
    return ASEStepper(atoms, ensembles.get("npt-c-rescale")(**options), timestep_fs, rng, state=state)


@pytest.mark.parametrize("build, n_pieces", [(lambda: Atoms("Ar8", np.random.default_rng(1).uniform(0, 6, (8, 3)), cell=[6.0] * 3, pbc=True), 8),
                                             (lambda: dimers(n=1), 4)], ids=["atoms", "molecules"])
@pytest.mark.parametrize("off", [1.0, 30.0])
def test_ideal_gas_has_the_volume_of_the_gas_law(build, n_pieces, off):
    """n kT/P with the width that belongs to it, n being molecules and not atoms. Also where the compressibility is guessed badly, and moves are refused."""
    atoms, pressure_bar = build(), 2000.0
    atoms.calc = Dimers(ideal=True) if n_pieces == 4 else Ideal()
    stepper = started(atoms, pressure_bar=pressure_bar, barostat_time_fs=50.0, compressibility_per_bar=off / pressure_bar)
    cell, volumes, refused = stepper.dynamics, [], 0
    for n in range(2500):
        before = cell.work
        cell._change_volume()
        refused += cell.work == before
        if n % 3 == 0:  # no force couples the momenta of a gas: drawn anew, they are canonical too
            atoms.set_momenta(draw_momenta(atoms, 300.0, stepper.rng, exact=False))
        volumes.append(atoms.get_volume())
    unit = kT / (pressure_bar * PER_BAR)
    v = np.array(volumes[300:]) / unit  # Gamma(n)
    blocks = v[: len(v) // 20 * 20].reshape(20, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    assert error < 0.15 * n_pieces and abs(v.mean() - n_pieces) < 4 * error  # molecules counted as atoms would be 100 % off
    assert v.var() == pytest.approx(n_pieces, rel=0.5)
    assert (refused > 500) == (off > 1)


def test_slope_is_the_derivative_of_the_energy_with_the_volume():
    stepper = started(dimers())
    for _ in range(20):
        stepper.step()
    cell, h = stepper.dynamics, 1e-4
    here, found = cell._moment(), []
    for sign in (1, -1):
        cell._scale((1 + sign * h) ** (1 / 3))
        there = cell._moment()
        found.append((there.potential + there.kinetic, there.volume))
        cell._scale((1 + sign * h) ** (-1 / 3))
    assert here.slope == pytest.approx((found[0][0] - found[1][0]) / (found[0][1] - found[1][1]), rel=1e-6)


@pytest.mark.parametrize("tied", [pytest.param(False, marks=pytest.mark.slow), True])
def test_molecules_keep_pressure_temperature_and_conserved_energy(tied):
    """The pressure between molecules is what the barostat sees; without ties that of the atoms' virial, which it never sees, has the same mean."""
    atoms = dimers(edge=7.2, symbols="NH" if tied else "NN")
    lengths = atoms.get_all_distances(mic=True)[np.arange(0, 64, 2), np.arange(1, 64, 2)]
    if tied:
        atoms.set_constraint(FixedBonds(atoms, np.arange(64).reshape(-1, 2)))
    stepper = started(atoms, 2.0, pressure_bar=3000.0, barostat_time_fs=100.0, compressibility_per_bar=1e-4)
    assert stepper.degrees_of_freedom == 3 * 64 - 3 - 32 * tied
    P, T, conserved = [], [], []
    for n in range(2000):
        stepper.step()
        if n > 400 and n % 5 == 0:
            f = stepper.frame(full=True)
            P.append((-stepper.dynamics._moment().slope if tied else f.pressure) / PER_BAR)
            T.append(f.temperature_K)
            conserved.append(f.conserved_energy)
    for series, target, most in ((P, 3000.0, 200.0), (T, 300.0, 8.0)):
        blocks = np.array(series[: len(series) // 20 * 20]).reshape(20, -1).mean(axis=1)
        error = blocks.std(ddof=1) / np.sqrt(20)
        assert error < most and abs(np.mean(series) - target) < 4.5 * error
    assert np.ptp(conserved) / len(atoms) < 1e-3  # eV/atom
    if tied:
        after = atoms.get_all_distances(mic=True)[np.arange(0, 64, 2), np.arange(1, 64, 2)]
        np.testing.assert_allclose(after, lengths, rtol=1e-12)
        velocity = atoms.get_velocities()[1::2] - atoms.get_velocities()[::2]
        along = stepper.dynamics.pieces.images @ atoms.cell.array + atoms.positions
        np.testing.assert_allclose(np.einsum("kx,kx->k", velocity, along[1::2] - along[::2]), 0, atol=1e-12)


def test_a_refused_change_leaves_everything_as_it_was():
    stepper = started(argon(5.35), 5.0, temperature_K=40.0, compressibility_per_bar=1.0)
    cell = stepper.dynamics
    stepper.step()
    refused = 0
    for _ in range(10):
        before = stepper.frame()
        work, forces = cell.work, cell.forces
        cell._change_volume()
        if cell.work == work:
            refused += 1
            after = stepper.frame()
            for what in ("positions", "momenta", "cell", "forces", "potential_energy", "conserved_energy"):
                np.testing.assert_array_equal(getattr(after, what), getattr(before, what))
            assert cell.forces is forces and stepper.glance()[3] == before.potential_energy
    assert refused > 5


@pytest.mark.parametrize("compressibility", [4.5e-5, 1e-2])
@pytest.mark.parametrize("tied", [False, True])
def test_resumed_run_equals_the_uninterrupted_one_at_every_step(tied, compressibility):
    """Between two changes of volume, right before one and right after, with moves that are taken and moves that are refused."""
    def build():
        atoms = dimers(n=1, symbols="NH")
        if tied:
            atoms.set_constraint(FixedBonds(atoms, np.arange(8).reshape(-1, 2)))
        return atoms

    options = {"barostat_time_fs": 150.0, "compressibility_per_bar": compressibility}  # a change every 3 steps
    whole = started(build(), **options)
    assert whole.dynamics.every == 3
    states = [whole.state()]
    for _ in range(120):
        whole.step()
        states.append(whole.state())
    for cut in (0, 1, 2, 3, 50, 99, 101, 119):
        kept = {k: v.copy() if isinstance(v, np.ndarray) else json.loads(json.dumps(v)) for k, v in states[cut].items()}
        part = started(build(), seed=77, state=kept, **options)
        while part.step_number < 120:
            part.step()
        assert part.state().keys() == states[-1].keys()
        for key, value in part.state().items():
            np.testing.assert_array_equal(value, states[-1][key], err_msg=f"{key} after a cut at {cut}")


def test_molecules_are_pieces_wherever_the_walls_are():
    atoms = dimers()
    pieces = pieces_of(atoms)
    np.testing.assert_array_equal(pieces.labels, np.repeat(np.arange(32), 2))
    whole = atoms.positions + pieces.images @ atoms.cell.array
    np.testing.assert_allclose(np.linalg.norm(whole[1::2] - whole[::2], axis=1), 1.1)
    assert pieces.images.any()


def test_what_goes_on_through_the_walls_is_no_molecule():
    diamond = bulk("C", cubic=True)
    assert len(np.unique(pieces_of(diamond).labels)) == len(diamond)
    polymer = Atoms("C4", [[0, 0, z] for z in (0.0, 1.4, 2.8, 4.2)], cell=[20, 20, 5.6], pbc=True) + molecule("H2O")
    polymer.positions[4:] += [10, 10, 2]
    labels = pieces_of(polymer).labels
    assert len(np.unique(labels)) == 5 and len(np.unique(labels[4:])) == 1


def test_fixed_atoms_and_missing_boxes_are_refused():
    from ase.constraints import FixAtoms

    atoms = dimers(n=1)
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="npt-c-rescale cannot hold atoms fixed while the cell changes"):
        started(atoms)
    with pytest.raises(ValueError, match="npt-c-rescale needs a cell"):
        started(Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]))
