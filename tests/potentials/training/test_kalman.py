"""The Kalman filter against what recursive least squares must be."""
import numpy as np
import pytest
import torch

from potentials.training.kalman import KalmanConfig, KalmanFilter

LINEAR = KalmanConfig(epsilon=0.1, eta=1.0, q=0.0, q_min=0.0)


def linear_problem(n=7, m=40):
    rng = np.random.default_rng(0)
    H, truth = torch.from_numpy(rng.normal(size=(m, n))), torch.from_numpy(rng.normal(size=n))
    return H, H @ truth + torch.from_numpy(0.1 * rng.normal(size=m))


def run(H, y, config, at_once, start=0.0):
    w = torch.nn.Parameter(torch.full((H.shape[1],), start, dtype=torch.float64))
    filter = KalmanFilter([w], config)
    for rows in torch.split(torch.arange(len(y)), at_once):
        assert filter.update(H[rows], y[rows] - H[rows] @ w.detach())
    return w.detach(), filter


@pytest.mark.parametrize("at_once", [1, 7, 40])
def test_a_linear_problem_ends_at_its_regularised_least_squares_whatever_the_order(at_once):
    H, y = linear_problem()
    w, filter = run(H, y, LINEAR, at_once)
    information = H.T @ H + 0.1 * torch.eye(7)
    torch.testing.assert_close(w, torch.linalg.solve(information, H.T @ y), rtol=0, atol=1e-8)
    torch.testing.assert_close(filter.P, torch.linalg.inv(information), rtol=0, atol=1e-9)


def test_noise_and_process_noise_follow_their_schedules():
    w = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    filter = KalmanFilter([w], KalmanConfig(epsilon=1.0, eta=0.5, eta_tau=10.0, q=0.3, q_tau=5.0, q_min=0.1))
    assert filter._noise() == pytest.approx(2.0)
    nothing = torch.zeros(1, 2), torch.zeros(1)
    filter.update(*nothing)
    assert float(filter.P[0, 0]) == pytest.approx(1.3)
    for _ in range(7):
        filter.update(*nothing)
    assert filter._noise() == pytest.approx(1.0)  # eta has come to its largest value
    before = float(filter.P[0, 0])
    filter.update(*nothing)
    assert float(filter.P[0, 0]) - before == pytest.approx(0.1)


def test_fading_memory_follows_a_truth_that_moves():
    rng = np.random.default_rng(1)
    H = torch.from_numpy(rng.normal(size=(400, 3)))
    truth = torch.where(torch.arange(400)[:, None] < 200, 1.0, -1.0).double() * torch.ones(3)
    y = (H * truth).sum(1)
    forgets, _ = run(H, y, KalmanConfig(kind="fading", forgetting=0.9, nu=1.0), 1)
    keeps, _ = run(H, y, KalmanConfig(eta=1.0, q=0.0, q_min=0.0), 1)
    assert (forgets + 1).abs().max() < 1e-3 < (keeps + 1).abs().max()


def test_what_is_not_finite_changes_nothing():
    w = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    filter = KalmanFilter([w], LINEAR)
    P = filter.P.clone()
    assert not filter.update(torch.tensor([[1.0, float("nan")]]), torch.zeros(1))
    assert not filter.update(torch.ones(1, 2), torch.tensor([float("inf")]))
    assert torch.equal(filter.P, P) and torch.equal(w.detach(), torch.ones(2, dtype=torch.float64)) and filter.updates == 0


def test_a_saved_filter_goes_on_to_the_same_bits():
    H, y = linear_problem()
    whole, _ = run(H, y, KalmanConfig(), 5)
    first, filter = run(H[:20], y[:20], KalmanConfig(), 5)
    w = torch.nn.Parameter(first.clone())
    second = KalmanFilter([w], KalmanConfig())
    second.load_state_dict(filter.state_dict())
    for rows in torch.split(torch.arange(20, 40), 5):
        second.update(H[rows], y[rows] - H[rows] @ w.detach())
    assert torch.equal(w.detach(), whole)


def test_too_many_weights_and_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="12000 the most"):
        KalmanFilter([torch.nn.Parameter(torch.zeros(13_000))])
    with pytest.raises(ValueError, match="forgetting must be above 0"):
        KalmanConfig(forgetting=1.5)
    with pytest.raises(ValueError, match="epsilon must be > 0"):
        KalmanConfig(epsilon=0.0)
