"""Figures of several runs in one frame."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mdapp.analysis.statistics import running_mean
from mdapp.plots.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, look

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
