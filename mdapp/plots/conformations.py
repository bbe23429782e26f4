"""Figures of conformations: contacts, clusters, torsions, the distance between ends, the free energy over phi and psi."""
from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from mdapp.analysis.clusters import Clusters
from mdapp.analysis.contacts import ContactMap
from mdapp.analysis.free_energy import FreeEnergySurface
from mdapp.analysis.shape import EndToEnd
from mdapp.analysis.statistics import plus_minus
from mdapp.analysis.torsions import TorsionSeries
from mdapp.plots.figures import basin_borders, colour_bar, time_line
from mdapp.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SEQUENTIAL, SKY, VERMILION, YELLOW, look, panel

MOST_CLUSTERS = 8  # each with a colour of its own
MOST_ROWS = 8  # torsions that are drawn against time; of more only the distributions
MOST_DOTS = 3000
MOST_LABELS = 30
_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, BLACK)


def contact_map(found: ContactMap) -> Figure:
    """Mean distances of residues above the diagonal, below it the share of frames in which they touch; small maps have the errors written in."""
    with look():
        n = len(found.residues)
        side = float(np.clip(1.9 + 0.33 * n, 3.6, 6.6))
        figure, axes = panel(side + 1.6, side)
        above = np.tril(np.ones((n, n), dtype=bool), -1)  # rows run upwards: of these the row is the higher one
        distance, share = np.where(above, found.distance_A, np.nan), np.where(above.T, 100 * found.share, np.nan)
        image = axes.imshow(distance, origin="lower", cmap=SEQUENTIAL, interpolation="nearest")
        touch = axes.imshow(share, origin="lower", cmap="Greys", vmin=0, vmax=100, interpolation="nearest")
        if n <= 8:
            for i, j in zip(*np.nonzero(np.isfinite(distance))):
                _write_in(axes, j, i, found.distance_A[i, j], found.distance_error_A[i, j], found.distance_A[i, j] > np.nanmean(distance))
                _write_in(axes, i, j, 100 * found.share[i, j], 100 * found.share_error[i, j], found.share[i, j] < 0.5)
        every = -(-n // MOST_LABELS)
        axes.set_xticks(range(0, n, every), found.residues[::every], rotation=90, fontsize=7)
        axes.set_yticks(range(0, n, every), found.residues[::every], fontsize=7)
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="mean distance / Å (above the diagonal)", shrink=0.8, pad=0.02)
        figure.colorbar(touch, ax=axes, label="in contact / % (below)", shrink=0.8, pad=0.02)
        kind = {"heavy": "closest heavy atoms", "ca": "alpha carbons"}[found.scheme]
        axes.set(title=f"Contacts: {kind} below {found.cutoff_A:g} Å,\n{found.n_frames} frames")
        return figure


def clusters(found: Clusters) -> Figure:
    """How much of the time each conformer is there, with its error, and which is there when."""
    with look():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes, side = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        shares = found.populations()
        n = min(len(shares), MOST_CLUSTERS)
        rank = np.minimum(found.labels, n)  # the rest together
        colours = [*_COLOURS[:n], GREY]
        for k in range(n + 1):
            here = rank == k
            axes.plot(found.time_ps[here], rank[here], linestyle="none", marker="|", markersize=7, color=colours[k])
        values = [100 * one.value for one in shares[:n]]
        errors = [100 * one.error if np.isfinite(one.error) else 0.0 for one in shares[:n]]
        side.barh(range(n), values, xerr=errors, color=colours[:n], height=0.65, error_kw={"elinewidth": 0.9, "capsize": 2})
        if len(shares) > n:
            side.barh([n], [100 * float(np.mean(found.labels >= n))], color=GREY, height=0.65)
        names = [f"{k + 1}" for k in range(n)] + ([f"{len(shares) - n} more"] if len(shares) > n else [])
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="time / ps", ylabel="conformer", ylim=(len(names) - 0.4, -0.6),
                 title=f"{len(shares)} conformer{'s' if len(shares) != 1 else ''} ({found.method}, RMSD {found.cutoff_A:g} Å)")
        side.set(xlabel="share of frames / %", xlim=(0, 100))
        for one in (axes, side):
            one.grid(visible=False, axis="y")
        if len(found.time_ps) > 1:
            axes.set_xlim(found.time_ps[0], found.time_ps[-1])
        return figure


def torsions(found: TorsionSeries) -> Figure:
    """Each torsion against time with its distribution at the side; of many torsions the distributions alone."""
    with look():
        if len(found.names) > MOST_ROWS:
            return _many_torsions(found)
        n = len(found.names)
        figure = Figure(figsize=(6.4, 0.9 + 1.15 * n), layout="constrained")
        rows = figure.subplots(n, 2, sharex="col", sharey="row", width_ratios=(5, 1), squeeze=False)
        stride = max(1, len(found.time_ps) // MOST_DOTS)
        for k, (axes, side) in enumerate(rows):
            angles, low = _on_one_branch(found.angles_deg[:, k])
            axes.plot(found.time_ps[::stride], angles[::stride], linestyle="none", marker=".", markersize=2.5 if len(angles) > 200 else 5, color=BLUE, alpha=0.6)
            side.hist(angles, bins=np.linspace(low, low + 360, 37), orientation="horizontal", color=BLUE, density=True)
            side.set(xticks=[])
            axes.set_ylabel(f"{_greek(found.names[k])}\ndegrees", fontsize=8)
            axes.set_ylim(low, low + 360)
            axes.yaxis.set_major_locator(MultipleLocator(120))
        rows[0, 0].set_title("Torsions")
        rows[-1, 0].set_xlabel("time / ps")
        rows[-1, 1].set_xlabel("share")
        return figure


def _on_one_branch(angles: np.ndarray) -> tuple[np.ndarray, float]:
    """Angles and where their axis begins: at 0 where most are nearer to trans, so that those about 180° stand together."""
    trans = float(np.mean(np.abs(angles) > 90)) > 0.5
    return (angles % 360.0, 0.0) if trans else (angles, -180.0)


def _many_torsions(found: TorsionSeries) -> Figure:
    edges = np.linspace(-180, 180, 73)
    share = np.stack([np.histogram(column, edges)[0] for column in found.angles_deg.T]) / len(found.time_ps)
    figure, axes = panel(6.4, 1.4 + 0.17 * min(len(share), 45))
    image = axes.imshow(100 * share, aspect="auto", interpolation="nearest", cmap=SEQUENTIAL.reversed(), extent=(-180, 180, len(share) - 0.5, -0.5))
    every = -(-len(share) // 45)
    axes.set_yticks(range(0, len(share), every), [_greek(name) for name in found.names[::every]], fontsize=7)
    axes.xaxis.set_major_locator(MultipleLocator(60))
    axes.grid(visible=False)
    axes.set(xlabel="angle / degrees", title=f"Distributions of {len(share)} torsions, {len(found.time_ps)} frames")
    figure.colorbar(image, ax=axes, label="share of frames in 5° / %", pad=0.02)
    return figure


def end_to_end(found: EndToEnd) -> Figure:
    """The distance between the ends against time."""
    with look():
        figure, axes = panel()
        time_line(axes, found.time_ps, found.distance_A, PURPLE, "distance")
        axes.set(xlabel="time / ps", ylabel="distance / Å", title=f"End to end: {' to '.join(found.ends)}")
        return figure


def free_energy(found: FreeEnergySurface) -> Figure:
    """Free energy over phi and psi with the borders of the basins, and the error of every bin beside it."""
    with look():
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, values, label, cmap in zip(panels, (found.F_kJ_mol, found.error_kJ_mol), ("free energy", "standard error"), (SEQUENTIAL, "Oranges")):
            image = axes.pcolormesh(found.edges_deg, found.edges_deg, values.T, cmap=cmap, vmin=0, rasterized=True)
            colour_bar(figure, axes, image, f"{label} / kJ/mol")
            basin_borders(axes)
            axes.set(xlabel="φ / degrees", xlim=(-180, 180), ylim=(-180, 180), aspect="equal")
            axes.xaxis.set_major_locator(MultipleLocator(90))
            axes.yaxis.set_major_locator(MultipleLocator(90))
        panels[0].set(ylabel="ψ / degrees", title=f"Free energy at {found.temperature_K:.4g} K")
        panels[1].set(title="and its error")
        return figure


def _write_in(axes: Axes, x: int, y: int, value: float, error: float, dark: bool) -> None:
    axes.text(x, y, plus_minus(value, error).replace(" ± ", "\n±"), ha="center", va="center", fontsize=6.5, color=BLACK if dark else "white")


def _greek(name: str) -> str:
    kind, _, where = name.partition(" ")
    letters = {"phi": "φ", "psi": "ψ", "omega": "ω"} | {f"chi{k}": f"χ{k}" for k in range(1, 6)}
    return f"{letters.get(kind, kind)} {where}"
