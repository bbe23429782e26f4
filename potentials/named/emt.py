"""`emt`: ASE's effective medium theory for Al, Cu, Ag, Au, Ni, Pd, Pt (and, roughly, H, C, N, O)."""
from __future__ import annotations

from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT, parameters
from ase.data import atomic_numbers

from potentials.checkpoint import Card
from potentials.named import named


@named.register("emt")
def emt(device: str = "cpu", dtype: str | None = None) -> Calculator:
    """The calculator; it runs on the CPU in double precision whatever is asked."""
    calculator = EMT()
    calculator.elements = tuple(sorted(atomic_numbers[symbol] for symbol in parameters))
    calculator.card = Card(
        level_of_theory="effective medium theory (Jacobsen, Stoltze and Nørskov, Surf. Sci. 366, 394 (1996))",
        energy_zero="relative to the fcc metals",
        description="A quick many-body potential for fcc metals, from ASE.",
    )
    return calculator
