"""Figures of several runs in one frame."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mdapp.analysis.statistics import running_mean
from mdapp.plots.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, look, panel

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, YELLOW)
MOST_POINTS = 2000


def overlay(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, title: str = "") -> Figure:
    """Series of several runs against time, each by its running mean, and their distributions at the side.

    Parameters
    ----------
    curves : times (n_samples,) in ps and values (n_samples,) by the run's name.
    label : of the axis, with its unit.
    """
    with look():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes, side = figure.subplots(1, 2, width_ratios=(4, 1), sharey=True)
        values = np.concatenate([v for _, v in curves.values()])
        bins = np.linspace(float(values.min()), float(values.max()) or 1.0, 41) if np.ptp(values) > 0 else 10
        for k, (name, (t, v)) in enumerate(curves.items()):
            colour, stride = COLOURS[k % len(COLOURS)], max(1, len(t) // MOST_POINTS)
            axes.plot(t[::stride], running_mean(v, max(1, len(v) // 40))[::stride], color=colour, linewidth=1.2, label=name if k < 10 else None)
            side.hist(v, bins=bins, orientation="horizontal", histtype="step", color=colour, density=True)
        axes.set(xlabel="time / ps", ylabel=label, title=title)
        side.set(xlabel="share", xticks=[])
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 4), fontsize=9)
        return figure


def groups(values: Mapping[str, Sequence[tuple[float, float]]], names: Sequence[str], label: str) -> Figure:
    """A group of points with error bars for each label, one a run; the last, of all runs, in black.

    Parameters
    ----------
    values : value and standard error of each of `names`, by label.
    label : of the axis, with its unit.
    """
    with look():
        figure, axes = panel(6.4, 3.4)
        n = len(names)
        for k, name in enumerate(names):
            at = np.arange(len(values)) + 0.6 * ((k + 0.5) / n - 0.5)
            centre, error = np.array([one[k] for one in values.values()]).T
            colour = BLACK if k == n - 1 else COLOURS[k % len(COLOURS)]
            axes.errorbar(at, centre, yerr=np.where(np.isfinite(error), error, 0.0), fmt="D" if k == n - 1 else "o", color=colour, markersize=5, elinewidth=1.0,
                          capsize=2, label=name)
        axes.set_xticks(range(len(values)), list(values))
        axes.set(ylabel=label, ylim=(0, None), xlim=(-0.6, len(values) - 0.4))
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside lower center", ncols=min(n, 5), fontsize=9)
        return figure
