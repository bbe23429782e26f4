"""What every observable returns: numbers in a frozen dataclass that can be written down and looked at."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result:
    """The numbers of one observable. Its fields carry their units in their names."""

    def to_csv(self, path: Path) -> None:
        """The numbers behind the figure, one line each."""
        raise NotImplementedError(f"{type(self).__name__} has no table.")

    def plot(self) -> Figure:
        """The figure that a report shows, as a matplotlib `Figure` of its own (`figure.savefig("a.png")`; a notebook shows it after `%matplotlib inline`).

        What more can be asked of a figure (a reference beside it, a target temperature) is an argument of its function in `mdapp.plots`.
        """
        from mdapp.plots.results import draw

        return draw(self)
