"""Pictures of landscapes: every one names its axes with units and survives one minimum and thousands."""
from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mdapp.minima.landscape.disconnectivity import draw, tree
from mdapp.minima.landscape.network import Edge, Network
from mdapp.minima.regions import REGIONS
from mdapp.plots import minima, style


def landscape(n: int) -> Network:
    """n minima, each joined to a lower one."""
    rng = np.random.default_rng(3)
    energies = np.sort(rng.uniform(0, 0.8, n))
    return Network(energies, tuple(Edge(k, int(rng.integers(k)), float(energies[k] + 0.02 + rng.exponential(0.1))) for k in range(1, n)))


def angles(n: int, residues: int) -> np.ndarray:
    return np.random.default_rng(4).uniform(-180, 180, (n, residues))


def the_tree(n: int) -> Figure:
    network = landscape(n)
    step = None if n <= 60 else 0.02
    names = [list(REGIONS)[k % len(REGIONS)] for k in range(n)]
    return minima.disconnectivity(draw(tree(network, step), network, step), None, dict(enumerate(names)))


DRAWN = {
    "tree": the_tree,
    "distance": lambda n: minima.energy_distance(np.linspace(0, 3, n), landscape(n).energies, ["C7eq", "C5"] * (n // 2) + ["PII"] * (n % 2), 7),
    "map": lambda n: minima.ramachandran(["ALA2"], angles(n, 1), angles(n, 1), landscape(n).energies, REGIONS),
    "maps": lambda n: minima.ramachandran([f"ALA{k}" for k in range(8)], angles(n, 8), angles(n, 8), landscape(n).energies),
    "populations": lambda n: minima.populations([f"{k} C7eq" for k in range(n)], np.full(n, 1 / n), 300, "from harmonic free energies", ["C7eq"] * n),
    "network": lambda n: minima.network(angles(n, 2), landscape(n).energies, [(e.a, e.b) for e in landscape(n).edges], [(0, n - 1)]),
    "discovery": lambda n: minima.discovery(100 * np.arange(n), np.arange(n)),
    "agreement": lambda n: minima.agreement(landscape(n).energies, landscape(n).energies ** 1.1, np.linspace(0, 1, n), np.linspace(0, 1, n) < 0.5, "a", "b", 0.3),
}


@pytest.mark.parametrize("n", [1, 25, 1500])
@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_draws_and_names_its_axes(name, n, tmp_path):
    figure = DRAWN[name](n)
    assert style.save(figure, tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert any(axes.get_xlabel() for axes in figure.axes)
    labels = " ".join(axes.get_ylabel() + axes.get_xlabel() for axes in figure.axes)
    assert name == "discovery" or any(unit in labels for unit in ("/ eV", "/ Å", "/ degrees", "/ %"))


def test_the_tree_shows_every_minimum_once_and_in_the_colour_of_its_family():
    network = Network(np.array([0.0, 0.1, 0.2]), (Edge(0, 1, 0.5), Edge(1, 2, 0.7)))
    figure = minima.disconnectivity(draw(tree(network), network), {0: "a", 1: "b", 2: "c"}, {0: "C7eq", 1: "C7eq", 2: "C5"})
    axes = figure.axes[0]
    assert sorted(t.get_text() for t in axes.texts) == ["a", "b", "c"]
    lines = next(c for c in axes.collections if isinstance(c, LineCollection))
    ends = [segment[0][1] for segment in lines.get_segments()]
    assert sum(e in (0.0, 0.1, 0.2) for e in ends) == 3  # a line begins at each minimum
    assert len({tuple(c) for c in lines.get_colors()}) == 3  # two families, and what their branches share
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["C7eq", "C5"]


def test_populations_say_what_they_leave_out():
    figure = minima.populations([str(k) for k in range(40)], np.full(40, 0.025), 298.15, "from energies alone")
    assert "298.15 K" in figure.axes[0].get_xlabel() and "the other 25: 62.5 %" in figure.axes[0].get_xlabel()
    assert "energies alone" in figure.get_suptitle()


def test_agreement_tells_the_share():
    figure = minima.agreement(np.arange(4.0), np.arange(4.0), np.array([0, 0.1, 0.2, 1.5]), np.array([True, True, True, False]), "so3krates.pt", "GFN2-xTB", 0.25)
    assert figure.axes[0].get_title(loc="left").startswith("75 % are minima of GFN2-xTB")
