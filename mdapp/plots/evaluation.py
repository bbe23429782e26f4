"""Figures of an evaluation: predictions against labels, and where the errors sit."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mdapp.plots.style import BLUE, GREY, ORANGE, SEQUENTIAL, look, panel

DOTS = 5000  # points up to which each is drawn; more are shown as a density


def parity(reference: np.ndarray, predicted: np.ndarray, quantity: str, unit: str, error_unit: str | None = None, error_scale: float = 1.0,
           errors: tuple[float, float] | None = None, n_values: int | None = None, title: str = "") -> Figure:
    """Predicted against reference values, with MAE and RMSE in a corner.

    Parameters
    ----------
    reference, predicted : any equal shape, in `unit`.
    quantity : such as "energy per atom" or "force component".
    error_unit, error_scale : unit of the errors shown and its size, such as "meV" and 1000 for values in eV.
    errors : MAE and RMSE in `error_unit`, where the values are a sample of more; of the values when not given.
    n_values : how many values the errors are of, where the values are a sample.
    """
    with look():
        x, y = _finite_pairs(reference, predicted)
        figure, axes = panel(5.6 if len(x) > DOTS else 4.6, 4.4)
        _parity_into(figure, axes, x, y, bar=True)
        mae, rmse = errors or _errors(x, y, error_scale)
        _corner(axes, f"MAE {mae:.3g} {error_unit or unit}\nRMSE {rmse:.3g} {error_unit or unit}\n{_count(n_values or len(x), len(x))}")
        axes.set(xlabel=f"reference {quantity} / {unit}", ylabel=f"predicted {quantity} / {unit}", title=title)
        return figure


def energy_errors(reference: np.ndarray, error_meV: np.ndarray, molecules: Sequence[str], title: str = "") -> Figure:
    """Errors of energies per atom against their labels, with a histogram of the errors at the side; each molecule from its own mean label.

    Parameters
    ----------
    reference : (n,) labels per atom, eV.
    error_meV : (n,) prediction less label, meV/atom.
    molecules : (n,) what shares a mean; total energies of molecules lie far apart, and what matters is how the error follows the energy within one.
    """
    with look():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes, side = figure.subplots(1, 2, width_ratios=(4, 1), sharey=True)
        good = np.isfinite(reference) & np.isfinite(error_meV)
        x, y = 1000 * _from_means(reference[good], np.asarray(molecules, dtype=object)[good]), error_meV[good]
        axes.axhline(0, color=GREY, linewidth=1.0, zorder=1)
        if len(x) <= DOTS:
            axes.scatter(x, y, s=_dot(len(x)), color=BLUE, alpha=0.5, linewidths=0, zorder=2)
        else:
            _density(axes, x, y, (_span(x), _span(y)))
        mean = float(y.mean()) if len(y) else 0.0
        for ax in (axes, side):
            ax.axhline(mean, color=ORANGE, linestyle="--", linewidth=1.2, zorder=3)
        side.hist(y, bins=60 if len(y) > 100 else 15, orientation="horizontal", color=BLUE, alpha=0.7)
        side.set(xlabel="frames")
        side.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.set(xlabel="reference energy per atom, from its molecule's mean / meV", ylabel="error / meV per atom",
                 title=title or f"Energy errors: mean {mean:+.3g}, spread {float(y.std()):.3g} meV/atom")
        return figure


def forces_by_element(samples: dict[str, tuple[np.ndarray, np.ndarray]], errors: dict[str, tuple[float, float]], counts: dict[str, int]) -> Figure:
    """Parity of force components, one panel an element.

    Parameters
    ----------
    samples : by symbol: labels and predictions, (n,) each, eV/Å.
    errors : by symbol: MAE and RMSE over all components, meV/Å.
    counts : by symbol: components in all.
    """
    with look():
        n = len(samples)
        columns = min(n, 3)
        rows = -(-n // columns)
        figure = Figure(figsize=(0.4 + 2.9 * columns, 0.3 + 2.9 * rows), layout="constrained")
        panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axes, (symbol, (x, y)) in zip(panels, samples.items()):
            x, y = _finite_pairs(x, y)
            _parity_into(figure, axes, x, y, bar=False)
            mae, rmse = errors[symbol]
            _corner(axes, f"MAE {mae:.3g} meV/Å\nRMSE {rmse:.3g} meV/Å\n{_count(counts[symbol], len(x))}", size=8)
            axes.set_title(symbol)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(5))
        for axes in panels[n:]:
            axes.set_visible(False)
        figure.supxlabel("reference force component / eV/Å", fontsize=10)
        figure.supylabel("predicted force component / eV/Å", fontsize=10)
        return figure


def errors_by_force(low: np.ndarray, high: np.ndarray, mae: np.ndarray, angle_deg: np.ndarray, atoms: np.ndarray) -> Figure:
    """MAE of force components and mean angle error against the size of the labelled force, in bins.

    Parameters
    ----------
    low, high : (n_bins,) edges, eV/Å; the last may be infinite.
    mae : (n_bins,) meV/Å.
    angle_deg : (n_bins,) degrees; NaN where there is none.
    atoms : (n_bins,) forces in a bin.
    """
    with look():
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        at = np.arange(len(low))
        upper.bar(at, mae, color=BLUE, width=0.8)
        lower.bar(at, np.nan_to_num(angle_deg), color=ORANGE, width=0.8)
        for k, count in enumerate(atoms):
            upper.annotate(_short(int(count)), (k, mae[k]), ha="center", va="bottom", fontsize=8, color=GREY, xytext=(0, 2), textcoords="offset points")
        upper.margins(y=0.15)
        lower.set_xticks(at, [f"{a:g} to {b:g}" if np.isfinite(b) else f"over {a:g}" for a, b in zip(low, high)])
        upper.set(ylabel="MAE / meV/Å", title="Errors of forces by their size (number of atoms above the bars)")
        lower.set(ylabel="mean angle error / degrees", xlabel="labelled force on an atom / eV/Å")
        for axes in (upper, lower):
            axes.grid(visible=False, axis="x")
        return figure


def relative_energy(reference: np.ndarray, predicted: np.ndarray, molecules: np.ndarray, title: str = "") -> Figure:
    """Relative energies of frames, each molecule from its own mean, label against prediction, meV.

    Parameters
    ----------
    reference, predicted : (n,) total energies, eV.
    molecules : (n,) which frames belong together.
    """
    with look():
        figure, axes = panel(5.6 if len(reference) > DOTS else 4.6, 4.4)
        x, y = 1000 * _from_means(reference, molecules), 1000 * _from_means(predicted, molecules)
        _parity_into(figure, axes, x, y, bar=True)
        mae, rmse = _errors(x, y, 1.0)
        _corner(axes, f"MAE {mae:.3g} meV\nRMSE {rmse:.3g} meV\n{_count(len(x), len(x), 'frames')}")
        axes.set(xlabel="reference energy, from its molecule's mean / meV", ylabel="predicted energy, from its molecule's mean / meV", title=title)
        return figure


def _parity_into(figure: Figure, axes: Axes, x: np.ndarray, y: np.ndarray, *, bar: bool) -> None:
    low, high = (float(min(x.min(), y.min())), float(max(x.max(), y.max()))) if len(x) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 1.0
    box = (low - margin, high + margin)
    axes.plot(box, box, color=GREY, linewidth=1.0, zorder=1)
    if len(x) <= DOTS:
        axes.scatter(x, y, s=_dot(len(x)), color=BLUE, alpha=0.5, linewidths=0, zorder=2)
    else:
        image = _density(axes, x, y, (box, box))
        if bar:
            figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, label="values per pixel")
    axes.set(xlim=box, ylim=box, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))


def _density(axes: Axes, x: np.ndarray, y: np.ndarray, box: tuple[tuple[float, float], tuple[float, float]], bins: int = 140):
    """Values per pixel on a logarithmic scale; pixels without any stay white."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=bins, range=box)
    shown = np.ma.masked_equal(counts.T, 0)
    return axes.pcolormesh(x_edges, y_edges, shown, cmap=SEQUENTIAL.reversed(), norm="log", rasterized=True, zorder=2)


def _finite_pairs(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.ravel(reference), np.ravel(predicted)
    good = np.isfinite(x) & np.isfinite(y)
    return x[good], y[good]


def _errors(x: np.ndarray, y: np.ndarray, scale: float) -> tuple[float, float]:
    off = (y - x) * scale
    return (float(np.abs(off).mean()), float(np.sqrt(np.mean(off**2)))) if len(off) else (float("nan"), float("nan"))


def _from_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values less the mean of their group."""
    _, which = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    return values - (np.bincount(which, values) / np.maximum(np.bincount(which), 1))[which] if len(values) else values


def _corner(axes: Axes, text: str, size: int = 9) -> None:
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=size, zorder=4,
              bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5})


def _dot(n: int) -> float:
    return 14 if n < 300 else 8 if n < 2000 else 4


def _span(x: np.ndarray) -> tuple[float, float]:
    margin = 0.03 * float(np.ptp(x)) or 1.0
    return float(x.min()) - margin, float(x.max()) + margin


def _count(n: int, shown: int, what: str = "values") -> str:
    one = what[:-1] if n == 1 else what
    return f"{_short(n)} {one}" + (f", {_short(shown)} drawn" if shown < n else "")


def _short(n: int) -> str:
    """'950', '12 400', '1.3 million'."""
    return f"{n / 1e6:.3g} million" if n >= 1_000_000 else f"{n:,}".replace(",", " ")
