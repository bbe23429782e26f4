"""Figures of what a potential says of its own doubts, and of how it gets better with more labels."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mdapp.plots.style import BLUE, GREEN, GREY, ORANGE, VERMILION, look, panel


def calibration_curve(expected: np.ndarray, observed: np.ndarray, scaled: np.ndarray, area: float, area_scaled: float, scale: float,
                      spread: np.ndarray, error: np.ndarray, unit: str, title: str = "") -> Figure:  # fmt: skip
    """The calibration curve, and errors against spreads in bins.

    Parameters
    ----------
    expected, observed, scaled : levels and shares, as spreads are and after multiplying them by `scale`.
    spread, error : root mean squares of both in bins of rising spread, in `unit`.
    """
    with look():
        figure = Figure(figsize=(8.4, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.0, label="honest")
        left.fill_between(expected, expected, observed, color=BLUE, alpha=0.15, linewidth=0)
        left.plot(expected, observed, color=BLUE, label=f"as it says (area {area:.3f})")
        left.plot(expected, scaled, color=ORANGE, label=f"spread × {scale:.3g} (area {area_scaled:.3f})")
        left.set(xlabel="share of errors that the spread expects", ylabel="share that is there", xlim=(0, 1), ylim=(0, 1), title=title)
        left.legend(loc="upper left" if area < 0.1 or observed[50] < 0.5 else "lower right")
        both = np.concatenate([spread[spread > 0], error[error > 0]])
        low, high = (0.7 * both.min(), 1.4 * both.max()) if len(both) else (0.1, 1.0)
        right.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1.0)
        right.plot(spread, error, color=BLUE, marker="o", markersize=4)
        right.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel=f"spread / {unit}", ylabel=f"error (RMSE) / {unit}")
        return figure


def error_by_distance(distance: np.ndarray, error: np.ndarray, unit: str, title: str = "") -> Figure:
    """Root mean square errors in bins of the distance from the training set, whose edge is at 1."""
    with look():
        figure, axes = panel(4.8, 3.6)
        axes.axvline(1.0, color=GREY, linestyle="--", linewidth=1.0)
        axes.plot(distance, error, color=BLUE, marker="o", markersize=4)
        axes.set(xlabel="distance from the training set (1: its edge)", ylabel=f"error (RMSE) / {unit}", yscale="log", title=title)
        return figure


def learning_rounds(labels: Sequence[int], curves: Mapping[str, Sequence[float | None]], stable_ps: Sequence[float | None], stable_most_ps: float | None,
                    title: str = "") -> Figure:  # fmt: skip
    """How error and spread fall, and how long dynamics holds, against the number of labels.

    Parameters
    ----------
    labels : of each round.
    curves : by name, such as "held-out force error": values of the rounds in eV/Å, None where there is none.
    stable_ps : time that the dynamics of each round held before a guard broke it.
    stable_most_ps : time after which it was ended anyway.
    """
    with look():
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for (name, values), colour in zip(curves.items(), (BLUE, ORANGE, GREEN, VERMILION)):
            known = [(n, v) for n, v in zip(labels, values) if v is not None and np.isfinite(v) and v > 0]
            if known:
                left.plot(*zip(*known), color=colour, marker="o", markersize=4, label=name)
        left.set(xlabel="labels", ylabel="eV/Å", title=title)
        if left.lines:
            left.set_yscale("log")
            left.legend()
        known = [(n, t) for n, t in zip(labels, stable_ps) if t is not None]
        if known:
            right.plot(*zip(*known), color=GREEN, marker="o", markersize=4)
        if stable_most_ps is not None:
            right.axhline(stable_most_ps, color=GREY, linestyle="--", linewidth=1.0)
        right.set(xlabel="labels", ylabel="time before a guard breaks / ps", ylim=(0, None))
        return figure
