"""Each ensemble keeps what it promises: order, reversibility, temperature, pressure, and the conserved quantity."""
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms, FixBondLength
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta, ensembles
from mdapp.observables import PER_BAR, angular_momentum, kinetic_energy, volume
from mdapp.simulation import ASEStepper
from scipy import stats
from toys import Morse, Well, argon, carbon_dioxide, methanol

THERMOSTATS = [("nvt-langevin", {"friction_per_ps": 20.0}), ("nvt-csvr", {"thermostat_time_fs": 20.0}),
               ("nvt-nose-hoover", {"thermostat_time_fs": 20.0}), ("nvt-andersen", {"friction_per_ps": 20.0})]
SLOWLY = [("nvt-langevin", {"friction_per_ps": 10.0}), ("nvt-csvr", {"thermostat_time_fs": 50.0}),
          ("nvt-nose-hoover", {"thermostat_time_fs": 50.0}), ("nvt-andersen", {"friction_per_ps": 10.0})]
BOXES = [(name, flexible) for name in ("npt-langevin", "npt-mtk") for flexible in (False, True)]
ALL_BOXES = [*BOXES, ("npt-c-rescale", None)]  # which knows no other shape


def stepper_of(name, atoms, timestep_fs, temperature_K, seed=1, **options):
    cls = ensembles.get(name)
    fields = cls.__dataclass_fields__
    ensemble = cls(**({"temperature_K": temperature_K} if "temperature_K" in fields else {}), **options)
    rng = np.random.default_rng(seed)
    atoms.set_momenta(draw_momenta(atoms, temperature_K, rng))
    return ASEStepper(atoms, ensemble, timestep_fs, rng)


def walk(stepper, steps, every=5, skip=0):
    """Frames of a run, the start included unless skipped."""
    frames = [] if skip else [stepper.frame()]
    for n in range(1, steps + 1):
        stepper.step()
        if n > skip and n % every == 0:
            frames.append(stepper.frame())
    return frames


def mean_and_error(series, blocks=20):
    """Mean and its standard error from block averages."""
    series = np.asarray(series)
    means = series[: len(series) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    return series.mean(), means.std(ddof=1) / np.sqrt(blocks)


# ---------------------------------------------------------------------------- NVE


def test_energy_error_of_nve_is_second_order():
    def error(timestep_fs):
        frames = walk(stepper_of("nve", methanol(), timestep_fs, 300.0), round(200 / timestep_fs), every=round(1 / timestep_fs))
        return np.std([f.conserved_energy for f in frames])

    errors = np.array([error(dt) for dt in (1.0, 0.5, 0.25)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.25), orders


def test_nve_turned_round_comes_back():
    stepper = stepper_of("nve", methanol(), 0.5, 300.0)
    start = stepper.frame()
    walk(stepper, 1000, every=1000)
    stepper.atoms.set_momenta(-stepper.atoms.get_momenta())
    end = walk(stepper, 1000, every=1000)[-1]
    np.testing.assert_allclose(end.positions, start.positions, atol=1e-8)  # Å; double precision over 2000 steps


def test_nve_keeps_momentum_and_angular_momentum():
    end = walk(stepper_of("nve", methanol(), 0.5, 300.0), 500, every=500)[-1]
    np.testing.assert_allclose(end.momenta.sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(angular_momentum(end.positions, end.momenta, end.masses), 0, atol=1e-10)


# ---------------------------------------------------------------------------- degrees of freedom


@pytest.mark.parametrize("name", ensembles.names())
def test_the_count_is_that_of_the_momenta_that_the_ensemble_can_reach(name):
    """Rank of the momenta seen along a run: what is conserved at zero is missing from it."""
    cls = ensembles.get(name)
    if cls.needs_cell:
        atoms, options = argon(n=1), {"pressure_bar": 1000.0}
        atoms.calc.curve = lambda r: (0.5 * (r - 3.8) ** 2, r - 3.8)
    else:
        atoms, options = methanol(), {}
    stepper = stepper_of(name, atoms, 1.0, 40.0 if cls.needs_cell else 300.0, **options)
    momenta = np.array([f.momenta.ravel() for f in walk(stepper, 400, every=4, skip=1)])
    total = momenta.reshape(len(momenta), -1, 3).sum(axis=1)
    conserved = np.abs(total).max() < 1e-8
    assert conserved == cls.conserves_momentum
    spins = not conserved or atoms.pbc.any()
    assert degrees_of_freedom_of(cls, atoms) == 3 * len(atoms) - 3 * conserved - 3 * (not spins) == stepper.degrees_of_freedom


# ---------------------------------------------------------------------------- NVT


@pytest.mark.parametrize("name, options", THERMOSTATS)
def test_small_free_cluster_has_the_target_temperature(name, options):
    """A count of 3N where drift and spin are absent would be 20 % off, one of 3N-6 where they are there 17 %."""
    frames = walk(stepper_of(name, cluster(), 1.0, 300.0, **options), 4000, every=4, skip=200)
    mean, error = mean_and_error([f.temperature_K for f in frames])
    assert error < 12
    assert abs(mean - 300) < 4 * error


def test_a_wrong_count_would_be_seen(monkeypatch):
    """The test above with ASE's count of 3N must fail by far, or it proves nothing."""
    monkeypatch.setattr("mdapp.dynamics.nvt_csvr.degrees_of_freedom_of", lambda ensemble, atoms: 3 * len(atoms))
    frames = walk(stepper_of("nvt-csvr", cluster(), 1.0, 300.0, thermostat_time_fs=20.0), 2000, every=4, skip=200)
    mean, error = mean_and_error([f.temperature_K for f in frames])
    assert mean - 300 > max(30, 2.5 * error)


def cluster():
    """12 atoms, free: light ones on heavy ones, every pair on a Morse spring."""
    atoms = Atoms("C4H8", np.random.default_rng(2).uniform(0, 4, (12, 3)))
    atoms.calc = Morse(atoms, depth=0.4, width=0.8)
    return atoms


def test_langevin_fills_a_harmonic_well_as_boltzmann_says():
    atoms = Atoms("C300", positions=np.zeros((300, 3)))
    atoms.calc = Well(k=5.0)
    stepper = stepper_of("nvt-langevin", atoms, 2.0, 300.0, friction_per_ps=20.0)
    frames = walk(stepper, 3000, every=25, skip=1000)
    per_mode = np.mean([np.mean(f.positions**2, axis=0) for f in frames], axis=0) * 5.0 / (units.kB * 300.0)
    np.testing.assert_allclose(per_mode, 1.0, atol=0.03)  # x, y, z; 300 wells, 80 frames


def test_langevin_dynamics_damps_with_the_friction_that_was_asked_for():
    atoms = Atoms("C2000", positions=np.zeros((2000, 3)))
    atoms.calc = Well(k=0.0)
    stepper = stepper_of("nvt-langevin", atoms, 1.0, 300.0, friction_per_ps=5.0)
    start = stepper.frame().velocities
    later = walk(stepper, 200, every=200)[-1].velocities
    correlation = np.sum(start * later) / np.sum(start * start)
    assert correlation == pytest.approx(np.exp(-5.0 * 0.2), abs=0.04)  # 0.2 ps; 6000 velocities give 0.013


@pytest.mark.parametrize("name, options", [(name, {"friction_per_ps": 5.0} if "friction_per_ps" in o else o) for name, o in SLOWLY])
def test_conserved_energy_of_a_thermostat_is_better_kept_than_the_total(name, options):
    frames = walk(stepper_of(name, methanol(), 0.25, 300.0, **options), 2000)
    conserved = np.ptp([f.conserved_energy for f in frames])
    total = np.ptp([f.total_energy for f in frames])
    assert conserved < 0.05 * total
    assert conserved < 0.01  # eV; velocity Verlet's own ripple


@pytest.mark.parametrize("name", ["nvt-csvr", "nvt-nose-hoover"])
def test_rescaling_keeps_a_molecule_from_drifting_and_turning(name):
    end = walk(stepper_of(name, methanol(), 0.5, 300.0), 1000, every=1000)[-1]
    np.testing.assert_allclose(end.momenta.sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(angular_momentum(end.positions, end.momenta, end.masses), 0, atol=1e-9)


def test_fixed_atoms_stay_where_they_are_and_the_rest_is_warm():
    atoms = methanol()
    atoms.set_constraint(FixAtoms([0]))
    start = atoms.positions[0].copy()
    frames = walk(stepper_of("nvt-langevin", atoms, 0.5, 300.0, friction_per_ps=20.0), 6000, skip=500)
    np.testing.assert_array_equal(frames[-1].positions[0], start)
    mean, error = mean_and_error([f.temperature_K for f in frames])
    assert abs(mean - 300) < 4 * error
    assert frames[-1].forces[0].any()  # the potential's own force, which the constraint does not see


# ---------------------------------------------------------------------------- NPT


@pytest.mark.parametrize("name, flexible", ALL_BOXES)
def test_npt_keeps_pressure_temperature_and_its_conserved_energy(name, flexible):
    """A barostat with a mass holds the mean pressure far better than chance would, since its momentum is bounded. One of first order cannot: what its noise does to the
    volume must be done by the pressure too, so that the mean over a time t is uncertain by the root of 2 kT tau / (V beta t), here 28 bar."""
    first_order = name == "npt-c-rescale"
    quick = {"friction_per_ps": 5.0} if name == "npt-langevin" else {}  # half of the start's heat goes into the lattice first
    shape = {"barostat_time_fs": 100.0, "compressibility_per_bar": 1e-4} if first_order else {"barostat_time_fs": 500.0, "flexible": flexible}
    stepper = stepper_of(name, argon(5.35), 5.0, 40.0, pressure_bar=1000.0, **shape, **quick)
    frames, pressures = [], []
    for n in range(1, 3001):
        stepper.step()
        if n > 1000 and n % 10 == 0:
            frames.append(stepper.frame(full=True))
            pressures.append(frames[-1].pressure / PER_BAR)
    mean, error = mean_and_error(pressures)
    if first_order:
        sigma = np.sqrt(2 * units.kB * 40.0 * 100.0 / (volume(frames[-1].cell) * 1e-4 / PER_BAR * 10_000.0)) / PER_BAR
        assert sigma < 30 and error < 40 and abs(mean - 1000) < 4 * sigma
    else:
        assert error < 15 and abs(mean - 1000) < 5 * error
    mean, error = mean_and_error([f.temperature_K for f in frames])
    assert abs(mean - 40) < max(4 * error, 2.0)
    conserved = np.array([f.conserved_energy for f in frames])
    assert np.ptp(conserved) / 32 < 0.2e-3  # eV/atom, against 5 meV/atom of the total energy
    shape = frames[-1].cell / volume(frames[-1].cell) ** (1 / 3)
    assert np.allclose(shape, np.eye(3), atol=1e-12) != bool(flexible)


@pytest.mark.parametrize("flexible", [False, True])
def test_conserved_energy_of_mtk_is_second_order(flexible):
    def error(timestep_fs):
        stepper = stepper_of("npt-mtk", argon(5.35), timestep_fs, 40.0, pressure_bar=1000.0, flexible=flexible, thermostat_time_fs=400.0)
        return np.std([f.conserved_energy for f in walk(stepper, round(1600 / timestep_fs), every=round(40 / timestep_fs))])

    errors = np.array([error(dt) for dt in (20.0, 10.0, 5.0)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.3), orders


def test_more_pressure_less_volume():
    volumes = []
    for pressure_bar in (500.0, 3000.0):
        stepper = stepper_of("npt-langevin", argon(5.35), 5.0, 20.0, pressure_bar=pressure_bar, barostat_time_fs=500.0)
        volumes.append(np.mean([volume(f.cell) for f in walk(stepper, 1500, every=10, skip=700)]))
    assert volumes[1] < 0.97 * volumes[0]


@pytest.mark.parametrize("name, flexible", BOXES)
def test_one_step_costs_one_evaluation(name, flexible):
    stepper = stepper_of(name, argon(), 5.0, 40.0, flexible=flexible)
    walk(stepper, 3, every=1)
    before = stepper.atoms.calc.calls
    walk(stepper, 10, every=1)
    assert stepper.atoms.calc.calls - before == 10


def test_cell_rescaling_costs_one_evaluation_more_each_time_that_the_volume_changes():
    stepper = stepper_of("npt-c-rescale", argon(), 5.0, 40.0, barostat_time_fs=1000.0)
    walk(stepper, 1, every=1)
    before = stepper.atoms.calc.calls
    walk(stepper, 40, every=40)
    assert stepper.dynamics.every == 4 and stepper.atoms.calc.calls - before == 50


@pytest.mark.parametrize("name", [name for name in ensembles.names() if not ensembles.get(name).needs_cell])
def test_one_step_without_a_barostat_costs_one_evaluation(name):
    stepper = stepper_of(name, methanol(), 0.5, 300.0)
    walk(stepper, 3, every=1)
    before = stepper.atoms.calc.calls
    walk(stepper, 10, every=1)
    assert stepper.atoms.calc.calls - before == 10


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name, options, said", [
    ("nvt-langevin", {"temperature_K": 0.0}, "temperature_K must be a number > 0, got 0.0"),
    ("nvt-langevin", {"temperature_K": 300.0, "friction_per_ps": -1.0}, "friction_per_ps must be a number > 0"),
    ("nvt-csvr", {"temperature_K": 300.0, "thermostat_time_fs": float("nan")}, "thermostat_time_fs must be a number > 0, got nan"),
    ("npt-mtk", {"temperature_K": 300.0, "pressure_bar": float("inf")}, "pressure_bar must be a finite number"),
    ("npt-langevin", {"temperature_K": 300.0, "barostat_time_fs": 0}, "barostat_time_fs must be a number > 0, got 0"),
])
def test_senseless_options_are_refused_by_name(name, options, said):
    with pytest.raises(ValueError, match=said):
        ensembles.get(name)(**options)


@pytest.mark.parametrize("name", ["npt-langevin", "npt-mtk", "npt-c-rescale"])
def test_constant_pressure_without_a_box_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} needs a cell that is periodic in three directions, but pbc is .False, False, False"):
        stepper_of(name, methanol(), 0.5, 300.0)


@pytest.mark.parametrize("name", ensembles.names())
def test_time_step_must_be_positive(name):
    atoms = argon() if ensembles.get(name).needs_cell else methanol()
    with pytest.raises(ValueError, match="timestep_fs must be a number > 0, got -0.5"):
        stepper_of(name, atoms, -0.5, 40.0)


@pytest.mark.parametrize("name", ["nvt-csvr", "nvt-nose-hoover"])
def test_rescaling_refuses_what_rests_and_what_cannot_move(name):
    with pytest.raises(ValueError, match="all of them are zero"):
        ASEStepper(methanol(), ensembles.get(name)(temperature_K=300.0), 0.5, np.random.default_rng(1))
    atom = Atoms("Ar")
    atom.calc = Well()
    with pytest.raises(ValueError, match="a single atom without drift has no degree of freedom"):
        stepper_of(name, atom, 0.5, 300.0)


def test_unknown_constraints_are_refused():
    atoms = methanol()
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ValueError, match="constraint FixBondLength"):
        stepper_of("nve", atoms, 0.5, 300.0)


def test_potential_without_stress_cannot_do_constant_pressure():
    atoms = argon()
    atoms.calc = Well()
    with pytest.raises((PropertyNotImplementedError, NotImplementedError)):
        stepper_of("npt-langevin", atoms, 5.0, 40.0)


# ---------------------------------------------------------------------------- long statistics


@pytest.mark.slow
@pytest.mark.parametrize("build", [methanol, carbon_dioxide])
@pytest.mark.parametrize("name, options", SLOWLY)
def test_kinetic_energy_of_a_free_molecule_is_canonical(name, options, build):
    frames = walk(stepper_of(name, build(), 0.5, 300.0, **options), 120_000, every=20, skip=4000)
    dof = degrees_of_freedom_of(ensembles.get(name), build())
    x = np.array([f.kinetic_energy for f in frames]) / (units.kB * 300.0)  # Gamma(dof/2)
    mean, error = mean_and_error(x)
    assert error < 0.05 * dof / 2  # one too many would be 0.5
    assert abs(mean - dof / 2) < 4 * error
    assert x.var() == pytest.approx(dof / 2, rel=0.12)
    assert stats.kstest(x[::30], stats.gamma(dof / 2).cdf).pvalue > 1e-3  # 300 fs apart: independent
    potential = np.array([f.potential_energy for f in frames])
    assert np.isfinite(potential).all()


@pytest.mark.slow
@pytest.mark.parametrize("name, options", SLOWLY)
def test_light_and_heavy_atoms_and_all_directions_are_equally_hot(name, options):
    """Langevin, collisions: each momentum by itself. CSVR, Nosé-Hoover: what is left when drift and spin are taken out is shared by projection."""
    atoms = methanol()
    frames = walk(stepper_of(name, atoms, 0.5, 300.0, **options), 120_000, every=20, skip=4000)
    p2 = np.array([f.momenta**2 / f.masses[:, None] for f in frames]) / (units.kB * 300.0)  # (n_frames, n_atoms, 3), mean 1 where the whole moves
    if not ensembles.get(name).conserves_momentum:
        for atom in range(len(atoms)):
            mean, error = mean_and_error(p2[:, atom].mean(axis=1))
            assert abs(mean - 1) < 4.5 * error, atom
        for axis in range(3):
            mean, error = mean_and_error(p2[:, :, axis].mean(axis=1))
            assert abs(mean - 1) < 4.5 * error, axis
    else:  # mean of the projector onto internal motion at each geometry
        expected = np.mean([_internal_share(f) for f in frames[::100]], axis=0)
        for atom in range(len(atoms)):
            mean, error = mean_and_error(p2[:, atom].sum(axis=1))
            assert abs(mean - expected[atom]) < 4.5 * error + 0.01, atom


def _internal_share(frame):
    """Of the three momenta of each atom, how many are internal: 3 less the squares of its rows in the basis of drift and spin."""
    root = np.sqrt(frame.masses)[:, None]
    r = frame.positions - frame.masses @ frame.positions / frame.masses.sum()
    external = [root * np.broadcast_to(e, r.shape) for e in np.eye(3)] + [root * np.cross(e, r) for e in np.eye(3)]
    q, _ = np.linalg.qr(np.array([v.ravel() for v in external]).T)
    return 3 - (q**2).sum(axis=1).reshape(-1, 3).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name, options", SLOWLY)
def test_two_temperatures_obey_the_boltzmann_ratio(name, options):
    """ln of the ratio of two distributions of the potential energy falls as (1/kT2 - 1/kT1) U."""
    cold, hot = (np.array([f.potential_energy for f in walk(stepper_of(name, methanol(), 0.5, T, **options), 120_000, every=20, skip=4000)])
                 for T in (270.0, 330.0))
    edges = np.quantile(np.concatenate([cold, hot]), np.linspace(0.02, 0.98, 13))
    a, b = np.histogram(cold, edges)[0], np.histogram(hot, edges)[0]
    centres = 0.5 * (edges[1:] + edges[:-1])
    weights = 1 / np.sqrt(1 / a + 1 / b)
    slope = np.polyfit(centres, np.log(b / a), 1, w=weights)[0]
    assert slope == pytest.approx(1 / (units.kB * 270.0) - 1 / (units.kB * 330.0), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["npt-langevin", "npt-mtk", "npt-c-rescale"])
def test_volume_fluctuates_by_the_compressibility(name):
    """<dV²> = -kT d<V>/dP. Cells of fixed shape only: a sheared box of 32 atoms gets thinner than twice the toy's cutoff."""
    def volumes(pressure_bar):
        stepper = stepper_of(name, argon(5.3), 5.0, 40.0, pressure_bar=pressure_bar, barostat_time_fs=300.0)
        return np.array([volume(f.cell) for f in walk(stepper, 30_000, every=5, skip=3000)])

    low, mid, high = (volumes(p) for p in (1200.0, 1500.0, 1800.0))
    expected = -units.kB * 40.0 * (high.mean() - low.mean()) / (600.0 * PER_BAR)
    variance, error = mean_and_error((mid - mid.mean()) ** 2, blocks=10)
    assert error < 0.2 * expected
    assert abs(variance - expected) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize("name, flexible", BOXES)
def test_cell_is_as_hot_as_the_atoms(name, flexible):
    """Six symmetric strains, or one volume, carry kT/2 each. With ASE's count of nine for MTK the first would be 9.2."""
    stepper = stepper_of(name, argon(5.3), 5.0, 40.0, pressure_bar=1500.0, flexible=flexible, barostat_time_fs=300.0)
    twice_kinetic = []
    for n in range(24_000):
        stepper.step()
        if n > 3000 and n % 5 == 0:
            twice_kinetic.append(2 * stepper.dynamics.cell_kinetic_energy() / (units.kB * 40.0))
    mean, error = mean_and_error(twice_kinetic, blocks=10)
    assert error < 0.3
    assert abs(mean - (6 if flexible else 1)) < 4 * error


def test_kinetic_energy_of_the_frame_is_that_of_its_momenta():
    frame = walk(stepper_of("nvt-langevin", methanol(), 0.5, 300.0), 7, every=7)[-1]
    assert frame.kinetic_energy == kinetic_energy(frame.momenta, frame.masses)
