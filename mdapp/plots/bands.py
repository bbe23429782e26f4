"""Regions of wavenumbers and what moves there."""
from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from mdapp.plots.style import SKY

BANDS_CM1 = (  # of molecules with C, H, N, O, S: from, to, what moves
    (3200.0, 3700.0, "N-H, O-H"), (2800.0, 3200.0, "C-H"), (1600.0, 1800.0, "amide I"), (1480.0, 1600.0, "amide II"), (1200.0, 1400.0, "amide III"))


def bands(axes: Axes, regions: Sequence[tuple[float, float, str]], high: float, top: float) -> None:
    """Regions of wavenumbers in pale colour, each with what moves there, as far as the axis reaches."""
    for k, (low, end, what) in enumerate(regions):
        if low < high:
            axes.axvspan(low, min(end, high), color=SKY, alpha=0.13 if k % 2 else 0.22, linewidth=0)
            axes.text((low + min(end, high)) / 2, top * (0.99 - 0.05 * (k % 3)), what, ha="center" if end <= high else "right", va="top", fontsize=7)
