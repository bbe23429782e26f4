"""Spectra and time correlations against oscillators and walks that are known."""
from __future__ import annotations

import numpy as np
import pytest
from ase import units

from mdapp.analysis.diffusion import diffusion, finite_size_correction_cm2_s
from mdapp.analysis.infrared import infrared
from mdapp.analysis.lags import LaggedSums
from mdapp.analysis.power_spectrum import power_spectrum
from mdapp.analysis.velocity_autocorrelation import velocity_autocorrelation

from .series import frames_of, oscillator

CARBON = 12.011


@pytest.mark.parametrize("wavenumber, from_positions", [(1500.0, False), (1500.0, True), (3000.0, False), (3000.0, True)])
def test_a_harmonic_oscillator_has_one_line_with_all_of_its_energy(wavenumber, from_positions):
    positions, velocities = oscillator(1500, wavenumber, 1.0)
    found = power_spectrum(frames_of(positions, [6, 6], velocities=None if from_positions else velocities, masses=[CARBON] * 2), resolution_cm1=50)
    assert found.from_positions is from_positions
    assert found.wavenumber_cm1[found.power_eV_cm.argmax()] == pytest.approx(wavenumber, abs=found.wavenumber_cm1[1])
    twice_kinetic = np.mean(np.sum(CARBON * (velocities / units.fs) ** 2, axis=(1, 2)))
    assert np.sum(found.power_eV_cm) * found.wavenumber_cm1[1] == pytest.approx(twice_kinetic, rel=0.01)
    assert found.temperature_K == pytest.approx(twice_kinetic / (6 * units.kB), rel=0.01)
    assert np.sum(found.density_of_states()) * found.wavenumber_cm1[1] == pytest.approx(6)


def test_elements_have_their_own_lines_and_add_up():
    slow, v_slow = oscillator(1200, 800, 1.0)
    fast, v_fast = oscillator(1200, 2500, 1.0)
    found = power_spectrum(frames_of(np.concatenate([slow, fast + 5], axis=1), [6, 6, 1, 1], velocities=np.concatenate([v_slow, v_fast], axis=1)), 50)
    assert found.elements == ("C", "H")
    peaks = found.wavenumber_cm1[found.by_element_eV_cm.argmax(axis=1)]
    assert peaks == pytest.approx([800, 2500], abs=50)
    assert found.by_element_eV_cm.sum(axis=0) == pytest.approx(found.power_eV_cm)


def test_white_noise_is_flat_within_its_error():
    v = np.random.default_rng(1).standard_normal((6000, 4, 3)) * 0.01
    found = power_spectrum(frames_of(np.zeros_like(v), [6] * 4, velocities=v), resolution_cm1=200)
    inner = slice(2, -2)
    flat = CARBON * 12 * 1e-4 / units.fs**2 / (1 / (2 * 2.99792458e-5))  # 12 components over the whole range
    pulls = (found.power_eV_cm[inner] - flat) / found.error_eV_cm[inner]
    assert found.power_eV_cm[inner].mean() == pytest.approx(flat, rel=0.02) and np.std(pulls) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("kind", ["fixed", "charges", "dipole"])
def test_infrared_intensity_is_that_of_the_double_harmonic_textbook(kind):
    """Opposite charges on a stretch: |dµ/dQ|² = q² (1/m1 + 1/m2), and 42.256 km/mol for 1 (D/Å)²/amu."""
    q, temperature, wavenumber = 0.4, 300.0, 2000.0
    omega = 2 * np.pi * 2.99792458e-5 * wavenumber
    reduced = CARBON / 2
    amplitude = np.sqrt(2 * units.kB * temperature / (reduced * (omega / units.fs) ** 2))  # of the distance, kT/2 of kinetic energy on average
    positions, _ = oscillator(3000, wavenumber, 1.0, amplitude_A=amplitude / 2)
    charges = np.array([-q, q])
    extras = {"charges": {"charges": np.tile(charges, (3000, 1))}, "dipole": {"dipole": np.einsum("i,fix->fx", charges, positions)}}.get(kind)
    found = infrared(frames_of(positions, [6, 6], extras=extras), temperature, charges if kind == "fixed" else None, resolution_cm1=40)
    debye = 1 / 0.20819434  # D per e Å
    assert found.source == {"fixed": "fixed charges"}.get(kind, kind)
    assert np.sum(found.absorption_km_mol_cm) * found.wavenumber_cm1[1] == pytest.approx(42.2561 * (q * debye) ** 2 / reduced, rel=0.01)
    assert found.wavenumber_cm1[found.absorption_km_mol_cm.argmax()] == pytest.approx(wavenumber, abs=40)


def test_infrared_follows_molecules_through_the_walls():
    positions, _ = oscillator(600, 1500, 1.0)
    path = positions + np.linspace(0, 20, 600)[:, None, None] * [1, 0.5, 0]
    bare = infrared(frames_of(path, [6, 6]), 300, np.array([-0.3, 0.3]), 50)
    wrapped = infrared(frames_of(path % 6.0, [6, 6], cell=[6.0] * 3), 300, np.array([-0.3, 0.3]), 50)
    assert wrapped.absorption_km_mol_cm == pytest.approx(bare.absorption_km_mol_cm, rel=1e-6, abs=1e-9 * bare.absorption_km_mol_cm.max())


def test_lagged_sums_are_the_plain_sums_however_they_come():
    x = np.random.default_rng(2).standard_normal((333, 2)).cumsum(axis=0)
    for max_lag, cuts in ((40, [0, 333]), (40, [0, 10, 25, 200, 333]), (400, [0, 100, 333]), (1, [0, 5, 333])):
        sums = LaggedSums(max_lag)
        for a, b in zip(cuts, cuts[1:]):
            sums.add(x[a:b])
        lags = range(min(max_lag, 332) + 1)
        assert sums.correlation == pytest.approx(np.array([(x[: 333 - k] * x[k:]).mean(axis=0) for k in lags]), rel=1e-9)
        assert sums.displacement == pytest.approx(np.array([((x[: 333 - k] - x[k:]) ** 2).mean(axis=0) for k in lags]), rel=1e-7, abs=1e-9)


def test_velocity_autocorrelation_of_langevin_particles_decays_and_gives_their_diffusion():
    """Exact Ornstein-Uhlenbeck velocities: C = 3 s² exp(-g t), D = s² / g."""
    rng, gamma, s, n = np.random.default_rng(3), 0.02, 0.01, 4000
    c = np.exp(-gamma)
    v = np.empty((n, 20, 3))
    v[0] = s * rng.standard_normal((20, 3))
    for k in range(1, n):
        v[k] = c * v[k - 1] + s * np.sqrt(1 - c * c) * rng.standard_normal((20, 3))
    found = velocity_autocorrelation(frames_of(np.zeros_like(v), [6] * 20, velocities=v), max_lag_fs=300)
    exact = 3 * s * s * np.exp(-gamma * found.time_fs)
    assert np.abs((found.C_A2_fs2 - exact) / found.error_A2_fs2).max() < 5
    assert found.normalised[0] == 1 and found.diffusion_cm2_s[-1] == pytest.approx(s * s / gamma * 0.1, rel=0.12)  # 60 series of 80 relaxation times


def test_random_walk_diffuses_as_its_steps_say_through_walls_and_with_an_honest_error():
    rng = np.random.default_rng(4)
    step, n = 0.3, 800
    pulls = []
    for _ in range(6):
        path = 4 + (step * rng.standard_normal((n, 30, 3))).cumsum(axis=0)
        found = diffusion(frames_of(path % 9.0, [3] * 30, cell=[9.0] * 3, frame_fs=100.0), "Li", max_lag_ps=5.0)
        exact = step**2 / 2 / 0.1 * 1e-4 * 29 / 30  # the drift of all is taken out
        pulls.append((found.D_cm2_s - exact) / found.D_error_cm2_s)
        assert found.D_cm2_s == pytest.approx(exact, rel=0.2) and found.exponent == pytest.approx(1, abs=0.1) and found.diffusive
    assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 2  # six pulls
    assert found.edge_A == pytest.approx(9.0) and found.n_particles == 30


def test_a_breathing_box_does_not_make_atoms_diffuse():
    rng = np.random.default_rng(5)
    path = 5 + (0.1 * rng.standard_normal((400, 10, 3))).cumsum(axis=0)
    edges = 10 + 0.3 * np.sin(np.arange(400) / 7)
    boxes = np.eye(3) * edges[:, None, None]
    wrapped = path % edges[:, None, None]
    found = diffusion(frames_of(wrapped, [3] * 10, cell=boxes, frame_fs=100.0), "all", max_lag_ps=4.0)
    free = diffusion(frames_of(path, [3] * 10, frame_fs=100.0), "all", max_lag_ps=4.0)
    assert found.D_cm2_s == pytest.approx(free.D_cm2_s, rel=0.1)


def test_finite_size_correction_of_water():
    """TIP3P-like: 300 K, 0.32 mPa s, 18.6 Å: 2.837297 kT / (6 pi eta L) = 1.05e-5 cm²/s."""
    kT = 1.380649e-23 * 300
    assert finite_size_correction_cm2_s(300, 0.32, 18.6) == pytest.approx(1e4 * 2.837297 * kT / (6 * np.pi * 0.32e-3 * 18.6e-10))
    assert finite_size_correction_cm2_s(300, 0.32, 18.6) == pytest.approx(1.05e-5, rel=0.01)
    with pytest.raises(ValueError, match="viscosity must be > 0"):
        finite_size_correction_cm2_s(300, 0.0, 18.6)


def test_what_cannot_be_followed_is_refused():
    positions, velocities = oscillator(20, 1000, 1.0)
    frames = frames_of(positions, [6, 6], velocities=velocities)
    with pytest.raises(ValueError, match="not evenly spaced"):
        power_spectrum(frames[:8] + frames[9:])
    with pytest.raises(ValueError, match="does not tell the times"):
        power_spectrum(frames_of(positions, [6, 6], frame_fs=0.0))
    with pytest.raises(ValueError, match="neither dipoles nor charges"):
        infrared(frames, 300)
    with pytest.raises(ValueError, match="no velocities"):
        velocity_autocorrelation(frames_of(positions, [6, 6]))
    with pytest.raises(ValueError, match="There is no Li"):
        diffusion(frames, "Li")
    with pytest.raises(ValueError, match="no frames"):
        power_spectrum([])
    with pytest.raises(ValueError, match="no finite size"):
        diffusion(frames, "all").corrected(300, 1.0)
