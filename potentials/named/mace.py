"""`mace:FILE.model`: a MACE potential from its file, by the package mace-torch.

Only files are taken: names such as "medium" would be downloaded. A MACE file is a pickled module, and opening one runs what is in it: open those
only whose origin you trust.

I. Batatia et al., NeurIPS 35, 11423 (2022).
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from potentials.checkpoint import Card
from potentials.named import named
from potentials.named._wanted import wanted


@named.register("mace")
def mace(device: str = "cpu", dtype: str | None = None, variant: str = "") -> Calculator:
    """The calculator.

    Raises
    ------
    ValueError : no file named, no such file, or mace-torch is not installed.
    """
    if not variant:
        raise ValueError("mace wants a model file: mace:FILE.model. Names of foundation models are not taken, for they would be downloaded.")
    if not Path(variant).is_file():
        raise ValueError(f"mace:{variant}: there is no such file. Models are not downloaded; fetch the file yourself and name its path.")
    module = wanted("mace.calculators", f"mace:{variant}", "mace-torch")
    calculator: Any = module.MACECalculator(model_paths=variant, device=device, default_dtype=dtype or "float64")
    table = getattr(calculator, "z_table", None)
    calculator.elements = None if table is None else tuple(int(z) for z in table.zs)
    calculator.knows_charge = calculator.knows_spin = False
    calculator.card = Card(description=f"MACE, from {Path(variant).name}.")
    return calculator
