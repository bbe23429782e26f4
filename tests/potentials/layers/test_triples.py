import itertools

import pytest
import torch

from potentials.layers.triples import outer_sums, triples_of


def test_each_pair_of_edges_of_a_centre_comes_once():
    centres = torch.tensor([2, 0, 2, 1, 0, 2, 0, 4])
    first, second = triples_of(centres, 5)
    found = sorted(tuple(sorted(t)) for t in zip(first.tolist(), second.tolist()))
    expected = [(a, b) for a, b in itertools.combinations(range(8), 2) if centres[a] == centres[b]]
    assert found == expected
    assert centres[first].tolist() == sorted(centres[first].tolist())


def test_no_edges_give_no_triples():
    first, second = triples_of(torch.zeros(0, dtype=torch.int64), 3)
    assert len(first) == len(second) == 0


@pytest.mark.parametrize("n_items, n_rows", [(0, 3), (5, 4), (2000, 7), (331, 3)])
@pytest.mark.parametrize("widths", [(1, 4), (3, 1), (3, 5)])
def test_sums_of_outer_products_and_their_derivatives(n_items, n_rows, widths):
    g = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n_items, w, dtype=torch.float64, generator=g, requires_grad=True) for w in widths)
    rows = torch.randint(0, n_rows - 1, (n_items,), generator=g).sort()[0]  # the last row has no items
    expected = torch.zeros(n_rows, widths[0] * widths[1], dtype=torch.float64).index_add(0, rows, (left[:, :, None] * right[:, None]).flatten(1))
    found = outer_sums(left, right, rows, n_rows)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    if n_items:
        weights = torch.randn(found.shape, dtype=torch.float64, generator=g)
        for a, b in zip(torch.autograd.grad(found, (left, right), weights), torch.autograd.grad(expected, (left, right), weights)):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
