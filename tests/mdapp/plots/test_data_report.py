"""The page about labelled data is drawn whatever is missing."""
import numpy as np
import pytest

from mdapp.plots.data_report import DataPage, data_page
from mdapp.plots.style import save


def page(n, **changes):
    rng = np.random.default_rng(0)
    counts = np.zeros(240, dtype=int)
    counts[100:130] = n
    full = dict(title="train.xyz", table=[("frames", str(n)), ("energies", "one line\nand another")], problems=[("too close", 3, True), ("unit of force", 0, False)],
                residual_meV=30 * rng.standard_normal(n), fit_note="fit by element", suspected=np.arange(n) == 0, force_edges=np.logspace(-6, 6, 241),
                force_counts=counts, n_atoms=rng.integers(5, 60, n), elements=[("H", 3), ("C", 2)], shortest=rng.uniform(0.5, 1, n), too_close=0.6,
                overlap=0.3, largest_force=100.0)  # fmt: skip
    return DataPage(**{**full, **changes})


@pytest.mark.parametrize("made", [
    page(400), page(1), page(400, problems=[]), page(20, residual_meV=np.full(20, np.nan)), page(20, force_counts=np.zeros(240, dtype=int)),
    page(20, shortest=np.full(20, np.nan)), page(20, residual_meV=np.zeros(20)), page(20, n_atoms=np.full(20, 9)),
    page(20, elements=[(f"E{k}", k + 1) for k in range(14)]),
], ids=["full", "one frame", "sound", "no energies", "no forces", "lone atoms", "equal energies", "one size", "many elements"])  # fmt: skip
def test_the_page_is_drawn(made, tmp_path):
    figure = data_page(made)
    written = save(figure, tmp_path / "page", svg=True)
    assert written.read_bytes().startswith(b"\x89PNG") and (tmp_path / "page.svg").exists()
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert {"What is there", "What is suspected", "Energies", "Forces"} <= titles
