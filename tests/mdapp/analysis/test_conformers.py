"""Relative energies: free of offsets, right about pairs, ranks as scipy gives them."""
from itertools import combinations

import numpy as np
import pytest

from mdapp.analysis.conformers import conformers, relative_energies, together
from mdapp.analysis.errors import FrameTable


def table(molecules, compositions, energy, predicted):
    n = len(energy)
    return FrameTable(np.arange(n), np.array(molecules, dtype=object), np.array(compositions, dtype=object), np.full(n, 3), np.array(energy, dtype=float),
                      np.array(predicted, dtype=float), np.full(n, np.nan), np.full(n, np.nan))  # fmt: skip


def test_an_offset_is_no_error():
    label = np.random.default_rng(0).normal(size=9)
    found = relative_energies(label, label + 17.0)
    assert found.offset_meV == pytest.approx(17000) and found.mae_meV == pytest.approx(0, abs=1e-9) and found.difference_mae_meV == pytest.approx(0, abs=1e-9)
    assert (found.spearman, found.kendall, found.lowest_found) == (pytest.approx(1), pytest.approx(1), True)


@pytest.mark.parametrize("n", [2, 3, 40])
def test_pair_errors_are_those_of_all_pairs(n):
    rng = np.random.default_rng(n)
    label = rng.normal(size=n)
    predicted = label + 0.1 * rng.normal(size=n)
    pairs = [1000 * ((predicted[i] - predicted[j]) - (label[i] - label[j])) for i, j in combinations(range(n), 2)]
    found = relative_energies(label, predicted)
    assert found.difference_mae_meV == pytest.approx(np.mean(np.abs(pairs)), rel=1e-10)
    assert found.difference_rmse_meV == pytest.approx(np.sqrt(np.mean(np.square(pairs))), rel=1e-10)


def test_reversed_order_is_minus_one_and_a_constant_is_no_order():
    label = np.arange(6.0)
    assert relative_energies(label, -label).spearman == pytest.approx(-1) and relative_energies(label, -label).kendall == pytest.approx(-1)
    assert relative_energies(label, np.zeros(6)).spearman == 0
    assert relative_energies(np.zeros(6), label).spearman is None and relative_energies(label[:2], label[:2]).kendall is None
    assert "spearman" not in relative_energies(label[:2], label[:2]).summary


def test_only_frames_of_one_composition_are_compared():
    found = conformers(table(["a", "a", "a", "a", "b", "c", "c"], ["H2O", "H2O", "CH4", "CH4", "H2O", "CO", "CO"],
                             [0, 1, 50, 51, 3, 0, np.nan], [0, 1.1, 60, 61, 3, 0, 1]))
    assert set(found) == {"a (H2O)", "a (CH4)"}  # b has one frame, c one label
    assert found["a (CH4)"].mae_meV == pytest.approx(0, abs=1e-9) and found["a (H2O)"].mae_meV == pytest.approx(50)


def test_the_summary_of_all_has_medians_and_is_empty_without_molecules():
    rng = np.random.default_rng(3)
    label = rng.normal(size=30)
    names = ["x"] * 10 + ["y"] * 10 + ["z"] * 10
    predicted = np.concatenate([label[:10], -label[10:20], label[20:]])
    found = together(conformers(table(names, ["H2"] * 30, label, predicted)))
    assert found["spearman_median"] == pytest.approx(1) and found["spearman_least"] == pytest.approx(-1) and found["molecules"] == 3
    assert together({}) == {}


def test_one_frame_has_no_relative_energy():
    with pytest.raises(ValueError, match="at least two frames, got 1"):
        relative_energies(np.zeros(1), np.zeros(1))
