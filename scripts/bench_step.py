"""What does one MD step of a potential cost, and where does it go: neighbour list, model, rest?

    python scripts/bench_step.py [STRUCTURE...] [--potential P] [--threads 1 2] [--compile]

Velocity Verlet at 0.5 fs through the ASE calculator, as a run makes it. The energy and the forces along the way are compared with a plain evaluation
(fresh neighbour list, `potentials.derivatives`) before anything is timed. With --compile each system is measured twice, plain and compiled, one after the other.
Without structures: Ac-Ala3-NHMe and Ac-Ala15-NHMe.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import append_row, median, say_where, spread, structures, table
from ase import Atoms
from mdapp.dynamics import draw_momenta
from mdapp.dynamics.nve import NVE
from mdapp.jobs._compute import free_cores
from mdapp.structure import read_structure
from potentials import load_calculator
from potentials.calculator import PotentialCalculator
from potentials.derivatives import energy_forces_stress
from potentials.neighbours import graph_for

TIMESTEP_FS, SEED = 0.5, 1
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}  # eV/Å and eV; float32: sums in another order over a thousand pairs


class Watched:
    """A function that adds up its own time, the device's included."""

    def __init__(self, function: Callable[..., Any], device: torch.device):
        self.function, self.device, self.seconds = function, device, 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = self.function(*args, **options)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds += time.perf_counter() - begin
        return result


def moving(structure: Path, calculator: PotentialCalculator) -> tuple[Atoms, Any]:
    """The system at 300 K and its integrator."""
    atoms = read_structure(structure)
    atoms.calc = calculator
    rng = np.random.default_rng(SEED)
    atoms.set_momenta(draw_momenta(atoms, 300.0, rng))
    return atoms, NVE().dynamics(atoms, TIMESTEP_FS, rng)


def check(atoms: Atoms, dynamics: Any, calculator: PotentialCalculator) -> None:
    """After 20 steps on kept pairs, energy and forces are those of a plain evaluation."""
    for _ in range(20):
        dynamics.step()
    p = calculator.potential
    plain = energy_forces_stress(p, graph_for(atoms, p).to(calculator.evaluator.device))
    assert plain.forces is not None
    limit = TOLERANCE[dtype_of(calculator)]
    worst = max(float(np.abs(plain.forces.cpu().numpy() - atoms.get_forces()).max()), abs(float(plain.energy) - atoms.get_potential_energy()) / len(atoms))
    assert worst < limit, f"differs from a plain evaluation by {worst:.1e} eV/Å, limit {limit:.0e}"


def dtype_of(calculator: PotentialCalculator) -> str:
    return next((str(p.dtype).removeprefix("torch.") for p in calculator.potential.parameters() if p.is_floating_point()), "float64")


def measure(structure: Path, spec: str, device: str, dtype: str | None, threads: int, compiled: bool, blocks: int, steps: int) -> dict[str, Any]:
    """ms per step, whole and in parts: the median of blocks of steps."""
    torch.set_num_threads(threads)
    calculator = load_calculator(spec, device=device, dtype=dtype, compiled=compiled)
    if not isinstance(calculator, PotentialCalculator):
        raise TypeError(f"{spec} is an ASE calculator; this benchmark looks into potentials of ours.")
    atoms, dynamics = moving(structure, calculator)
    check(atoms, dynamics, calculator)
    evaluator = calculator.evaluator
    pairs, model = Watched(evaluator.graph, evaluator.device), Watched(evaluator.derive, evaluator.device)
    evaluator.graph, evaluator.derive = pairs, model  # type: ignore[method-assign]
    whole, parts, begin_cpu, searches = [], [], time.process_time(), evaluator.searches
    for _ in range(blocks):
        pairs.seconds = model.seconds = 0.0
        begin = time.perf_counter()
        for _ in range(steps):
            dynamics.step()
        whole.append(1000 * (time.perf_counter() - begin) / steps)
        parts.append((1000 * pairs.seconds / steps, 1000 * model.seconds / steps))
    cpu = 1000 * (time.process_time() - begin_cpu) / (blocks * steps)
    pairs_ms, model_ms = np.median(parts, axis=0)
    ms = median(whole)
    return {
        "structure": structure.stem, "atoms": len(atoms), "potential": Path(spec).name, "dtype": dtype_of(calculator), "compiled": int(compiled), "steps": blocks * steps, "ms_per_step": ms,
        "spread_ms": spread(whole), "fastest_ms": min(whole), "cpu_ms_per_step": cpu, "neighbours_ms": float(pairs_ms), "model_ms": float(model_ms),
        "rest_ms": ms - float(pairs_ms) - float(model_ms), "steps_per_search": blocks * steps / max(1, evaluator.searches - searches),
        "us_per_atom_step": 1000 * ms / len(atoms), "ns_per_day": TIMESTEP_FS * 1e-6 * 86400 * 1000 / ms,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="*")
    parser.add_argument("--potential", default="so3krates.pt")
    parser.add_argument("--threads", type=int, nargs="+", help="1 and 2 where so many cores are free")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"))
    parser.add_argument("--compile", action="store_true", help="measure compiled code beside the plain path")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    asked = parser.parse_args()
    counts = asked.threads or [n for n in (1, 2) if n <= free_cores()]  # threads that wait for a core spin, and tell nothing
    where, shown = say_where(device=asked.device if asked.device == "cpu" else torch.cuda.get_device_name(asked.device), seed=SEED), []
    for structure in structures(asked.structure):
        for threads, compiled in [(n, code) for n in counts for code in ((False, True) if asked.compile else (False,))]:
            found = measure(structure, asked.potential, asked.device, asked.dtype, threads, compiled, asked.blocks, asked.steps)
            path = append_row("step", {**where, "threads": threads, **found})
            shown.append((found["structure"], found["atoms"], threads, "compiled" if compiled else "plain", *(found[k] for k in ("ms_per_step", "spread_ms", "fastest_ms", "cpu_ms_per_step", "neighbours_ms",
                                                                                            "model_ms", "rest_ms", "steps_per_search", "ns_per_day"))))
    print(f"{asked.potential}, {found['dtype']}, {TIMESTEP_FS} fs")
    print(table(shown, ("structure", "atoms", "threads", "code", "ms/step", "spread", "fastest", "processor", "neighbours", "model", "rest", "steps/search", "ns/day")))
    print(f"rows added to {path}")


if __name__ == "__main__":
    main()
