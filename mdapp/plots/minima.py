"""Pictures of a landscape of minima: its disconnectivity graph, energy against distance, Ramachandran map, populations, network, discovery.

Everything is computed in `mdapp.minima`; what comes in here are arrays and the lines of a `Drawing`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from mdapp.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SEQUENTIAL, SKY, VERMILION, look, panel

if TYPE_CHECKING:
    from mdapp.minima.landscape.disconnectivity import Drawing

FAMILY = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, "#7a4b1e", "#9a9a00", GREY)  # colours of regions, in the order in which they come
MIXED = "mixed"  # a family that is none, grey
LABELLED = 30  # leaves that are named in a tree; more would hide each other


def disconnectivity(drawing: Drawing, names: Mapping[int, str] | None = None, families: Mapping[int, str] | None = None, note: str = "") -> Figure:
    """The disconnectivity graph: branches end at minima and meet where these can reach each other.

    Parameters
    ----------
    names : of minima, written below the leaves where there are few.
    families : name of the family (a region) of a minimum, which colours its own line; lines of several minima are dark.
    note : a few words after the title.
    """
    n = len(drawing.leaves)
    with look():
        figure, axes = panel(float(np.clip(3.5 + 0.11 * n, 5.2, 11.0)), 5.0)
        colours = _colours([] if families is None else [families[k] for k in sorted(drawing.leaves) if k in families])
        chosen = [colours.get((families or {}).get(int(k), ""), BLACK) if one else "#444444" for k, one in zip(drawing.lowest_of, drawing.single, strict=True)]
        width = 1.3 if n <= 120 else 0.8 if n <= 600 else 0.5
        axes.add_collection(LineCollection(list(drawing.lines), colors=chosen, linewidths=width, capstyle="round"))
        if n <= LABELLED:
            for k, (x, energy) in drawing.leaves.items():
                axes.annotate((names or {}).get(k, str(k)), (x, energy), xytext=(0, -4), textcoords="offset points", ha="center", va="top",
                              fontsize=8, rotation=90 if n > 12 else 0, color=colours.get((families or {}).get(k, ""), BLACK))
        xs = [x for x, _ in drawing.leaves.values()] or [0.0]
        margin = 0.02 * (max(xs) - min(xs)) + 0.6
        room = 0.12 if n <= LABELLED else 0.03
        axes.set(xlim=(min(xs) - margin, max(xs) + margin), ylim=(-room * drawing.top, 1.02 * drawing.top), ylabel="energy above the lowest minimum / eV",
                 xlabel=f"{n} {'minima' if n != 1 else 'minimum'}", title="Disconnectivity graph" + (f", {note}" if note else ""))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x", visible=False)
        _family_legend(axes, colours)
        return figure


def energy_distance(distance: np.ndarray, energy: np.ndarray, families: Sequence[str] | None = None, left_out: int = 0) -> Figure:
    """Energy above the lowest minimum, eV, against the distance from it, Å; both (n_minima,)."""
    with look():
        figure, axes = panel(5.6, 4.0)
        n = len(energy)
        size = 20 if n < 200 else 8 if n < 2000 else 4
        colours = _colours(list(families or []))
        order = np.argsort(-energy)
        shown = BLUE if families is None else [colours[families[k]] for k in order]
        axes.scatter(distance[order], energy[order], s=size, c=shown, alpha=0.75, linewidths=0, clip_on=False)
        axes.set(xlabel="RMSD from the lowest minimum / Å", ylabel="energy above it / eV", xlim=(0, None), ylim=(0, None),
                 title=f"{n} minima" + (f" (the lowest of {n + left_out})" if left_out else ""))
        _family_legend(axes, colours)
        return figure


def ramachandran(residues: Sequence[str], phi_deg: np.ndarray, psi_deg: np.ndarray, energy: np.ndarray,
                 boxes: Mapping[str, tuple[float, float, float, float]] | None = None, most: int = 6) -> Figure:
    """Minima on the Ramachandran map, one panel a residue, coloured by their energy above the lowest, the low ones on top.

    Parameters
    ----------
    phi_deg, psi_deg : (n_minima, n_residues), degrees.
    energy : (n_minima,), eV.
    boxes : named regions, phi from and to, psi from and to, drawn behind.
    most : residues that are drawn, from the first on.
    """
    shown = min(len(residues), most)
    columns = min(shown, 3)
    rows = -(-shown // columns)
    with look():
        figure = Figure(figsize=(1.1 + 3.5 * columns, 0.6 + 3.4 * rows), layout="constrained")
        panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True)).ravel()
        order = np.argsort(-energy)
        size = 26 if len(energy) < 100 else 12 if len(energy) < 1000 else 6
        top = float(np.percentile(energy, 98)) if len(energy) else 1.0
        for k, axes in enumerate(panels):
            if k >= shown:
                axes.set_visible(False)
                continue
            for name, box in (boxes or {}).items():
                _box(axes, name, box, label=shown == 1)
            image = axes.scatter(phi_deg[order, k], psi_deg[order, k], c=energy[order], cmap=SEQUENTIAL, vmin=0, vmax=max(top, 1e-3), s=size,
                                 linewidths=0.4, edgecolors="#33333388")
            best = int(np.argmin(energy))
            axes.scatter(phi_deg[best, k], psi_deg[best, k], s=90, facecolors="none", edgecolors=VERMILION, linewidths=1.6)
            axes.set(xlim=(-180, 180), ylim=(-180, 180), aspect="equal", title=residues[k])
            axes.xaxis.set_major_locator(MultipleLocator(90))
            axes.yaxis.set_major_locator(MultipleLocator(90))
            if k >= shown - columns:
                axes.set_xlabel("φ / degrees")
                axes.xaxis.set_tick_params(labelbottom=True)
            if k % columns == 0:
                axes.set_ylabel("ψ / degrees")
        beyond = "max" if len(energy) and energy.max() > top else "neither"
        figure.colorbar(image, ax=list(panels[:shown]), label="energy above the lowest minimum / eV", shrink=0.85, extend=beyond)
        left = f", {len(residues) - shown} more residues" if shown < len(residues) else ""
        figure.suptitle(f"{len(energy)} minima, the lowest is ringed{left}", fontsize=10, color="#555555")
        return figure


def populations(names: Sequence[str], shares: np.ndarray, temperature_K: float, basis: str, families: Sequence[str] | None = None, most: int = 15) -> Figure:
    """Shares of the most populated minima as bars."""
    order = np.argsort(-shares)[:most]
    order = order[: max(4, int(np.sum(shares[order] >= 0.001)))]  # bars that cannot be seen say nothing
    with look():
        figure, axes = panel(5.6, 1.2 + 0.26 * len(order))
        colours = _colours([families[k] for k in order] if families else [])
        shown = BLUE if not families else [colours[families[k]] for k in order]
        bars = axes.barh(np.arange(len(order)), 100 * shares[order], color=shown, height=0.7)
        axes.bar_label(bars, [f"{100 * s:.1f}" if s >= 0.001 else "< 0.1" for s in shares[order]], padding=3, fontsize=8)
        axes.set_yticks(np.arange(len(order)), [names[k] for k in order])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        rest = 100 * (1 - shares[order].sum())
        axes.set(xlabel=f"share at {temperature_K:g} K / %" + (f"   (the other {len(shares) - len(order)}: {rest:.1f} %)" if len(shares) > len(order) else ""),
                 ylabel="minimum", xlim=(0, 112 * float(shares.max())))
        figure.suptitle(f"Populations {basis}", fontsize=9, color="#555555", x=0.02, ha="left", wrap=True)
        _family_legend(axes, colours)
        return figure


def network(places: np.ndarray, energy: np.ndarray, saddles: Sequence[tuple[int, int]], transitions: Sequence[tuple[int, int]], labels: Sequence[str] | None = None) -> Figure:
    """Minima as dots, saddles as lines between them, transitions that a search saw as pale lines.

    Parameters
    ----------
    places : (n_minima, 2) where each is drawn.
    energy : (n_minima,), eV above the lowest.
    saddles, transitions : pairs of numbers of `places`.
    """
    with look():
        figure, axes = panel(6.4, 4.8)
        if len(transitions):
            axes.add_collection(LineCollection([places[list(p)] for p in transitions], colors="#c8c8c8", linewidths=0.7 if len(transitions) < 200 else 0.3,
                                               label="transition of the search"))
        if len(saddles):
            axes.add_collection(LineCollection([places[list(p)] for p in saddles], colors=VERMILION, linewidths=1.3, label="saddle"))
        image = axes.scatter(places[:, 0], places[:, 1], c=energy, cmap=SEQUENTIAL, s=42 if len(energy) < 60 else 16, zorder=3, edgecolors=BLACK, linewidths=0.4)
        figure.colorbar(image, ax=axes, label="energy above the lowest minimum / eV")
        for k, text in enumerate(labels or []):
            axes.annotate(text, places[k], xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.margins(0.07)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="laid out by distance in shape", ylabel="", title=f"{len(energy)} minima, {len(saddles)} joined pairs", xticks=[], yticks=[])
        if len(saddles) or len(transitions):
            handles, texts = axes.get_legend_handles_labels()
            figure.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=9)
        return figure


def discovery(evaluations: np.ndarray, found: np.ndarray, unit: str = "evaluations of the potential") -> Figure:
    """How many distinct minima were known after so many evaluations; both (n_arrivals,)."""
    with look():
        figure, axes = panel(5.6, 3.2)
        axes.step(evaluations, found, where="post", color=BLUE)
        axes.set(xlabel=unit, ylabel="distinct minima", ylim=(0, None), title=f"{int(found[-1]) if len(found) else 0} minima found")
        if len(evaluations) > 1:
            axes.set_xlim(evaluations[0], evaluations[-1])
        return figure


def agreement(energy: np.ndarray, reference: np.ndarray, moved: np.ndarray, kept: np.ndarray, name: str, reference_name: str, rmsd_max: float) -> Figure:
    """What becomes of minima of a potential when another one relaxes them: how far they move, and whether the energies keep their order.

    Parameters
    ----------
    energy, reference : (n_minima,), eV above the lowest of each.
    moved : (n_minima,), Å, RMSD between a minimum and where the reference relaxes it to.
    kept : (n_minima,) bool, whether that is still the same conformer and a minimum.
    rmsd_max : Å, drawn as a line.
    """
    with look():
        figure = Figure(figsize=(9.2, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        bins = np.linspace(0, max(float(moved.max(initial=0.0)), 1.2 * rmsd_max), 41)
        left.hist([moved[kept], moved[~kept]], bins=bins, stacked=True, color=[BLUE, VERMILION],
                  label=[f"the same conformer ({kept.sum()})", f"another one ({(~kept).sum()})"])
        left.axvline(rmsd_max, color=BLACK, linestyle="--", linewidth=1.0)
        left.set(xlabel=f"RMSD after relaxing with {reference_name} / Å", ylabel="minima", title=f"{100 * kept.mean():.0f} % are minima of {reference_name} too")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2)
        for chosen, colour in ((~kept, VERMILION), (kept, BLUE)):
            right.scatter(reference[chosen], energy[chosen], s=10, color=colour, alpha=0.6, linewidths=0)
        top = 1.05 * float(max(reference.max(initial=0.0), energy.max(initial=0.0), 1e-3))
        right.plot([0, top], [0, top], color=BLACK, linestyle="--", linewidth=1.0)
        right.set(xlabel=f"{reference_name}, after relaxing / eV", ylabel=f"{name} / eV", xlim=(-0.02 * top, top), ylim=(-0.02 * top, top), aspect="equal",
                  title="Energies above the lowest minimum")
        return figure


def _colours(families: Sequence[str]) -> dict[str, str]:
    """A colour for each family, the commonest first; what comes after the last colour is grey."""
    names, counts = np.unique(np.array([f for f in families if f], dtype=object), return_counts=True) if any(families) else (np.array([]), np.array([]))
    ordered = [names[k] for k in np.lexsort((names.astype(str), -counts))] if len(names) else []
    own = [name for name in ordered if name != MIXED]
    return {"": BLACK, **{name: FAMILY[k] if k < len(FAMILY) else GREY for k, name in enumerate(own)}, **({MIXED: GREY} if MIXED in ordered else {})}


def _family_legend(axes: Axes, colours: Mapping[str, str]) -> None:
    named = [(name, colour) for name, colour in colours.items() if name][: len(FAMILY) + 1]
    if len(named) > 1:
        handles = [Line2D([], [], color=colour, marker="o", linestyle="none", markersize=5) for _, colour in named]
        columns = 5 if max(len(name) for name, _ in named) < 10 else 3
        axes.figure.legend(handles, [name for name, _ in named], loc="outside lower center", ncols=min(len(named), columns), fontsize=9, handlelength=1.0,
                           columnspacing=1.2)


def _box(axes: Axes, name: str, box: tuple[float, float, float, float], *, label: bool) -> None:
    """A region's outline, also where it passes through 180 degrees."""
    phi_from, phi_to, psi_from, psi_to = box
    for a in (-360, 0, 360):
        for b in (-360, 0, 360):
            axes.plot(np.array([phi_from, phi_to, phi_to, phi_from, phi_from]) + a, np.array([psi_from, psi_from, psi_to, psi_to, psi_from]) + b,
                      color="#d0d0d0", linewidth=0.8, zorder=0)
    if label:
        x, y = max(phi_from, -180.0) + 4, min(psi_to, 180.0) - 4
        axes.text(x, y, name, fontsize=7, color=GREY, va="top", ha="left", zorder=1)
