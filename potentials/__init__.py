"""What an energy is, how it is learned, how it is evaluated fast."""
from __future__ import annotations

from typing import Any

__all__ = ["load_calculator", "load_potential"]


def __getattr__(name: str) -> Any:  # torch is imported when it is needed, not before
    if name == "load_calculator":
        from potentials.calculator import load_calculator

        return load_calculator
    if name == "load_potential":
        from potentials.calculator import load_potential

        return load_potential
    raise AttributeError(f"module 'potentials' has no attribute '{name}'")
