"""What the Kalman filter observes is the same with and without stored descriptors, and what the loss is made of."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from potentials.data.dataset import build_dataset
from potentials.training.config import LossConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.kalman import KalmanConfig
from potentials.training.loss import loss, weights_at
from potentials.training.observations import observe
from potentials.training.stored_descriptors import described, stored_predictor
from tests.potentials.training.test_stored_descriptors import SETS, frames, trained_on

WEIGHTS = LossConfig(energy=3.0, forces=2.0, stress=50.0)


def labelled():
    """Two periodic frames with stress, and a free molecule without."""
    rng = np.random.default_rng(5)
    for frame in frames():
        stress = rng.normal(size=(3, 3)) * 0.1
        yield replace(frame, stress=stress + stress.T if frame.pbc.any() else None)


def seen(dataset, potential, make, chosen, loss_config=WEIGHTS, **kalman):
    batch = dataset.batch(np.array(chosen))
    prediction = make(potential, forces=True, stress=loss_config.stress > 0, create_graph=True)(batch.graph)
    parameters = list(potential.parameters())
    found = observe(potential, parameters, prediction, batch, loss_config, weights_at(loss_config, 0.0), KalmanConfig(**kalman), torch.Generator().manual_seed(0))
    return *found, loss(prediction, batch, loss_config), parameters


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("chosen", [(0,), (1, 0)])
def test_stored_descriptors_give_the_plain_jacobian(name, chosen):
    dataset = build_dataset(labelled(), 3.5)
    potential = trained_on(SETS[name], dataset)
    a = seen(dataset, potential, plain_predictor, chosen, forces_per_update=7)
    b = seen(described(potential, dataset), potential, stored_predictor(plain_predictor), chosen, forces_per_update=7)
    assert len(a[1]) == len(chosen) + 7 + 6 * len(chosen)
    torch.testing.assert_close(a[0], b[0], rtol=1e-9, atol=1e-9)  # float64, other orders of summation
    torch.testing.assert_close(a[1], b[1], rtol=1e-9, atol=1e-9)


def test_one_structure_with_all_its_forces_observes_the_loss_and_its_gradient():
    dataset = build_dataset(labelled(), 3.5)
    potential = trained_on(SETS["channels"], dataset)
    jacobian, error, value, parameters = seen(described(potential, dataset), potential, stored_predictor(plain_predictor), (1,), forces_per_update=0)
    assert float(error.square().sum() * potential.energy_unit**2) == pytest.approx(float(value.detach()), rel=1e-10)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])
    torch.testing.assert_close(-2 * error @ jacobian * potential.energy_unit**2, gradient.double(), rtol=1e-8, atol=1e-8)


def test_a_free_molecule_among_crystals_observes_no_stress():
    dataset = build_dataset(labelled(), 3.5)
    potential = trained_on(SETS["channels"], dataset)
    jacobian, error, _, _ = seen(described(potential, dataset), potential, stored_predictor(plain_predictor), (2, 0, 1), forces_per_update=5)
    assert len(error) == 3 + 5 + 2 * 6 and torch.isfinite(jacobian).all() and torch.isfinite(error).all()


def test_without_stress_in_the_loss_none_is_observed():
    dataset = build_dataset(labelled(), 3.5)
    potential = trained_on(SETS["channels"], dataset)
    _, error, _, _ = seen(dataset, potential, plain_predictor, (0,), replace(WEIGHTS, stress=0.0), forces_per_update=4)
    assert len(error) == 5
