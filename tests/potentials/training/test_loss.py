"""The loss and the sums of errors."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.test_dataset import structure
from potentials.data import build_dataset
from potentials.training.config import LossConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.loss import Prediction, loss, weights_at
from potentials.training.metrics import ErrorSums
from training.toy_pair import ToyConfig, ToyPair


@pytest.fixture
def dataset():
    return build_dataset([structure(k, n_atoms=6) for k in range(4)], 4.0)


def off_by(batch, energy=0.0, forces=0.0):
    return Prediction(batch.energy + energy * batch.atom_counts, batch.forces + forces)


def test_mean_squares_are_per_atom_and_per_component(dataset):
    b = dataset.batch([0, 1, 2])
    config = LossConfig(energy=3.0, forces=5.0)
    assert float(loss(off_by(b, energy=0.1, forces=0.2), b, config)) == pytest.approx(3 * 0.01 + 5 * 0.04, rel=1e-6)


def test_huber_is_half_a_square_near_and_linear_far(dataset):
    b = dataset.batch([0, 1])
    config = LossConfig(energy=0.0, forces=1.0, kind="huber", huber_delta=0.1)
    assert float(loss(off_by(b, forces=0.05), b, config)) == pytest.approx(0.5 * 0.05**2, rel=1e-6)
    assert float(loss(off_by(b, forces=2.0), b, config)) == pytest.approx(0.1 * (2.0 - 0.05), rel=1e-6)
    assert float(loss(off_by(b, forces=2.0), b, replace(config, kind="mae"))) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
@pytest.mark.parametrize("reduction", ["global", "structure"])
def test_gradient_of_a_batch_is_the_mean_of_the_single_ones(dataset, kind, reduction):
    torch.manual_seed(0)
    potential = ToyPair(ToyConfig()).double()
    predict = plain_predictor(potential, create_graph=True)
    config = LossConfig(energy=2.0, forces=3.0, kind=kind, force_reduction=reduction)

    def gradient(indices):
        b = dataset.batch(indices)
        return torch.autograd.grad(loss(predict(b.graph), b, config), potential.weights)[0]

    singles = torch.stack([gradient([k]) for k in range(4)]).mean(0)
    torch.testing.assert_close(gradient([0, 1, 2, 3]), singles, rtol=1e-12, atol=1e-14)  # float64, other order of sums


def test_structure_reduction_weighs_a_small_molecule_like_a_large_one():
    dataset = build_dataset([structure(0, n_atoms=2), structure(1, n_atoms=10)], 4.0)
    b = dataset.batch([0, 1])
    wrong = b.forces.clone()
    wrong[:2] += 1.0  # only the small one is off
    prediction = Prediction(b.energy, wrong)
    config = LossConfig(energy=0.0, forces=1.0)
    assert float(loss(prediction, b, config)) == pytest.approx(2 / 12)
    assert float(loss(prediction, b, replace(config, force_reduction="structure"))) == pytest.approx(1 / 2)


def test_energy_weight_is_raised_late():
    config = LossConfig(energy=1.0, late_energy=50.0, late_from=0.8)
    assert [weights_at(config, p)["energy"] for p in (0.0, 0.79, 0.8, 1.0)] == [1.0, 1.0, 50.0, 50.0]
    assert weights_at(LossConfig(energy=2.0), 1.0)["energy"] == 2.0


def test_structures_without_a_stress_label_do_not_count():
    dataset = build_dataset([structure(1, periodic=True), structure(2)], 3.0)
    b = dataset.batch([0, 1])
    stress = torch.where(torch.isfinite(b.stress), b.stress + 0.5, 7.0)
    config = LossConfig(energy=0.0, forces=0.0, stress=2.0)
    assert float(loss(Prediction(b.energy, None, stress), b, config)) == pytest.approx(2 * 0.25)


def test_errors_of_many_batches_are_those_of_one(dataset):
    rng = np.random.default_rng(0)
    whole, parts = ErrorSums(), ErrorSums()
    b = dataset.batch([0, 1, 2, 3])
    noise = torch.from_numpy(rng.standard_normal((24, 3)))
    whole.add(Prediction(b.energy + 0.6, b.forces + noise), b)
    for k in range(4):
        one = dataset.batch([k])
        parts.add(Prediction(one.energy + 0.6, one.forces + noise[6 * k : 6 * k + 6]), one)
    a, c = whole.errors(), ErrorSums.from_state(parts.state()).errors()
    assert a.energy_mae_meV_atom == pytest.approx(100.0) and a.frames == 4 and a.atoms == 24
    assert a.forces_mae_meV_A == pytest.approx(1000 * float(noise.abs().mean()))
    assert a.forces_rmse_meV_A == pytest.approx(1000 * float(noise.square().mean().sqrt()))
    for name in ("energy_rmse_meV_atom", "forces_mae_meV_A", "forces_rmse_meV_A"):
        assert getattr(c, name) == pytest.approx(getattr(a, name), rel=1e-12)


def test_a_prediction_that_is_nan_makes_the_error_huge_not_small(dataset):
    b, sums = dataset.batch([0]), ErrorSums()
    sums.add(Prediction(b.energy, torch.full_like(b.forces, float("nan"))), b)
    assert sums.errors().forces_mae_meV_A > 1e9
