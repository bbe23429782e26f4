"""A bath that follows a schedule: it gets where it should, and the books of the conserved energy stay balanced."""
import numpy as np
import pytest
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta, ensembles
from mdapp.schedule import Schedule
from mdapp.simulation import ASEStepper
from toys import argon, methanol

THERMOSTATS = [("nvt-langevin", {"friction_per_ps": 20.0}), ("nvt-csvr", {"thermostat_time_fs": 20.0}),
               ("nvt-nose-hoover", {"thermostat_time_fs": 20.0}), ("nvt-andersen", {"friction_per_ps": 20.0})]


def frames_of(name, options, schedule, steps, timestep_fs=0.5, atoms=None):
    atoms, rng = atoms or methanol(), np.random.default_rng(1)
    ensemble = ensembles.get(name)(temperature_K=schedule.start_K, **options)
    atoms.set_momenta(draw_momenta(atoms, schedule.start_K, rng, degrees_of_freedom_of(ensemble, atoms)))
    stepper, frames = ASEStepper(atoms, ensemble, timestep_fs, rng, schedule=schedule), []
    for _ in range(steps):
        stepper.step()
        frames.append(stepper.frame())
    return frames


def test_every_installed_bath_can_follow_a_schedule():
    assert {name for name in ensembles.names() if not hasattr(ensembles.get(name), "set_temperature")} == {"nve"}
    assert {name for name, _ in THERMOSTATS} == {name for name in ensembles.names() if name.startswith("nvt-")}


@pytest.mark.parametrize("name, options", THERMOSTATS)
def test_the_bath_follows_its_schedule(name, options):
    frames = frames_of(name, options, Schedule(200.0, ((1500.0, 100.0), (1500.0, 300.0), (100.0, 50.0))), 1800)
    T = np.array([f.temperature_K for f in frames])
    assert T[300:800].mean() > 800 and T[1300:].mean() < 350  # 500 fs at 100 K after 300 fs at 1500 K


@pytest.mark.parametrize("name, options", THERMOSTATS)
def test_a_schedule_does_not_make_the_conserved_energy_jump(name, options):
    frames = frames_of(name, options, Schedule(200.0, ((600.0, 20.0), (100.0, 0.6), (400.0, 300.0))), 600, 0.25)
    assert np.ptp([f.conserved_energy for f in frames]) < 0.02  # eV; the chain's own energy follows the target by some 0.3


@pytest.mark.parametrize("name, flexible", [*((name, f) for name in ("npt-langevin", "npt-mtk") for f in (False, True)), ("npt-c-rescale", None)])
def test_a_schedule_leads_a_barostat_too(name, flexible):
    options = {"pressure_bar": 1000.0, "barostat_time_fs": 500.0, **({} if flexible is None else {"flexible": flexible})}
    options |= {"friction_per_ps": 5.0} if name == "npt-langevin" else {}
    frames = frames_of(name, options, Schedule(10.0, ((80.0, 500.0), (80.0, 500.0))), 200, 5.0, argon(5.35))
    assert np.ptp([f.conserved_energy for f in frames]) / 32 < 0.2e-3  # eV/atom
    assert np.mean([f.temperature_K for f in frames[120:]]) > 40


def test_an_ensemble_without_a_bath_refuses_a_schedule():
    with pytest.raises(ValueError, match="nve has no bath whose temperature could follow a schedule"):
        ASEStepper(methanol(), ensembles.get("nve")(), 0.5, np.random.default_rng(), schedule=lambda time_fs: 300.0)
