"""Dense stacks: what they compute, and how they start."""
import math

import pytest
import torch

from potentials.layers.mlp import ACTIVATIONS, ResidualMLP, TwoLayers, dense, lecun_normal_


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


@pytest.mark.parametrize("fan_in", [4, 64, 300])
def test_lecun_normal_has_its_variance_and_its_edges(fan_in):
    weight = torch.empty(400, 100, dtype=torch.float64)
    lecun_normal_(weight, fan_in)
    assert float(weight.var()) * fan_in == pytest.approx(1, abs=0.04)  # 40 000 draws: 0.5 % deviation
    assert float(weight.mean()) == pytest.approx(0, abs=5 / math.sqrt(40_000 * fan_in))
    edge = 2 / 0.8796256610342398 / math.sqrt(fan_in)  # cut at two deviations, then scaled back to the variance
    assert float(weight.abs().max()) == pytest.approx(edge, rel=0.02) and float(weight.abs().max()) <= edge


def test_dense_starts_without_bias_and_zero_means_zero():
    assert dense(5, 7).bias.abs().max() == 0 and dense(5, 7).weight.shape == (7, 5)
    assert dense(5, 7, bias=False).bias is None
    assert dense(5, 7, zero=True).weight.abs().max() == 0


def test_two_layers_and_the_residual_follow_their_formulas():
    x = torch.randn(6, 4)
    layers = TwoLayers(4, 5, 3, "tanh")
    expected = torch.tanh(x @ layers.first.weight.T + layers.first.bias) @ layers.last.weight.T + layers.last.bias
    torch.testing.assert_close(layers(x), expected)
    residual = ResidualMLP(4, "silu", bias=False)
    silu = torch.nn.functional.silu
    torch.testing.assert_close(residual(x), x + silu(silu(x) @ residual.layers.first.weight.T) @ residual.layers.last.weight.T)
    assert torch.equal(ResidualMLP(4, zero_last=True)(x), x)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_can_be_differentiated_twice(name):
    x = torch.tensor([-30.0, -1.0, 0.0, 1e-8, 2.0, 30.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((ACTIVATIONS[name](x) * x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    assert torch.isfinite(slope).all() and torch.isfinite(curvature).all()
