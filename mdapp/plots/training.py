"""Figures of a training: how errors, loss and learning rate went."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mdapp.plots.style import BLACK, BLUE, GREY, ORANGE, look

Panel = tuple[str, Sequence[tuple[str, str, str]], bool]  # label of the axis; (column, name, colour) of each line; on a logarithmic scale

PANELS: tuple[Panel, ...] = (
    ("loss", (("train_loss", "training", GREY), ("validation_loss", "validation", BLUE)), True),
    ("energy MAE\nmeV/atom", (("train_energy_mae_meV_atom", "training", GREY), ("validation_energy_mae_meV_atom", "validation", BLUE)), True),
    ("forces MAE\nmeV/Å", (("train_forces_mae_meV_A", "training", GREY), ("validation_forces_mae_meV_A", "validation", BLUE)), True),
    ("learning rate", (("learning_rate", "", ORANGE),), True),
    ("dynamics held\nps", (("stability_ps", "mean of the structures", BLUE),), False),
)


def learning_curves(columns: Mapping[str, np.ndarray], best_step: int | None = None) -> Figure:
    """Loss, errors and learning rate at every validation, one panel above the other; panels without numbers are left out.

    Parameters
    ----------
    columns : of log.csv by name, (n_validations,) each, NaN where there is nothing; "step" is one of them.
    best_step : the step of best.pt, marked by a line.
    """
    panels = [panel for panel in PANELS if any(_has_numbers(columns.get(name)) for name, _, _ in panel[1])]
    with look():
        figure = Figure(figsize=(6.4, 0.8 + 1.55 * len(panels)), layout="constrained")
        for axes, (label, lines, logarithmic) in zip(np.atleast_1d(figure.subplots(len(panels), 1, sharex=True)), panels):
            shown = [(columns[name], title, colour) for name, title, colour in lines if _has_numbers(columns.get(name))]
            for values, title, colour in shown:
                there = np.isfinite(values)
                axes.plot(columns["step"][there], values[there], color=colour, label=title, marker="o" if there.sum() <= 30 else None, markersize=3)
            _scale(axes, logarithmic, np.concatenate([values for values, _, _ in shown]))
            if best_step is not None:
                axes.axvline(best_step, color=BLACK, linestyle="--", linewidth=1.0)
            axes.set_ylabel(label)
            if any(title for _, title, _ in shown):
                axes.legend(loc="best")
        axes.set_xlabel("step")
        figure.axes[0].set_title("Learning curves" + ("" if best_step is None else f"; best.pt is from step {best_step}"))
        return figure


def _has_numbers(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.isfinite(values).any())


def _scale(axes: Axes, logarithmic: bool, values: np.ndarray) -> None:
    """Logarithmic with readable numbers where all values are above 0, from 0 on elsewhere."""
    values = values[np.isfinite(values)]
    if not logarithmic or not (values > 0).all():
        axes.set_ylim(min(0.0, float(values.min())), None)
        return
    axes.set_yscale("log")
    decades = np.log10(values.max() / values.min())
    if decades < 2.5:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-"))
    axes.yaxis.set_minor_formatter(lambda value, _: "")
