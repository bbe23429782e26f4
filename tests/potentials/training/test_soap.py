"""SOAP: what it is on one matrix, that it goes on where it stopped, and that it beats AdamW where gradients are mixed."""
import copy

import pytest
import torch

from potentials.training.config import OptimiserConfig
from potentials.training.optimiser import build_optimiser
from potentials.training.soap import Soap, matrices_of
from samples import small


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(20, 6)
        self.one, self.two, self.last = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 1)
        self.heads = torch.nn.Parameter(torch.randn(3, 6, 6) / 6**0.5)

    def forward(self, z):
        x = torch.tanh(self.one(self.embedding(z)))
        x = x + torch.tanh(self.two(x)) + torch.einsum("hab,nb->na", self.heads, x)
        return self.last(x)[:, 0]


def steps(model, optimiser, n, start=0):
    for k in range(start, start + n):
        g = torch.Generator().manual_seed(k)
        z = torch.randint(0, 20, (16,), generator=g)
        loss = ((model(z) - torch.sin(z.float())) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def test_matrices_are_those_of_linear_maps():
    model = Model()
    assert {id(p) for p in matrices_of(model)} == {id(p) for p in (model.one.weight, model.two.weight, model.heads)}  # `last` is too thin


def test_every_parameter_is_in_one_group():
    potential = small("so3krates")
    groups = build_optimiser(potential, OptimiserConfig(kind="soap")).param_groups
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in potential.parameters())


def test_in_the_eigenbasis_of_its_statistics_it_is_adam():
    """For gradients that are diagonal, of falling size, the bases are the axes and SOAP is Adam."""
    start = torch.zeros(4, 4)
    one, two = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    soap = Soap([{"params": [one], "matrices": True}], lr=0.1, matrix_betas=(0.9, 0.99))
    adam = torch.optim.Adam([two], lr=0.1, betas=(0.9, 0.99))
    for k in range(25):
        gradient = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])) * (1 + 0.1 * torch.sin(torch.tensor(float(k))))
        one.grad, two.grad = gradient.clone(), gradient.clone()
        soap.step()
        if k:  # the first gradient only gives the bases
            adam.step()
    torch.testing.assert_close(one.detach(), two.detach(), rtol=1e-4, atol=1e-4)


def test_turning_a_matrix_turns_its_steps():
    """Steps do not hang on the axes that inputs and outputs happen to have; Adam's do."""
    torch.manual_seed(1)
    Q, R = (torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0] for _ in range(2))
    one, two = (torch.nn.Parameter(torch.zeros(5, 5, dtype=torch.float64)) for _ in range(2))
    a, b = (Soap([{"params": [p], "matrices": True}], lr=0.01, refresh=3) for p in (one, two))
    for _ in range(10):
        G = torch.randn(5, 5, dtype=torch.float64)
        one.grad, two.grad = G, Q @ G @ R.T
        a.step()
        b.step()
    torch.testing.assert_close(Q @ one.detach() @ R.T, two.detach(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_restored_optimiser_goes_on_to_the_same_bits(decay):
    config = OptimiserConfig(kind="soap", weight_decay=decay, refresh=4)
    model = Model()
    optimiser = build_optimiser(model, config)
    steps(model, optimiser, 10)
    other = copy.deepcopy(model)
    restored = build_optimiser(other, config)
    restored.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    steps(model, optimiser, 15, 10)
    steps(other, restored, 15, 10)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters()))


def test_it_beats_adamw_where_inputs_and_outputs_are_mixed():
    """A linear map to be found from inputs of very different sizes along axes that are not the coordinates'."""
    torch.manual_seed(2)
    Q, R = (torch.linalg.qr(torch.randn(12, 12))[0] for _ in range(2))
    X = torch.randn(200, 12) @ torch.diag(torch.logspace(0, -1.5, 12)) @ Q
    Y = X @ torch.randn(12, 12) @ R
    losses = {}
    for kind, rate in (("adamw", 1e-2), ("adamw", 3e-2), ("soap", 3e-2)):
        model = torch.nn.Linear(12, 12, bias=False)
        torch.nn.init.zeros_(model.weight)
        optimiser = build_optimiser(model, OptimiserConfig(kind=kind, learning_rate=rate))
        for _ in range(300):
            loss = ((model(X) - Y) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[kind, rate] = float(loss.detach())
    assert losses["soap", 3e-2] < 0.5 * min(losses["adamw", 1e-2], losses["adamw", 3e-2]), losses


def test_amsgrad_with_soap_is_refused():
    with pytest.raises(ValueError, match="amsgrad"):
        OptimiserConfig(kind="soap", amsgrad=True)
