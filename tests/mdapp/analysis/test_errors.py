"""Errors add up as their definitions say, whatever the batches, and nothing without a label counts."""
import numpy as np
import pytest

from mdapp.analysis.energy_offsets import energy_offsets
from mdapp.analysis.errors import FORCE_BINS, HOPELESS, Compared, Tally, angles_deg
from mdapp.analysis.sampling import Reservoir


def frames(n=6, seed=0, noise=0.1):
    """n frames of water and of methane in turn, with noise on energies and forces."""
    rng = np.random.default_rng(seed)
    numbers = [np.array([8, 1, 1]) if k % 2 else np.array([6, 1, 1, 1, 1]) for k in range(n)]
    start = np.concatenate([[0], np.cumsum([len(z) for z in numbers])])
    energy, forces = rng.normal(size=n), rng.normal(size=(start[-1], 3))
    return Compared(np.arange(n), tuple("water" if k % 2 else "methane" for k in range(n)), start, np.concatenate(numbers), energy,
                    energy + noise * rng.normal(size=n), forces, forces + noise * rng.normal(size=forces.shape))  # fmt: skip


def part(c, a, b):
    atoms = slice(c.start[a], c.start[b])
    return Compared(c.number[a:b], c.molecules[a:b], c.start[a : b + 1] - c.start[a], c.numbers[atoms], c.energy[a:b], c.predicted_energy[a:b],
                    c.forces[atoms], c.predicted_forces[atoms])  # fmt: skip


def tally(*parts):
    found = Tally()
    for p in parts:
        found.add(p)
    return found


def test_metrics_are_what_their_names_say():
    c = frames()
    e, f = 1000 * (c.predicted_energy - c.energy), 1000 * (c.predicted_forces - c.forces)
    n = c.atom_counts
    found = tally(c).all.metrics
    size, label = np.linalg.norm(c.predicted_forces, axis=1), np.linalg.norm(c.forces, axis=1)
    expected = {
        "energy_mae_meV": np.abs(e).mean(), "energy_rmse_meV": np.sqrt((e**2).mean()), "energy_offset_meV": e.mean(),
        "energy_mae_meV_atom": np.abs(e / n).mean(), "energy_rmse_meV_atom": np.sqrt(((e / n) ** 2).mean()), "energy_offset_meV_atom": (e / n).mean(),
        "forces_mae_meV_A": np.abs(f).mean(), "forces_rmse_meV_A": np.sqrt((f**2).mean()),
        "forces_magnitude_mae_meV_A": 1000 * np.abs(size - label).mean(), "frames": 6, "atoms": 24, "atoms_with_forces": 24,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_batches_do_not_matter():
    c = frames(12)
    whole, pieces = tally(c), tally(part(c, 7, 12), part(c, 0, 1), part(c, 1, 7))
    assert pieces.all.metrics == pytest.approx(whole.all.metrics, rel=1e-12)
    for name in ("water", "methane"):
        assert pieces.molecules[name].metrics == pytest.approx(whole.molecules[name].metrics, rel=1e-12)
    assert np.array_equal(pieces.table.energy, whole.table.energy) and list(pieces.table.number) == list(range(12))  # in the file's order


def test_parts_add_up_to_the_whole():
    found = tally(frames(20))
    squares = sum(s.component.squares for s in found.elements.values())
    assert squares == pytest.approx(found.all.forces.component.squares, rel=1e-12)
    assert sum(s.component.squares for s in found.bins) == pytest.approx(squares, rel=1e-12)
    assert sum(row["atoms"] for row in found.force_bins) == found.all.atoms and set(found.elements) == {1, 6, 8}


def test_what_has_no_label_counts_nowhere():
    c = frames(6)
    c.energy[2] = np.nan
    c.forces[c.start[3] : c.start[4]] = np.nan
    found, rest = tally(c).all, tally(*(part(c, k, k + 1) for k in (0, 1, 4, 5))).all
    assert (found.frames, found.energy.count, found.forces.atoms) == (6, 5, 21)
    known = [0, 1, 3, 4, 5]
    assert found.metrics["energy_mae_meV"] == pytest.approx(1000 * np.abs(c.predicted_energy - c.energy)[known].mean(), rel=1e-12)
    assert found.forces.component.squares > rest.forces.component.squares  # frame 2 has forces, and they count


def test_energies_alone_give_no_word_on_forces():
    c = frames(2)
    c.forces[:] = np.nan
    only = Compared(c.number, c.molecules, c.start, c.numbers, c.energy, c.predicted_energy, c.forces)
    found = tally(only)
    assert "energy_mae_meV" in found.all.metrics and not any(name.startswith("forces_") for name in found.all.metrics) and found.force_bins == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_no_number_never_makes_an_error_smaller(bad):
    c = frames(4)
    c.predicted_energy[1] = bad
    c.predicted_forces[0, 0] = bad
    found = tally(c)
    assert found.not_finite == 2
    assert found.all.metrics["energy_mae_meV"] > 1000 * HOPELESS / 5 and found.all.metrics["forces_mae_meV_A"] > 1000 * HOPELESS / 100
    assert all(np.isfinite(value) for value in found.all.metrics.values())


def test_angles_are_those_between_vectors():
    label = np.array([[1.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 1], [1e-3, 0, 0]])
    predicted = np.array([[2.0, 0, 0], [0, 1, 0], [0, -1, 0], [0, 1, 1], [0, 1, 0]])
    assert angles_deg(predicted, label)[:4] == pytest.approx([0, 90, 180, 45])
    assert np.isnan(angles_deg(predicted, label)[4])  # too small to have a direction


def test_force_bins_are_of_the_label():
    found = Tally()
    forces = np.array([[low + 1e-6, 0, 0] for low in FORCE_BINS[:-1]])
    n = len(forces)
    found.add(Compared(np.arange(1), ("x",), np.array([0, n]), np.ones(n, dtype=int), np.zeros(1), np.zeros(1), forces, forces + [[0.003, 0, 0]]))
    assert [row["atoms"] for row in found.force_bins] == [1] * n
    assert [row["forces_mae_meV_A"] for row in found.force_bins] == pytest.approx([1.0] * n)  # one of three components is off by 3 meV/Å


def test_adrift_energies_are_told_from_wrong_ones():
    """Other reference energies of H, C and O leave nothing; noise stays."""
    c = frames(40, noise=0.0)
    moves = {1: 0.05, 6: -0.4, 8: 1.5}
    shift = np.array([sum(moves[z] for z in c.numbers[a:b]) for a, b in zip(c.start[:-1], c.start[1:])])
    noise = 0.01 * np.random.default_rng(1).normal(size=40)
    for extra, expected in ((0.0, 0.0), (noise, 2.0)):
        moved = Compared(c.number, c.molecules, c.start, c.numbers, c.energy, c.energy + shift + extra, c.forces, c.forces)
        found = energy_offsets(tally(moved).table)
        assert found.rest_mae_meV_atom == pytest.approx(expected, abs=1e-9 if not expected else 0.7)  # 10 meV over 3 and 5 atoms
        assert found.by_element_meV == {}  # two compositions do not tell three elements apart


def test_reservoir_is_fair_and_bounded():
    counts = np.zeros(100)
    for seed in range(400):
        sample = Reservoir(10, 1, np.random.default_rng(seed))
        for block in np.array_split(np.arange(100.0), 7):
            sample.add(block[:, None])
        assert len(sample.rows) == 10 and sample.seen == 100 and not sample.whole
        counts[sample.rows[:, 0].astype(int)] += 1
    assert abs(counts[:50].sum() / counts.sum() - 0.5) < 0.04  # 5 standard deviations of 4000 draws
    assert counts.min() > 15 and counts.max() < 75  # 40 expected, 6 the standard deviation
