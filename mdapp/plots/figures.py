"""One function a figure. Numbers come in ready from `mdapp.analysis`; nothing is computed here but what the eye needs."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator

from mdapp.analysis.bonds import BROKEN_A, BondSeries
from mdapp.analysis.dihedrals import REGIONS, Ramachandran, free_energy
from mdapp.analysis.rmsd import GyrationRadius, Rmsd
from mdapp.analysis.statistics import Mean, plus_minus, running_mean
from mdapp.analysis.thermo import Thermo
from mdapp.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SEQUENTIAL, VERMILION, look, panel

MOST_POINTS = 4000  # drawn of one line; a longer series is drawn as the band between its extremes
MAP_FROM = 2000  # points from which a Ramachandran map says more than dots


def temperature(thermo: Thermo, mean: Mean | None = None, target_K: float | None = None) -> Figure:
    """Kinetic temperature against time, with its running mean and the target."""
    with look():
        assert thermo.T_K is not None
        figure, axes = panel()
        time_line(axes, thermo.time_ps, thermo.T_K, BLUE, "kinetic temperature")
        if target_K is not None:
            axes.axhline(target_K, color=BLACK, linestyle="--", linewidth=1.0, label=f"target {target_K:g} K")
        axes.set(xlabel="time / ps", ylabel="temperature / K", title=_with_mean("Temperature", mean, "K"))
        _legend(axes)
        return figure


def energies(thermo: Thermo) -> Figure:
    """Potential, kinetic and total energy per atom against time, one above the other, each from its value at the first frame."""
    rows = [(values, colour, label) for values, colour, label in (
        (thermo.E_pot_eV, BLUE, "potential"), (thermo.E_kin_eV, ORANGE, "kinetic"), (thermo.total_eV, BLACK, "total")) if values is not None]
    with look():
        figure = Figure(figsize=(6.4, 0.8 + 1.5 * len(rows)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
        for axes, (values, colour, label) in zip(panels, rows, strict=True):
            time_line(axes, thermo.time_ps, 1000 * (values - values[0]) / thermo.n_atoms, colour, label)
            axes.set_ylabel(label)
        panels[0].set_title("Energies per atom, from the first frame on, with running means")
        panels[-1].set_xlabel("time / ps")
        figure.supylabel("change per atom / meV", fontsize=10)
        return figure


def conserved_energy(thermo: Thermo) -> Figure:
    """The conserved energy per atom against time, with the straight line whose slope is the drift."""
    with look():
        assert thermo.conserved_eV is not None
        figure, axes = panel()
        values = 1000 * (thermo.conserved_eV - thermo.conserved_eV[0]) / thermo.n_atoms
        time_line(axes, thermo.time_ps, values, GREEN, "conserved energy", smooth=False)
        fit = thermo.drift_meV()
        title = "Conserved energy"
        if fit is not None:
            axes.plot(thermo.time_ps, fit.intercept + fit.slope * thermo.time_ps, color=BLACK, linestyle="--", linewidth=1.0, label="straight line")
            title += f": drift {plus_minus(fit.slope, fit.error)} meV/atom/ps"
        axes.set(xlabel="time / ps", ylabel="change per atom / meV", title=title)
        _legend(axes)
        return figure


def pressure(thermo: Thermo, mean: Mean | None = None, target_bar: float | None = None) -> Figure:
    """Pressure against time, with its running mean and the target of a barostat."""
    with look():
        assert thermo.P_bar is not None
        figure, axes = panel()
        time_line(axes, thermo.time_ps, thermo.P_bar, PURPLE, "pressure")
        if target_bar is not None:
            axes.axhline(target_bar, color=BLACK, linestyle="--", linewidth=1.0, label=f"target {target_bar:g} bar")
        axes.set(xlabel="time / ps", ylabel="pressure / bar", title=_with_mean("Pressure", mean, "bar"))
        _legend(axes)
        return figure


def dashboard(thermo: Thermo, target_K: float | None = None, target_bar: float | None = None) -> Figure:
    """What a run's table holds in one figure, one panel above the other: temperature, potential energy, conserved energy with its drift, pressure."""
    per_atom = lambda values: 1000 * (values - values[0]) / thermo.n_atoms
    rows = [(name, values, colour, label, target) for name, values, colour, label, target in (
        ("T_K", thermo.T_K, BLUE, "T / K", target_K),
        ("E_pot_eV", None if thermo.E_pot_eV is None else per_atom(thermo.E_pot_eV), ORANGE, "E_pot, change\nmeV/atom", None),
        ("conserved_eV", None if thermo.conserved_eV is None else per_atom(thermo.conserved_eV), GREEN, "conserved, change\nmeV/atom", None),
        ("P_bar", thermo.P_bar, PURPLE, "P / bar", target_bar)) if values is not None]  # fmt: skip
    if not rows:
        raise ValueError("The table holds no temperature, no energies and no pressure: there is nothing to draw.")
    with look():
        figure = Figure(figsize=(6.4, 0.9 + 1.35 * len(rows)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
        for axes, (name, values, colour, label, target) in zip(panels, rows, strict=True):
            time_line(axes, thermo.time_ps, values, colour, label)
            axes.set_ylabel(label, fontsize=8.5)
            if target is not None:
                axes.axhline(target, color=BLACK, linestyle="--", linewidth=1.0)
            fit = thermo.drift_meV() if name == "conserved_eV" else None
            if fit is not None:
                axes.plot(thermo.time_ps, fit.intercept + fit.slope * thermo.time_ps, color=BLACK, linestyle="--", linewidth=1.0)
        panels[0].set_title("The run at a glance, with running means")
        panels[-1].set_xlabel("time / ps")
        return figure


def rmsd(series: Rmsd, reference: str = "its reference") -> Figure:
    """RMSD from a reference structure against time."""
    with look():
        figure, axes = panel()
        time_line(axes, series.time_ps, series.rmsd_A, BLUE, "RMSD")
        axes.set(xlabel="time / ps", ylabel="RMSD / Å", title=f"Distance from {reference} ({series.selection}, {series.n_selected} atoms)", ylim=(0, None))
        _legend(axes)
        return figure


def gyration(series: GyrationRadius) -> Figure:
    """Radius of gyration against time."""
    with look():
        figure, axes = panel()
        time_line(axes, series.time_ps, series.radius_A, GREEN, "radius of gyration")
        axes.set(xlabel="time / ps", ylabel="radius of gyration / Å", title="Size of the molecule")
        _legend(axes)
        return figure


def bonds(series: BondSeries) -> Figure:
    """How far the worst bond of each frame is off its length at the start, with the limit beyond which it counts as broken."""
    with look():
        figure, axes = panel()
        time_line(axes, series.time_ps, series.worst_A, ORANGE, "worst bond", smooth=False)
        axes.axhline(BROKEN_A, color=VERMILION, linestyle="--", linewidth=1.0, label=f"counts as broken: {BROKEN_A} Å")
        axes.set(xlabel="time / ps", ylabel="off its start length by / Å", title=f"Worst of {series.n_bonds} bonds", ylim=(0, None))
        _legend(axes)
        return figure


def ramachandran(angles: Ramachandran) -> Figure:
    """phi against psi of all residues: dots while they are few, a free-energy map in kT when they are many."""
    with look():
        figure, axes = panel(5.2, 4.4)
        phi, psi = np.ravel(angles.phi_deg), np.ravel(angles.psi_deg)
        if len(phi) < MAP_FROM:
            axes.scatter(phi, psi, s=14 if len(phi) < 300 else 6, color=BLUE, alpha=0.6, linewidths=0)
        else:
            edges, energy = free_energy(phi, psi, bins=36 if len(phi) < 50_000 else 72)
            image = axes.pcolormesh(edges, edges, energy.T, cmap=SEQUENTIAL, vmin=0, vmax=max(float(np.nanmax(energy)), 1.0), rasterized=True)
            colour_bar(figure, axes, image, "free energy / kT")
        _basins(axes, angles)
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.axvline(0, color=GREY, linewidth=0.6)
        who = angles.residues[0] if len(angles.residues) == 1 else f"{len(angles.residues)} residues"
        axes.set(xlabel="φ / degrees", ylabel="ψ / degrees", xlim=(-180, 180), ylim=(-180, 180), aspect="equal",
                 title=f"Backbone torsions, {who}, {len(angles.time_ps)} frame{'s' if len(angles.time_ps) != 1 else ''}")
        axes.xaxis.set_major_locator(MultipleLocator(60))
        axes.yaxis.set_major_locator(MultipleLocator(60))
        return figure


def mark_events(figure: Figure, times_ps: Sequence[float]) -> Figure:
    """A thin line at the time of each event, in all panels of a series against time; returns the figure."""
    for axes in figure.axes:
        low, high = axes.get_xlim()
        for t in times_ps:
            axes.axvline(t, color=VERMILION, linestyle=":", linewidth=1.0)
        axes.set_xlim(low, high)
    return figure


def basin_borders(axes: Axes) -> None:
    """Borders of the named regions of the map."""
    for phi_from, phi_to, psi_from, psi_to in REGIONS.values():
        for turn_phi in (0.0, 360.0):
            for turn_psi in (0.0, -360.0):
                axes.add_patch(Rectangle((phi_from + turn_phi, psi_from + turn_psi), phi_to - phi_from, psi_to - psi_from, fill=False, edgecolor=BLACK,
                                         linewidth=0.8, linestyle=(0, (4, 3)), zorder=3))


def _basins(axes: Axes, angles: Ramachandran) -> None:
    """The borders, each region with its name and its share where there is any."""
    basin_borders(axes)
    shares = angles.populations()
    white = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for name, (phi_from, phi_to, psi_from, psi_to) in REGIONS.items():
        if shares[name] > 0:
            axes.text((max(phi_from, -180) + min(phi_to, 180)) / 2, (max(psi_from, -180) + min(psi_to, 180)) / 2, f"{name}\n{100 * shares[name]:.0f} %",
                      ha="center", va="center", fontsize=8, zorder=4, path_effects=white)


def time_line(axes: Axes, t: np.ndarray, values: np.ndarray, colour: str, label: str, *, smooth: bool = True) -> None:
    """A line, pale behind its running mean where it is long; a dot where there is one sample."""
    n = len(t)
    mean_too = smooth and n >= 100
    if n > MOST_POINTS:
        size = -(-n // (MOST_POINTS // 4))
        starts = np.arange(0, n, size)
        axes.fill_between(t[starts], np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts), color=colour, linewidth=0,
                          alpha=0.35 if mean_too else 0.9, label=label)
    else:
        axes.plot(t, values, color=colour, alpha=0.35 if mean_too else 1.0, linewidth=0.8 if mean_too else 1.2, label=label,
                  marker="o" if n == 1 else None)
    if mean_too:
        width = max(5, n // 40)
        inside = slice(width // 2, n - width // 2, max(1, n // MOST_POINTS))  # where the window is whole
        span = (t[-1] - t[0]) / (n - 1) * width
        axes.plot(t[inside], running_mean(values, width)[inside], color=colour, linewidth=1.8, label=f"running mean over {span:.2g} ps")
    if n > 1:
        axes.set_xlim(t[0], t[-1])


def colour_bar(figure: Figure, axes: Axes, image: Any, label: str) -> None:
    """As high as the axes, whatever their aspect."""
    figure.colorbar(image, cax=axes.inset_axes((1.04, 0.0, 0.045, 1.0)), label=label)


def _with_mean(name: str, mean: Mean | None, unit: str) -> str:
    return name if mean is None else f"{name}: {plus_minus(mean.value, mean.error)} {unit}"


def _legend(axes: Axes) -> None:
    """Below the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 4), fontsize=9, handlelength=1.6, columnspacing=1.4)
