"""One look for all figures.

Colours are those of Okabe and Ito (2008), which the colour-blind tell apart. Every figure is a `Figure` of its own: pyplot and
its global state are never used, so figures can be drawn in any thread and without a display.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#222222")
GREY = "#8a8a8a"
DPI = 150
SEQUENTIAL = LinearSegmentedColormap.from_list("depth", ["#08306b", BLUE, SKY, "#cfe8f7"])  # dark where the free energy is low

_LOOK: Any = {
    "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.fontsize": 9, "xtick.labelsize": 9, "ytick.labelsize": 9,
    "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlelocation": "left",
    "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.2,
    "legend.frameon": False, "axes.formatter.useoffset": False, "svg.fonttype": "none", "svg.hashsalt": "mdapp", "figure.constrained_layout.use": True,
}


@contextmanager
def look() -> Iterator[None]:
    """The house's look for everything drawn inside."""
    with matplotlib.rc_context(_LOOK):
        yield


def panel(width: float = 6.4, height: float = 3.4) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; sizes in inches. Call it inside `look`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def save(figure: Figure, path: Path, *, svg: bool = False) -> Path:
    """Write a figure as PNG (150 dpi), and as SVG beside it where asked; a file appears whole or not at all."""
    path = Path(path).with_suffix(".png")
    for kind in ("png", "svg") if svg else ("png",):
        whole = path.with_suffix(f".{kind}")
        part = whole.with_name(f".{whole.name}.part")
        metadata = {"Software": None} if kind == "png" else {"Date": None}
        with look():
            figure.savefig(part, format=kind, dpi=DPI, facecolor="white", metadata=metadata)
        os.replace(part, whole)
    return path
