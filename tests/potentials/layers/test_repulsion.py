"""ZBL repulsion against the textbook formula, by hand for a dimer."""
import numpy as np
import pytest
import torch
from ase import Atoms

from potentials.graph import edge_lengths
from potentials.layers.cutoffs import phys
from potentials.layers.repulsion import ZBLRepulsion
from potentials.neighbours import graph_of
from samples import water


def energies(layer, atoms):
    g = graph_of(atoms, 5.0)
    d = edge_lengths(g)[: g.edges.n_pairs]
    return layer(g, d, phys(d, 5.0)).detach().numpy()


def by_hand(Z1, Z2, d):
    a, c = np.array([3.2, 0.9423, 0.4028, 0.2016]), np.array([0.1818, 0.5099, 0.2802, 0.02817])
    c = c / c.sum()
    x = d * (Z1**0.23 + Z2**0.23) / (0.8854 * 0.5291772105638411)
    q, s = d / 5.0, d / 1.5
    cut, off = 1 - 6 * q**5 + 15 * q**4 - 10 * q**3, np.exp(-1 / (1 - s)) / (np.exp(-1 / (1 - s)) + np.exp(-1 / s))
    return cut * off * 14.399645351950548 * Z1 * Z2 / d * (c * np.exp(-a * x)).sum()


@pytest.mark.parametrize("d", [0.3, 0.7, 1.1, 1.45])
def test_a_dimer_follows_the_formula_and_shares_it_evenly(d):
    found = energies(ZBLRepulsion().double(), Atoms("OC", [[0, 0, 0], [0, 0, d]]))
    assert found[0] == found[1]
    assert found.sum() == pytest.approx(by_hand(8, 6, d), rel=1e-6)  # the constants are weights, made in single precision


def test_it_vanishes_smoothly_at_its_end_and_repels_before():
    layer = ZBLRepulsion().double()
    e = [energies(layer, Atoms("H2", [[0, 0, 0], [0, 0, d]])).sum() for d in (0.2, 0.6, 1.0, 1.4, 1.4999, 1.5, 2.0)]
    assert np.all(np.diff(e[:5]) < 0) and e[4] < 1e-12 and e[5] == e[6] == 0


def test_a_molecule_is_the_sum_of_its_pairs():
    atoms = water(1)
    expected = 0.0
    for i in range(len(atoms)):
        for j in range(i):
            d = atoms.get_distance(i, j)
            expected += by_hand(float(atoms.numbers[i]), float(atoms.numbers[j]), d) if d < 1.5 else 0
    assert energies(ZBLRepulsion().double(), atoms).sum() == pytest.approx(expected, rel=1e-6)


def test_whatever_the_weights_it_repels():
    """Constants come through a softplus: no training can turn the sign."""
    layer = ZBLRepulsion().double()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype) * 3)
    assert (energies(layer, water(2)) >= 0).all()
