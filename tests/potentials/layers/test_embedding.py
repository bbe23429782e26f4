"""The embedding of charge and spin: what it spreads sums up, zero is zero, structures of a batch do not mix."""
import numpy as np
import torch

from potentials.graph import batch, sum_over_atoms
from potentials.layers.embedding import N_NUMBERS, ChargeSpinEmbedding, element_table
from potentials.neighbours import graph_of
from samples import argon, water

F = 8


def embedding(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ChargeSpinEmbedding(F).double()


def graph(*structures):
    return batch([graph_of(a, 4.0) for a in structures])


def psi(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_it_follows_its_formula():
    layer, g = embedding(), graph(water(1))
    for value, row in ((2.0, 0), (-1.0, 1)):
        q, k, v = layer.q.weight.detach().numpy(), layer.k.weight.detach().numpy()[row], layer.v.weight.detach().numpy()[row]
        y = np.log1p(np.exp(q[g.numbers.numpy()] @ k / np.sqrt(F)))
        z = (value * y / y.sum())[:, None] * v
        W1, W2 = (getattr(layer.residual.layers, name).weight.detach().numpy() for name in ("first", "last"))

        def silu(x):
            return x / (1 + np.exp(-x))

        expected = z + silu(silu(z) @ W1.T) @ W2.T
        np.testing.assert_allclose(layer(g, psi(value)).detach().numpy(), expected, atol=1e-14)


def test_zero_gives_the_zero_vector():
    assert embedding()(graph(water()), psi(0.0)).abs().max() == 0


def test_sign_chooses_other_rows():
    layer, g = embedding(), graph(water())
    plus, minus = layer(g, psi(1.0)), layer(g, psi(-1.0))
    assert (plus + minus).abs().max() > 1e-3  # not the same numbers with the other sign
    with torch.no_grad():
        layer.k.weight[1] += 1
        layer.v.weight[1] += 1
    assert torch.equal(layer(g, psi(1.0)), plus) and not torch.equal(layer(g, psi(-1.0)), minus)


def test_structures_of_a_batch_do_not_hear_of_each_other():
    layer = embedding()
    together = layer(graph(water(1), argon(1, n=1), water(2)), psi(1.0, 0.0, -2.0))
    alone = torch.cat([layer(graph(a), psi(x)) for a, x in ((water(1), 1.0), (argon(1, n=1), 0.0), (water(2), -2.0))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-15)


def test_what_is_spread_sums_to_the_whole():
    """With v a unit vector and no residual network, the atoms' shares add up to psi."""
    layer, g = embedding(), graph(water(1), argon(1, n=1))
    with torch.no_grad():
        layer.v.weight.zero_()
        layer.v.weight[:, 0] = 1
        layer.residual.layers.last.weight.zero_()
    torch.testing.assert_close(sum_over_atoms(layer(g, psi(3.0, -2.0)), g)[:, 0], psi(3.0, -2.0), rtol=0, atol=1e-14)


def test_the_element_table_has_a_row_for_every_element_and_unit_length():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        table = element_table(N_NUMBERS, 64).weight.detach()
    assert table.shape == (119, 64)
    assert abs(float((table**2).sum(1).mean()) - 1) < 0.05  # 7616 draws: 1.6 % deviation
