"""One page about labelled data: energies, forces, sizes, distances, and what is suspected."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdapp.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, look

MOST_BARS = 40  # sizes drawn one by one; more are binned
TAIL = 0.001  # of the residuals on either side that may lie outside the picture


@dataclass(frozen=True)
class DataPage:
    """What the page shows; any array may be empty."""

    title: str
    table: Sequence[tuple[str, str]]  # label and text
    problems: Sequence[tuple[str, int, bool]]  # suspicion, frames (0: a whole file), beyond doubt
    residual_meV: np.ndarray  # (n,) energy per atom less the fit by element
    fit_note: str  # what the residual is of
    suspected: np.ndarray  # (n,) bool, for the residuals
    force_edges: np.ndarray  # (n_bins + 1,) eV/Å
    force_counts: np.ndarray  # (n_bins,) atoms
    n_atoms: np.ndarray  # (n_frames,)
    elements: Sequence[tuple[str, int]]  # symbol and atoms of it
    shortest: np.ndarray  # (n_frames,) over the sum of covalent radii
    too_close: float
    overlap: float
    largest_force: float


def data_page(page: DataPage) -> Figure:
    """The page as one figure, upright."""
    with look():
        figure = Figure(figsize=(8.6, 10.6), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.10, h_pad=0.10)  # type: ignore[union-attr, call-arg]
        figure.suptitle(page.title, x=0.015, ha="left", fontsize=13, fontweight="bold")
        lines = max(sum(text.count("\n") + 1.4 for _, text in page.table), len(page.problems) * 1.6, 8)
        top, bottom = figure.subfigures(2, 1, height_ratios=(0.055 * lines + 0.15, 2))
        left, right = top.subplots(1, 2, width_ratios=(1.15, 1))
        _table(left, page.table)
        _problems(right, page.problems)
        axes = bottom.subplots(2, 2)
        _residuals(axes[0, 0], page)
        _forces(axes[0, 1], page)
        _sizes(axes[1, 0], page)
        _distances(axes[1, 1], page)
        return figure


def _table(axes: Axes, rows: Sequence[tuple[str, str]]) -> None:
    axes.axis("off")
    axes.set_title("What is there")
    line, gap, y = 15.0, 5.0, -4.0  # points
    for label, text in rows:
        for x, words, colour in ((0.0, label, GREY), (0.20, text, BLACK)):
            axes.annotate(words, (x, 1.0), xycoords="axes fraction", xytext=(0, y), textcoords="offset points", va="top", color=colour, fontsize=9,
                          linespacing=1.35)
        y -= line * (text.count("\n") + 1) + gap


def _problems(axes: Axes, problems: Sequence[tuple[str, int, bool]]) -> None:
    axes.set_title("What is suspected")
    axes.set(xticks=[])
    axes.grid(visible=False)
    axes.spines[["bottom", "left"]].set_visible(False)
    if not problems:
        axes.axis("off")
        axes.text(0.0, 0.95, "Nothing: every check is content.", transform=axes.transAxes, va="top", color=GREEN, fontsize=10)
        return
    y = np.arange(len(problems))
    length = np.array([1 + np.log10(max(n, 1)) for _, n, _ in problems])
    axes.barh(y, length, color=[VERMILION if sure else ORANGE if n else GREY for _, n, sure in problems], height=0.55)
    axes.set(yticks=y, yticklabels=[name for name, _, _ in problems], xlim=(0, 1.75 * length.max()), ylim=(max(len(problems), 7) - 0.5, -0.6))
    axes.tick_params(axis="y", length=0)
    for k, (_, n, sure) in enumerate(problems):
        words = f"{n} frame{'s' if n != 1 else ''}{', some beyond doubt' if sure else ''}" if n else "the file as a whole"
        axes.text(length[k] + 0.03 * length.max(), k, words, va="center", fontsize=8.5)


def _residuals(axes: Axes, page: DataPage) -> None:
    good = np.isfinite(page.residual_meV)
    x, suspected = page.residual_meV[good], page.suspected[good]
    axes.set(xlabel=f"energy per atom less the {page.fit_note} / meV", ylabel="frames", title="Energies")
    if not len(x):
        _nothing(axes, "no frame has an energy")
        return
    x = x - np.median(x)
    many = suspected.mean() > 5 * TAIL  # a second cluster belongs into the picture
    low, high = np.quantile(x if many or suspected.all() else x[~suspected], [TAIL, 1 - TAIL])
    margin = 0.2 * (high - low) or 1.0
    low, high = max(x.min(), low - margin), min(x.max(), high + margin)
    low, high = (low, high) if high - low > 1e-9 else (low - 1, high + 1)
    edges = np.linspace(low, high, 81)
    axes.hist([np.clip(x[~suspected], low, high), np.clip(x[suspected], low, high)], bins=edges, stacked=True, color=[BLUE, VERMILION], log=True)
    axes.set(xlim=(low, high))
    _headroom(axes)
    outside = int(((x < low) | (x > high)).sum())
    notes = ["red: suspected for their energy"] if suspected.any() else []
    _corner(axes, "\n".join(notes + ([f"{outside} outside, drawn at the edges"] if outside else [])), right=True)


def _forces(axes: Axes, page: DataPage) -> None:
    axes.set(xlabel="force on an atom / eV Å$^{-1}$", ylabel="atoms", title="Forces")
    filled = np.flatnonzero(page.force_counts)
    if not len(filled):
        _nothing(axes, "no frame has forces")
        return
    edges, counts = _coarser(page.force_edges, page.force_counts, 3)
    axes.stairs(np.maximum(counts, 0.5), edges, fill=True, baseline=0.5, color=BLUE, )
    total = np.cumsum(page.force_counts)
    first = int(np.searchsorted(total, 1e-4 * total[-1]))
    median = page.force_edges[int(np.searchsorted(total, total[-1] / 2))]
    low, high = page.force_edges[min(first, filled[-1])], page.force_edges[filled[-1] + 1]
    axes.set(xscale="log", yscale="log", xlim=(max(low, high * 1e-6), max(high * 1.6, 4 * low)))
    if high > page.largest_force:
        axes.axvline(page.largest_force, color=VERMILION, linestyle="--", linewidth=1.0)
        _corner(axes, f"dashed: {page.largest_force:g} eV/Å", right=True)
    _headroom(axes)
    _corner(axes, f"median {median:.2g} eV/Å")


def _sizes(axes: Axes, page: DataPage) -> None:
    axes.set(xlabel="atoms in a frame", ylabel="frames", title="Sizes and elements")
    n = page.n_atoms
    if not len(n):
        _nothing(axes, "no frames")
        return
    span = int(n.max() - n.min()) + 1
    step = max(1, -(-span // MOST_BARS))
    edges = np.arange(n.min() - 0.5, n.max() + step + 0.5, step)
    axes.hist(n, bins=edges, color=SKY, rwidth=0.9 if step == 1 and span < 30 else 1.0)
    if span < 4:
        centre = (n.min() + n.max()) / 2
        axes.set_xlim(centre - 3, centre + 3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.32)
    total = sum(count for _, count in page.elements)
    shown = sorted(page.elements, key=lambda e: -e[1])[:10]
    text = "  ".join(f"{symbol} {100 * count / total:.2g} %" for symbol, count in shown[:5])
    if len(shown) > 5:
        text += "\n" + "  ".join(f"{symbol} {100 * count / total:.2g} %" for symbol, count in shown[5:])
    _corner(axes, text + (f"\nand {len(page.elements) - 10} more" if len(page.elements) > 10 else ""))


def _distances(axes: Axes, page: DataPage) -> None:
    axes.set(xlabel="shortest distance / sum of covalent radii", ylabel="frames", title="Shortest distance of each frame")
    x = page.shortest[np.isfinite(page.shortest)]
    if not len(x):
        _nothing(axes, "no frame has two atoms")
        return
    low, high = min(x.min(), page.too_close) - 0.05, max(float(np.quantile(x, 0.999)), 1.0) + 0.05
    axes.hist(np.clip(x, low, high), bins=np.linspace(low, high, 61), color=BLUE, log=True)
    axes.set(xlim=(low, high))
    _headroom(axes)
    axes.axvspan(low, page.too_close, color=ORANGE, alpha=0.14, linewidth=0)
    if low < page.overlap:
        axes.axvspan(low, page.overlap, color=VERMILION, alpha=0.18, linewidth=0)
    axes.axvline(page.too_close, color=ORANGE, linestyle="--", linewidth=1.0)
    _corner(axes, f"shaded: too close, below {page.too_close:g}")


def _coarser(edges: np.ndarray, counts: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
    whole = len(counts) // by * by
    return edges[: whole + 1 : by], counts[:whole].reshape(-1, by).sum(axis=1)


def _headroom(axes: Axes) -> None:
    """Room for a note above the bars of a logarithmic axis, and single frames that show."""
    axes.set_ylim(0.6, 6 * axes.get_ylim()[1])


def _corner(axes: Axes, text: str, *, right: bool = False) -> None:
    if not text:
        return
    axes.text(0.98 if right else 0.02, 0.97, text, transform=axes.transAxes, va="top", ha="right" if right else "left", fontsize=8.5, color=BLACK, linespacing=1.3,
              bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5})


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set(xticks=[], yticks=[])
