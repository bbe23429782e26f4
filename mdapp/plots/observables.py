"""Figures of structure and motion: fluctuations, hydrogen bonds, secondary structure, radial distributions, spectra."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mdapp.analysis.density import Density
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.power_spectrum import PowerSpectrum
from mdapp.analysis.rdf import RadialDistribution
from mdapp.analysis.rmsf import Fluctuations
from mdapp.analysis.secondary_structure import KINDS, NAMES, SecondaryStructure
from mdapp.plots.bands import BANDS_CM1, bands
from mdapp.plots.structure import band
from mdapp.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, look, panel

MOST_LABELS = 40
MOST_BONDS = 12
_COLOURS = {"H": BLACK, "C": GREY, "N": BLUE, "O": VERMILION, "S": ORANGE}


def fluctuations(found: Fluctuations) -> Figure:
    """RMSF of each atom with its error."""
    with look():
        figure, axes = panel()
        at, finite = np.arange(len(found.rmsf_A)), np.isfinite(found.error_A)
        axes.bar(at, found.rmsf_A, color=BLUE, width=0.8)
        axes.errorbar(at[finite], found.rmsf_A[finite], yerr=found.error_A[finite], fmt="none", ecolor=BLACK, elinewidth=0.9, capsize=2)
        every = -(-len(at) // MOST_LABELS)
        axes.set_xticks(at[::every], [found.labels[k] for k in at[::every]], rotation=90, fontsize=7 if len(at) > 15 else 8)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="RMSF / Å", xlabel="atom", title=f"Fluctuations about the mean shape, {found.n_frames} frames")
        return figure


def hydrogen_bonds(found: HydrogenBonds) -> Figure:
    """The commonest hydrogen bonds: share of the frames in which each is there."""
    with look():
        order = np.argsort(-found.share)[:MOST_BONDS][::-1]
        figure, axes = panel(6.4, 1.4 + 0.28 * max(len(order), 2))
        errors = np.where(np.isfinite(found.share_error[order]), found.share_error[order], 0.0)
        axes.barh(np.arange(len(order)), 100 * found.share[order], xerr=100 * errors, color=SKY, height=0.7, error_kw={"elinewidth": 0.9, "capsize": 2})
        axes.set_yticks(np.arange(len(order)), [found.labels[k] for k in order], fontsize=8)
        axes.grid(visible=False, axis="y")
        rest = len(found.share) - len(order)
        axes.set(xlabel="share of frames / %", ylabel="hydrogen bond", xlim=(0, 100),
                 title="Hydrogen bonds" + (f", the commonest of {len(found.share)}" if rest else "" if len(order) else ": none"))
        return figure


def secondary_structure(found: SecondaryStructure) -> Figure:
    """DSSP of each residue against time."""
    from matplotlib.colors import ListedColormap

    with look():
        figure, axes = panel(6.4, 1.8 + 0.16 * min(len(found.residues), 30))
        colours = {"H": VERMILION, "E": BLUE, "C": "#e8e8e8"}
        rows = np.full(found.codes.shape, len(KINDS) - 1)
        for k, kind in enumerate(KINDS):
            rows[found.codes == kind] = k
        stride = max(1, len(rows) // 2000)
        t = found.time_ps[::stride]
        span = (t[0], t[-1]) if len(t) > 1 and t[-1] > t[0] else (0.0, 1.0)
        axes.imshow(rows[::stride].T, aspect="auto", interpolation="nearest", cmap=ListedColormap([colours[k] for k in KINDS]), vmin=-0.5, vmax=len(KINDS) - 0.5,
                    extent=(*span, len(found.residues) - 0.5, -0.5))
        every = -(-len(found.residues) // MOST_LABELS)
        axes.set_yticks(range(0, len(found.residues), every), found.residues[::every], fontsize=7)
        axes.grid(visible=False)
        axes.set(xlabel="time / ps", ylabel="residue", title="Secondary structure (DSSP)")
        figure.legend(handles=[Patch(color=colours[k], label=NAMES[k]) for k in KINDS], loc="outside lower center", ncols=3, fontsize=9)
        return figure


def radial_distribution(found: RadialDistribution, reference: RadialDistribution | None = None) -> Figure:
    """g(r) with its error band, and the running coordination number or the g(r) of a reference."""
    with look():
        figure, axes = panel()
        a, b = found.pair
        band(axes, found.r_A, found.g, found.g_error, BLUE, f"{found.n_frames} frames")
        axes.axhline(1.0, color=GREY, linewidth=0.8)
        axes.set(xlabel="r / Å", ylabel="g(r)", title=f"Radial distribution {a}-{b}, {found.n_frames} frames", xlim=(0, found.r_A[-1]), ylim=(0, None))
        if reference is not None:
            band(axes, reference.r_A, reference.g, reference.g_error, ORANGE, f"reference, {reference.n_frames} frames", "--")
            axes.legend()
            return figure
        other = axes.twinx()
        other.plot(found.r_A, found.coordination, color=ORANGE, linestyle="--", linewidth=1.0)
        other.set(ylabel="neighbours within r (dashed)", ylim=(0, max(4.0 * float(np.interp(0.5 * found.r_A[-1], found.r_A, found.coordination)), 1.0)))
        other.grid(visible=False)
        other.spines["right"].set_visible(True)
        return figure


def density(found: Density) -> Figure:
    """Density against time."""
    with look():
        figure, axes = panel()
        axes.plot(found.time_ps, found.density_g_cm3, color=PURPLE, marker="o" if len(found.time_ps) == 1 else None)
        axes.set(xlabel="time / ps", ylabel="density / g/cm³", title="Density")
        return figure


def power_spectrum(found: PowerSpectrum, harmonic_cm1: Sequence[float] | np.ndarray = ()) -> Figure:
    """Spectrum of the velocities, in all and by element, with the regions in which peptides absorb.

    Parameters
    ----------
    harmonic_cm1 : harmonic frequencies to be marked below.
    """
    return spectra({"all atoms": found}, harmonic_cm1)


def spectra(found: dict[str, PowerSpectrum], harmonic_cm1: Sequence[float] | np.ndarray = (), title: str = "") -> Figure:
    """Spectra of several runs one above the other, on one scale of wavenumbers; each is divided by its integral.

    Parameters
    ----------
    found : by name, such as "300 K".
    harmonic_cm1 : harmonic frequencies, marked as ticks at the bottom.
    """
    with look():
        figure = Figure(figsize=(6.4, 1.6 + 1.9 * len(found)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(found), 1, sharex=True))
        for axes, (name, one) in zip(panels, found.items()):
            step = one.wavenumber_cm1[1] - one.wavenumber_cm1[0]
            area = float(one.power_eV_cm.sum() * step) or 1.0
            share = 1000 * one.power_eV_cm / area
            doubt = 1000 * np.where(np.isfinite(one.error_eV_cm), one.error_eV_cm, 0.0) / area
            axes.fill_between(one.wavenumber_cm1, share - doubt, share + doubt, color=BLACK, alpha=0.15, linewidth=0)
            axes.plot(one.wavenumber_cm1, share, color=BLACK, linewidth=1.0, label="all")
            if len(one.elements) > 1:
                for element, power in zip(one.elements, one.by_element_eV_cm):
                    axes.plot(one.wavenumber_cm1, 1000 * power / area, color=_COLOURS.get(element, GREEN), linewidth=0.7, alpha=0.8, label=element)
            top, high = 1.18 * float(share.max(initial=1e-9)), min(4000.0, float(one.wavenumber_cm1[-1]))
            bands(axes, BANDS_CM1, high, top)
            if len(harmonic_cm1):
                axes.plot(harmonic_cm1, np.zeros(len(harmonic_cm1)), linestyle="none", marker="|", markersize=9, color=VERMILION, label="harmonic", clip_on=False)
            axes.set(xlim=(0, high), ylim=(0, top), ylabel="share / 10⁻³ cm" if len(found) == 1 else f"{name}\n10⁻³ cm")
        panels[0].set_title(title or "Spectrum of the velocities, with the regions of peptides")
        panels[-1].set_xlabel("wavenumber / cm⁻¹")
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9, handlelength=1.6)
        return figure
