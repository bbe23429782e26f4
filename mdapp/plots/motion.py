"""Figures of motion: diffusion, the memory of velocities, infrared spectra."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mdapp.analysis.diffusion import Diffusion
from mdapp.analysis.infrared import Infrared
from mdapp.analysis.statistics import plus_minus
from mdapp.analysis.velocity_autocorrelation import VelocityAutocorrelation
from mdapp.plots.bands import BANDS_CM1, bands
from mdapp.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILION, look, panel


def diffusion(found: Diffusion) -> Figure:
    """Mean square displacement on logarithmic scales with its error band and the line whose slope is the coefficient."""
    with look():
        figure, axes = panel()
        t, msd, doubt = found.time_ps[1:], found.msd_A2[1:], np.nan_to_num(found.msd_error_A2[1:], posinf=0.0)
        seen = msd > 0
        axes.fill_between(t[seen], np.maximum(msd - doubt, 0.01 * msd)[seen], (msd + doubt)[seen], color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(t[seen], msd[seen], color=BLUE, label=f"MSD of {found.n_particles} {found.what}")
        fitted = (found.time_ps >= found.fit_ps[0]) & (found.time_ps <= found.fit_ps[1])
        slope = 6 * found.D_cm2_s * 1e4
        line = found.msd_A2[fitted].mean() + slope * (found.time_ps[fitted] - found.time_ps[fitted].mean())
        axes.plot(found.time_ps[fitted][line > 0], line[line > 0], color=BLACK, linestyle="--", linewidth=1.0, label="fitted line")
        scale = 1e5
        said = f"D = ({plus_minus(scale * found.D_cm2_s, scale * found.D_error_cm2_s)}) 10⁻⁵ cm²/s" if found.diffusive else f"not diffusive: t to the power {found.exponent:.2f}"
        axes.set(xlabel="time / ps", ylabel="mean square displacement / Å²", xscale="log", yscale="log", title=f"Diffusion of {found.what}: {said}")
        axes.legend()
        return figure


def velocity_autocorrelation(found: VelocityAutocorrelation) -> Figure:
    """The normalised correlation of velocities with its error band."""
    with look():
        figure, axes = panel()
        scale = found.C_A2_fs2[0] or 1.0
        doubt = np.nan_to_num(found.error_A2_fs2 / scale, posinf=0.0)
        axes.fill_between(found.time_fs, found.normalised - doubt, found.normalised + doubt, color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(found.time_fs, found.normalised, color=BLUE)
        axes.axhline(0.0, color=GREY, linewidth=0.8)
        axes.set(xlabel="time / fs", ylabel="C(t) / C(0)", xlim=(0, found.time_fs[-1]), title=f"Velocity autocorrelation, {found.n_atoms} atoms, {found.n_frames} frames")
        return figure


def infrared(found: Infrared, harmonic: tuple[np.ndarray, np.ndarray] | None = None, regions: Sequence[tuple[float, float, str]] = BANDS_CM1) -> Figure:
    """Absorption with its error band and assigned regions.

    Parameters
    ----------
    harmonic : frequencies in 1/cm and intensities in km/mol, drawn as sticks on a scale of their own.
    regions : from, to and what moves there.
    """
    with look():
        figure, axes = panel()
        high = min(4000.0, float(found.wavenumber_cm1[-1]))
        doubt = np.nan_to_num(found.error_km_mol_cm, posinf=0.0)
        inside = found.wavenumber_cm1 <= high
        top = 1.18 * float((found.absorption_km_mol_cm + doubt)[inside].max(initial=1e-9))
        bands(axes, regions, high, top)
        axes.fill_between(found.wavenumber_cm1, found.absorption_km_mol_cm - doubt, found.absorption_km_mol_cm + doubt, color=ORANGE, alpha=0.3, linewidth=0)
        axes.plot(found.wavenumber_cm1, found.absorption_km_mol_cm, color=VERMILION, linewidth=1.0)
        if harmonic is not None:
            other = axes.twinx()
            other.vlines(harmonic[0], 0, harmonic[1], color=BLACK, linewidth=0.8)
            other.set(ylabel="harmonic / km/mol", ylim=(0, None))
            other.grid(visible=False)
        axes.set(xlabel="wavenumber / cm⁻¹", ylabel="absorption / km/mol cm", xlim=(0, high), ylim=(0, top),
                 title=f"Infrared spectrum at {found.temperature_K:.4g} K, from the {found.source}")
        return figure
