"""Figures of structure as distributions: bonds and angles, all distances, the structure factor; each with a reference trajectory beside it where there is one."""
from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdapp.analysis.bond_statistics import BondStatistics, Distribution
from mdapp.analysis.stability import DistanceHistogram
from mdapp.analysis.structure_factor import StructureFactor
from mdapp.plots.style import BLACK, BLUE, GREY, ORANGE, look, panel

MOST_KINDS = 12  # panels of a figure, the commonest kinds
ACROSS = 4


def bond_statistics(found: BondStatistics, reference: BondStatistics | None = None) -> Figure:
    """Distributions of bond lengths and angles by kind, with their error bands; the start (dotted) and the reference (dashed) beside them."""
    with look():
        kinds = [*_commonest(found.bonds, MOST_KINDS // 2), *_commonest(found.angles, MOST_KINDS // 2)]
        rows = -(-len(kinds) // ACROSS)
        figure = Figure(figsize=(7.6, 0.9 + 1.6 * rows), layout="constrained")
        panels = np.ravel(figure.subplots(rows, ACROSS, squeeze=False))
        known = {} if reference is None else reference.bonds | reference.angles
        for axes, one in zip(panels, kinds):
            _distribution(axes, one, known.get(one.kind))
        for axes in panels[len(kinds):]:
            axes.set_visible(False)
        beside = "" if reference is None else f"; dashed: the reference, {reference.n_frames} frames"
        figure.suptitle(f"Bonds and angles, {found.n_frames} frames (dotted: the start{beside})", fontsize=11, x=0.01, ha="left")
        figure.supylabel("probability density", fontsize=9)
        return figure


def distance_histogram(found: DistanceHistogram, reference: DistanceHistogram | None = None) -> Figure:
    """The distribution of all distances with its error band, and that of a reference."""
    with look():
        figure, axes = panel()
        band(axes, found.r_A, found.h_per_A, found.error_per_A, BLUE, f"{found.n_frames} frames")
        if reference is not None:
            band(axes, reference.r_A, reference.h_per_A, reference.error_per_A, ORANGE, f"reference, {reference.n_frames} frames", "--")
            axes.legend()
        end = found.r_A[np.flatnonzero(found.h_per_A > 0)[-1]] if (found.h_per_A > 0).any() else found.r_A[-1]
        axes.set(xlabel="distance / Å", ylabel="h(r) / 1/Å", title="Distances between all atoms", xlim=(0, 1.05 * end), ylim=(0, None))
        return figure


def structure_factor(found: StructureFactor) -> Figure:
    """S(k) with the errors of its shells."""
    with look():
        figure, axes = panel()
        doubt = np.nan_to_num(found.S_error, posinf=0.0)
        axes.errorbar(found.k_per_A, found.S, yerr=doubt, color=BLUE, ecolor=GREY, elinewidth=0.8, linewidth=1.0, marker=".", markersize=3)
        axes.axhline(1.0, color=GREY, linewidth=0.8)
        axes.set(xlabel="k / 1/Å", ylabel="S(k)", title="Structure factor of all atoms", xlim=(0, found.k_per_A[-1]), ylim=(0, None))
        return figure


def band(axes: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray, colour: str, label: str = "", style: str = "-") -> None:
    """A line in the band of its standard error."""
    doubt = np.where(np.isfinite(error), error, 0.0)
    axes.fill_between(x, y - doubt, y + doubt, color=colour, alpha=0.25, linewidth=0)
    axes.plot(x, y, color=colour, linestyle=style, label=label)


def _distribution(axes: Axes, one: Distribution, reference: Distribution | None) -> None:
    band(axes, one.centres, one.density, one.density_error, BLUE)
    if reference is not None:
        axes.plot(reference.centres, reference.density, color=ORANGE, linestyle="--", linewidth=1.0)
    axes.axvline(one.start, color=BLACK, linestyle=":", linewidth=1.0)
    width = max(4 * one.deviation, one.edges[1] - one.edges[0], abs(one.start - one.mean) + one.deviation)
    middle = float(np.clip(one.mean, one.edges[0], one.edges[-1]))
    axes.set(xlim=(max(middle - width, one.edges[0]), min(middle + width, one.edges[-1])), ylim=(0, None), yticks=[])
    axes.set_title(f"{one.kind} ({one.count})", fontsize=8)
    axes.set_xlabel("Å" if one.unit == "Å" else "degrees", fontsize=8, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_major_locator().set_params(nbins=4)


def _commonest(group: dict[str, Distribution], most: int) -> list[Distribution]:
    return sorted(sorted(group.values(), key=lambda one: -one.count)[:most], key=lambda one: one.kind)
