"""`torchani:ANI2x`, `torchani:ANI1x`, `torchani:ANI1ccx`: the ANI potentials of the package torchani, ANI2x when none is named.

Weights that are not on this machine are not fetched: torchani would download them at the first use, so that a first use is left to the user.

C. Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020).
"""
from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ase.calculators.calculator import Calculator

from potentials.checkpoint import Card
from potentials.named import named
from potentials.named._wanted import wanted

MODELS = {"ANI2x": "ωB97X/6-31G*", "ANI1x": "ωB97X/6-31G*", "ANI1ccx": "CCSD(T)*/CBS"}


@named.register("torchani")
def torchani(device: str = "cpu", dtype: str | None = None, variant: str = "ANI2x") -> Calculator:
    """The calculator, of the whole ensemble of the model.

    Raises
    ------
    ValueError : an unknown model, torchani is not installed, or its weights are not on this machine.
    """
    name = {m.lower(): m for m in MODELS}.get(variant.lower().replace("-", ""))
    if name is None:
        raise ValueError(f"torchani has no model '{variant}'; known here: {', '.join(MODELS)}.")
    models = wanted("torchani", f"torchani:{name}").models
    import torch

    try:
        with no_network():
            model = getattr(models, name)(periodic_table_index=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"The weights of {name} are not on this machine ({error}), and mdapp downloads nothing by itself. "
                         f"Fetch them once: python -c 'import torchani; torchani.models.{name}()'.") from error
    model = model.to(device).to({"float32": torch.float32, "float64": torch.float64}[dtype or "float64"])
    calculator: Any = model.ase()
    calculator.elements = tuple(sorted({1, 6, 7, 8} | ({9, 16, 17} if name == "ANI2x" else set())))
    calculator.knows_charge = calculator.knows_spin = False
    calculator.card = Card(level_of_theory=MODELS[name], energy_zero="absolute: total energies", description=f"{name}, by torchani.")
    return calculator


@contextmanager
def no_network() -> Iterator[None]:
    """No connection to another machine is made in here: a library that would download fails and says so."""

    def refused(self: socket.socket, address: Any) -> None:
        raise OSError("a download was tried")

    before = socket.socket.connect
    socket.socket.connect = refused  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        socket.socket.connect = before  # type: ignore[method-assign]
