"""Survival curves: the estimate by Kaplan and Meier with its band, and the figure of a study of many runs.

E. L. Kaplan and P. Meier, J. Am. Stat. Assoc. 53, 457 (1958); the band is Greenwood's, on the log-log scale.
"""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rows = Sequence[dict[str, Any]]


def kaplan_meier(times: np.ndarray, failed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The share that survives beyond each time of a failure, and the bounds that hold it with 95 %.

    Parameters
    ----------
    times : (n,) when each run failed or ended.
    failed : (n,) bool; False where it was still sound.

    Returns
    -------
    Times (n + 1 at most,) from 0 on, the share, its lower and its upper bound. Where all that were left have failed nothing bounds the share from below.
    """
    from scipy import stats

    curve = stats.ecdf(stats.CensoredData.right_censored(np.asarray(times, float), ~np.asarray(failed, bool))).sf
    with warnings.catch_warnings():  # the formula says nothing where the share is 0 or 1
        warnings.simplefilter("ignore", RuntimeWarning)
        band = curve.confidence_interval(0.95, method="log-log")
    at, share = np.append(0.0, curve.quantiles), np.append(1.0, curve.probabilities)
    low = np.where(share == 1.0, 1.0, np.nan_to_num(np.append(1.0, band.low.probabilities), nan=0.0))
    high = np.append(1.0, band.high.probabilities)
    high[(share == 1.0)] = 1.0
    for k in np.flatnonzero(np.isnan(high)):  # all that were left have failed: no higher than before
        high[k] = high[k - 1]
    return at, share, low, high


def groups_of(rows: Rows) -> dict[tuple[str, float], tuple[np.ndarray, np.ndarray]]:
    """Times in ps and failures (n_runs,) each, by potential and temperature."""
    keys = dict.fromkeys((r["potential"], float(r["temperature_K"])) for r in rows)
    chosen = {key: [r for r in rows if (r["potential"], float(r["temperature_K"])) == key] for key in keys}
    return {key: (np.array([r["time_ps"] for r in group], float), np.array([int(r["failed"]) == 1 for r in group])) for key, group in chosen.items()}


def draw(rows: Rows, path: Path) -> Path:
    """Survival by potential and temperature, and below it how far each run came: a line a structure, a mark a run.

    Times are on a logarithmic scale, since runs of small and of large structures differ in length by orders of magnitude.
    """
    from mdapp.plots import style

    colours = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.SKY, style.PURPLE, style.BLACK)
    groups = groups_of(rows)
    ended = np.array([float(r["time_ps"]) for r in rows])
    begin = 10 ** np.floor(np.log10(max(min(ended[ended > 0], default=1e-3), 1e-4)) - 0.3)
    sizes = {r["structure"]: int(r["atoms"]) for r in rows}
    names = sorted(sizes, key=lambda name: (sizes[name], name))
    with style.look():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9.0, 4.4 + 0.21 * len(names)), layout="constrained")
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 0.6 + 0.21 * len(names)])
        for n, (colour, ((potential, temperature), (times, failed))) in enumerate(zip(colours * len(groups), groups.items())):
            t, share, low, high = kaplan_meier(times, failed)
            t, share, low, high = (np.append(v, v[-1] if v is not t else times.max()) for v in (t, share, low, high))
            t[0] = begin
            label = f"{potential}, {temperature:g} K: {int(failed.sum())} of {len(times)} failed in {times.sum():.3g} ps"
            top.step(t, share, where="post", color=colour, label=label, linewidth=1.8)
            if failed.any():
                top.fill_between(t, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
            at = np.searchsorted(t, times[~failed], side="right") - 1
            top.plot(times[~failed], share[at], "|", color=colour, markersize=9)
            here = [r for r in rows if (r["potential"], float(r["temperature_K"])) == (potential, temperature)]
            level = np.array([names.index(r["structure"]) for r in here]) + 0.5 * ((n + 0.5) / len(groups) - 0.5)
            for bad, marker in ((False, "|"), (True, "x")):
                below.plot(times[failed == bad], level[failed == bad], marker, color=colour, markersize=6, markeredgewidth=1.6)
            below.hlines(level, begin, times, color=colour, linewidth=0.9, alpha=0.45)
        top.set(ylabel="share of runs still sound", ylim=(-0.03, 1.06), title="Survival (Kaplan-Meier, 95 %)")
        top.legend(loc="lower left", bbox_to_anchor=(0.0, 0.02))
        below.set(xlabel="time / ps", xscale="log", xlim=(begin, 1.4 * max(ended.max(), 10 * begin)), ylim=(len(names) - 0.4, -0.6))
        below.set_title("How far each run came (|: ended sound, x: stopped by a guard)")
        below.set_yticks(range(len(names)), [f"{name} ({sizes[name]})" for name in names])
        return style.save(figure, path)
