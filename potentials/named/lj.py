"""`lj`: the Lennard-Jones potential with argon's constants, for any element."""
from __future__ import annotations

from potentials.architectures.lennard_jones import LennardJones
from potentials.calculator import PotentialCalculator
from potentials.checkpoint import Card
from potentials.named import named

CARD = Card(
    level_of_theory="Lennard-Jones, argon: epsilon 0.010341 eV, sigma 3.405 Å (Rahman 1964), switched off between 7.5 and 8.5 Å",
    energy_zero="relative to atoms",
    description="One pair potential for all elements: for tests, examples and noble gases, not for molecules.",
)


@named.register("lj")
def lj(device: str = "cpu", dtype: str | None = None) -> PotentialCalculator:
    """The calculator; the potential has no weights, so `dtype` changes nothing."""
    potential = LennardJones()
    potential.card = CARD
    return PotentialCalculator(potential, device=device, name="lj")
