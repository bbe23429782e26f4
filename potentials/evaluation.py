"""How a potential is evaluated in the fastest way that its device, its terms and its user allow."""
from __future__ import annotations

import os
import shutil

import torch

from potentials.combine import Committee, CommitteeDerivatives, joins
from potentials.derivatives import energy_forces_stress
from potentials.potential import Potential
from potentials.runtime.evaluator import Derive
from potentials.runtime.radial_table import has_radial_filters
from potentials.runtime.replayed_derivatives import ReplayedDerivatives


def checked_device(device: str) -> torch.device:
    """The device of that name.

    Raises
    ------
    ValueError : no such device on this machine.
    """
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device is '{device}'; allowed: cpu, cuda, cuda:0, cuda:1, ...") from None
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device is '{device}'; allowed: cpu, cuda, cuda:0, cuda:1, ...")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise ValueError(f"device is '{device}', but torch finds {count} CUDA device(s) here. Use --device cpu.")
    return found


def takes_a_table(potential: Potential) -> bool:
    """Is it one whose filters a table can hold, in float32?"""
    return has_radial_filters(potential) and all(p.dtype == torch.float32 for p in potential.parameters())


def refuse_to_compile(device: torch.device) -> None:
    """ValueError where no compiled code can be made: not on the CPU, or no compiler."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if device.type != "cpu" or compiler is None:
        why = "found no C++ compiler (g++ or clang++)" if compiler is None else f"the device is {device}"
        raise ValueError(f"compile makes code for the CPU, but {why}. Leave it out.")


def derivatives_of(potential: Potential, device: str, compiled: bool, replayed: bool) -> Derive:
    """What evaluates a potential in the fastest way allowed."""
    if isinstance(potential, Committee):
        potential.to(device)
        if compiled and joins(potential):
            refuse_to_compile(checked_device(device))
            return CommitteeDerivatives(potential, compile=True)
        return CommitteeDerivatives(potential, [_compiled(m, device) for m in potential.members] if compiled else ())  # type: ignore[arg-type]
    if compiled:
        return _compiled(potential, device)
    return ReplayedDerivatives(potential.to(device)) if replayed else energy_forces_stress


def _compiled(potential: Potential, device: str) -> Derive:
    refuse_to_compile(checked_device(device))
    from potentials.runtime.compiled_derivatives import CompiledDerivatives
    from potentials.runtime.tracing import traceable

    if not traceable(potential):
        raise ValueError("This potential has electrostatics over all images of a cell (Ewald), which are not compiled: leave out compile.")
    return CompiledDerivatives(potential)
