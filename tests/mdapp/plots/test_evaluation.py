"""Figures of an evaluation: axes with units, few points and many, the errors that they are told."""
import numpy as np
import pytest
from matplotlib.figure import Figure

from mdapp.plots import evaluation, style


def noisy(n):
    rng = np.random.default_rng(1)
    x = rng.normal(size=n)
    return x, x + 0.05 * rng.normal(size=n)


def by_element(n):
    return evaluation.forces_by_element({z: noisy(n) for z in "HCNOS"}, {z: (1.0, 2.0) for z in "HCNOS"}, {z: 10**7 for z in "HCNOS"})


DRAWN = {
    "parity": lambda n: evaluation.parity(*noisy(n), "force component", "eV/Å", "meV/Å", 1000),
    "energy": lambda n: evaluation.energy_errors(noisy(n)[0], 10 * noisy(n)[1], ["a", "b"] * (n // 2) + ["a"] * (n % 2)),
    "elements": by_element,
    "relative": lambda n: evaluation.relative_energy(*noisy(n), np.arange(n) % 3),
    "bins": lambda n: evaluation.errors_by_force(np.array([0.0, 1.0]), np.array([1.0, np.inf]), np.array([3.0, 9.0]), np.array([np.nan, 2.0]), np.array([n, 1])),
}


@pytest.mark.parametrize("n", [1, 50, 6000])
@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_draws_and_names_its_axes(name, n, tmp_path):
    figure = DRAWN[name](n)
    assert isinstance(figure, Figure) and style.save(figure, tmp_path / name).read_bytes().startswith(b"\x89PNG")
    labels = [axes.get_ylabel() for axes in figure.axes] + [text.get_text() for text in (figure._supylabel,) if text]
    assert any("/" in label for label in labels)


def test_parity_says_its_errors():
    figure = evaluation.parity(np.zeros(4), np.full(4, 0.25), "energy", "eV", "meV", 1000)
    assert "MAE 250 meV" in figure.axes[0].texts[0].get_text()


def test_a_sample_says_the_errors_of_the_whole_and_how_much_is_drawn():
    figure = evaluation.parity(np.zeros(4), np.full(4, 0.25), "energy", "eV", "meV", 1000, errors=(7.0, 9.0), n_values=2_500_000)
    text = figure.axes[0].texts[0].get_text()
    assert "MAE 7 meV" in text and "RMSE 9 meV" in text and "2.5 million values, 4 drawn" in text


def test_energies_are_drawn_from_their_molecules_means():
    figure = evaluation.energy_errors(np.array([-100.0, -100.1, -5.0, -5.2]), np.ones(4), ["a", "a", "b", "b"])
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert np.sort(points[:, 0]) == pytest.approx([-100, -50, 50, 100])  # meV
