"""What does the engine cost per step beyond the potential: integrator, guards, frames, restart states?

    python scripts/bench_engine.py [STRUCTURE...] [--steps 20000]

Runs `mdapp.jobs.run` as a user would (NVT, all guards, a frame every 100 steps) with atoms tethered by springs, a potential of next to no
cost, which is measured and taken off; what is left of the time of the run is the engine's. Before that, the run is compared with a bare loop over the
integrator. Then the parts by themselves: one look of all guards, one frame written. Without structures: Ac-Ala3-NHMe and Ac-Ala15-NHMe.
"""
from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _bench import SCRATCH, Tethered, append_row, median, say_where, spread, structures, table, timed
from ase.io import read
from mdapp.config import RunConfig
from mdapp.dynamics import degrees_of_freedom_of, draw_momenta
from mdapp.dynamics._stepper import ASEStepper
from mdapp.dynamics.nvt_langevin import LangevinNVT
from mdapp.frame import Frame
from mdapp.jobs import run
from mdapp.jobs._plugins import guards_of
from mdapp.structure import read_structure
from mdapp.topology import find_bonds, topology_of
from mdapp.trajectory import ThermoWriter, TrajectoryWriter

POTENTIAL = "ase:_bench:Tethered"  # found beside this script
SEED = 1


def config(structure: Path, folder: Path, steps: int, every: int = 100) -> RunConfig:
    return RunConfig(structure=str(structure), potential=(POTENTIAL,), steps=steps, every=every, seed=SEED, threads=1, device="cpu", output=str(folder))


def bare_loop(structure: Path, steps: int) -> np.ndarray:
    """Positions after `steps` of the integrator alone, from the same start as the run's."""
    atoms = read(structure)
    atoms.info, atoms.calc = {}, Tethered()
    ensemble = LangevinNVT(300.0)
    for_momenta, for_thermostat = (np.random.default_rng(s) for s in np.random.SeedSequence(SEED).spawn(2))
    atoms.set_momenta(draw_momenta(atoms, 300.0, for_momenta, degrees_of_freedom_of(ensemble, atoms)))
    dynamics = ensemble.dynamics(atoms, 0.5, for_thermostat)
    for _ in range(steps):
        dynamics.step()
    return atoms.positions


def check(structure: Path, scratch: Path) -> None:
    """The engine moves atoms as the bare loop does."""
    result = run.run(config(structure, scratch / "check", 200))
    found, expected = read(result.folder / "final.extxyz").positions, bare_loop(structure, 200)
    worst = float(np.abs(found - expected).max())
    assert worst < 1e-6, f"the run ends {worst} Å from the bare loop"  # final.extxyz has 8 decimals


def overhead(structure: Path, scratch: Path, steps: int, runs: int) -> tuple[list[float], list[float]]:
    """Of each run: wall and processor ms per step, the potential's share included. The processor's time is of the whole run, start and end too."""
    wall, cpu = [], []
    for k in range(runs + 1):
        begin_cpu = time.process_time()
        result = run.run(config(structure, scratch / f"run-{k}", steps))
        used = time.process_time() - begin_cpu
        assert result.exit_code == 0, result.summary["why"]
        if k:  # the first one warms up
            wall.append(1000 * result.summary["session_seconds"] / steps)
            cpu.append(1000 * used / steps)
    return wall, cpu


def potential_ms(structure: Path) -> tuple[float, float]:
    """Wall and processor ms of one evaluation."""
    atoms, calculator = read(structure), Tethered()
    wall, cpu = timed(lambda: calculator.calculate(atoms), 5000)
    return 1000 * median(wall), 1000 * cpu


def stepper(structure: Path) -> ASEStepper:
    atoms = read_structure(structure)
    atoms.calc = Tethered()
    rng = np.random.default_rng(SEED)
    atoms.set_momenta(draw_momenta(atoms, 300.0, rng))
    return ASEStepper(atoms, LangevinNVT(300.0), 0.5, rng)


def frames_of(at: ASEStepper, count: int, apart: int = 10) -> list[Frame]:
    found = []
    for _ in range(count):
        for _ in range(apart):
            at.step()
        found.append(at.frame(full=True))
    return found


def guards_ms(at: ASEStepper, runs: int) -> tuple[list[float], float]:
    """Wall and processor ms of one look of all guards, fresh frames every time."""
    first = at.frame()
    bonds = find_bonds(first.numbers, first.positions, first.cell, first.pbc)
    watches = [guard.begin(first, bonds) for guard in guards_of(("on",))]
    frames = iter(frames_of(at, runs + 1))
    wall, cpu = timed(lambda: [watch.look(frame) for frame in (next(frames),) for watch in watches], runs)
    return [1000 * t for t in wall], 1000 * cpu


def writing_ms(at: ASEStepper, structure: Path, folder: Path, runs: int) -> tuple[list[float], float]:
    """Wall and processor ms of one frame into trajectory and table."""
    folder.mkdir()
    atoms = read_structure(structure)
    topology = topology_of(atoms, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
    frames = iter(frames_of(at, runs + 2))
    with TrajectoryWriter(folder, topology, "bench") as trajectory:
        thermo = ThermoWriter(folder)
        trajectory(next(frames))  # begins the files
        wall, cpu = timed(lambda: [write(frame) for frame in (next(frames),) for write in (trajectory, thermo)], runs)
        thermo.close()
    return [1000 * t for t in wall], 1000 * cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="*")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    where, shown = say_where(threads=1, seed=SEED), []
    SCRATCH.mkdir(exist_ok=True)
    for structure in structures(asked.structure):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
            check(structure, Path(scratch))
            wall, cpu = overhead(structure, Path(scratch), asked.steps, asked.runs)
            potential, potential_cpu = potential_ms(structure)
            at = stepper(structure)
            look, look_cpu = guards_ms(at, 300)
            frame, frame_cpu = writing_ms(at, structure, Path(scratch) / "writing", 300)
        n = len(at.atoms)
        row = {
            **where, "structure": structure.stem, "atoms": n, "steps": asked.steps, "runs": asked.runs, "engine_ms_per_step": median(wall) - potential,
            "engine_spread_ms": spread(wall), "engine_cpu_ms_per_step": median(cpu) - potential_cpu, "potential_ms": potential,
            "guards_ms_per_look": median(look), "guards_spread_ms": spread(look), "guards_cpu_ms": look_cpu,
            "frame_ms": median(frame), "frame_spread_ms": spread(frame), "frame_cpu_ms": frame_cpu,
        }  # fmt: skip
        shown += [(f"{n} atoms: engine, a step", row["engine_ms_per_step"], row["engine_spread_ms"], row["engine_cpu_ms_per_step"]),
                  (f"{n} atoms: guards, a look", row["guards_ms_per_look"], row["guards_spread_ms"], row["guards_cpu_ms"]),
                  (f"{n} atoms: frame, a write", row["frame_ms"], row["frame_spread_ms"], row["frame_cpu_ms"])]
        path = append_row("engine", row)
    print(table(shown, ("what", "wall ms", "spread ms", "processor ms")))
    print(f"rows added to {path}")


if __name__ == "__main__":
    main()
