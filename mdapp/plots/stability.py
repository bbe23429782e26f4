"""Figures of how long potentials hold."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mdapp.analysis.failure_rate import FailureRate
from mdapp.plots.compare import COLOURS
from mdapp.plots.style import look, panel


def failures_against_temperature(found: Mapping[str, Mapping[float, FailureRate]]) -> Figure:
    """Failures per nanosecond against temperature on a logarithmic scale; where none was seen, an arrow down from the upper limit.

    Parameters
    ----------
    found : by potential, and by temperature in K.
    """
    with look():
        figure, axes = panel()
        level = next((rate.level for rates in found.values() for rate in rates.values()), 0.95)
        for k, (name, rates) in enumerate(found.items()):
            colour, kelvin = COLOURS[k % len(COLOURS)], np.array(sorted(rates))
            here = [rates[T] for T in kelvin]
            seen = np.array([rate.failures > 0 for rate in here])
            runs = sum(rate.runs for rate in here)
            label = f"{name} ({sum(rate.failures for rate in here)} of {runs} run{'s' if runs != 1 else ''} failed)"
            nudge = kelvin * (1 + 0.006 * k)  # limits of two potentials at one temperature stand side by side
            rate = np.array([one.per_ns for one in here])
            low, high = (np.array([getattr(one, f"{side}_per_ns") for one in here]) for side in ("low", "high"))
            axes.errorbar(nudge[seen], rate[seen], yerr=[(rate - low)[seen], (high - rate)[seen]], color=colour, marker="o", markersize=5, capsize=3, linewidth=1.2,
                          label=label if seen.any() else None)
            axes.errorbar(nudge[~seen], high[~seen], yerr=0.5 * high[~seen], uplims=True, color=colour, marker="_", markersize=8, linestyle="none", linewidth=1.2,
                          label=None if seen.any() else label)
        axes.set(xlabel="temperature / K", ylabel="failures per ns", yscale="log", title=f"Failures against temperature ({100 * level:g} % limits; arrows: none seen)")
        axes.legend()
        return figure
