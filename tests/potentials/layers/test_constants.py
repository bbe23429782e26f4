"""Constants survive a trip through single precision, to other modules and copies."""
import copy

import pytest
import torch

from potentials.layers.constants import WithConstants
from potentials.layers.dispersion import Dispersion
from potentials.layers.energies import ElementEnergies
from potentials.layers.radial import Bernstein, Bessel, PhysNet
from potentials.layers.spherical import Contraction, SphericalHarmonics

KINDS = {
    "harmonics": lambda: SphericalHarmonics((1, 2, 3, 4)), "contraction": lambda: Contraction((1, 3)), "bernstein": lambda: Bernstein(8, 5.0),
    "physnet": lambda: PhysNet(8, 5.0), "bessel": lambda: Bessel(8, 5.0), "dispersion": lambda: Dispersion(1.2),
}  # fmt: skip


def constants(module):
    return {name: getattr(module, name).clone() for name in module._exact}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_single_and_back_is_exact(make):
    exact = constants(make().double())
    assert exact and all(c.dtype == torch.float64 for c in exact.values())
    tripped = torch.nn.Sequential(make()).float().double()[0]
    assert all(torch.equal(c, exact[name]) for name, c in constants(tripped).items())
    single = constants(make().float())
    assert all(c.dtype == torch.float32 and torch.equal(c, exact[name].float()) for name, c in single.items())
    copied = copy.deepcopy(make().float()).double()
    assert all(torch.equal(c, exact[name]) for name, c in constants(copied).items())


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_constants_are_no_weights(make):
    assert make().state_dict() == {} and list(make().parameters()) == []


def test_the_trip_would_lose_digits_without_this():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("third", torch.tensor(1 / 3, dtype=torch.float64))

    class Kept(WithConstants):
        def __init__(self):
            super().__init__()
            self.constant("third", torch.tensor(1 / 3, dtype=torch.float64))

    assert float(Plain().float().double().third) != 1 / 3 == float(Kept().float().double().third)


def test_energies_of_elements_are_never_rounded():
    table = ElementEnergies()
    table.set({8: -2041.4396120001, 1: -13.5})
    table = torch.nn.Sequential(table).float().half()[0]
    numbers = torch.tensor([8, 1, 6])
    assert table(numbers).tolist() == [-2041.4396120001, -13.5, 0.0]
    table.set({6: 1.0})
    assert table(numbers).tolist() == [0.0, 0.0, 1.0]  # what is not named is 0 again
