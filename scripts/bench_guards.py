"""What do the guards cost, each by itself and all together, in a share of the step of the default potential?

    python scripts/bench_guards.py [STRUCTURE...] [--looks 300] [--plain]

The frames are a real path: NVT with atoms tethered by springs, one frame every 10 steps, as the guards of a run see them. Every guard looks at each of them, in
turn, so that those that share a search for close pairs share it here too. The flight recorder, the cheap frame of each look and what the potential says of its own
doubts are timed by themselves. The share is that of all guards every 10 steps and of the recorder at every step in one step of the shipped potential, plain and
compiled, timed on the same frames. Processor times are the ones to believe on a busy machine.
"""
from __future__ import annotations

import argparse
import time

import numpy as np
from _bench import SCRATCH, append_row, median, say_where, structures, table, timed
from bench_engine import frames_of, stepper

from mdapp.dynamics._stepper import DOUBTS
from mdapp.jobs._plugins import guards_of
from mdapp.jobs._session import CHECK_EVERY
from mdapp.topology import find_bonds
from mdapp.trajectory.recorder import Recorder
from potentials import load_calculator


def potential_ms(frames: list, runs: int, compiled: bool) -> tuple[float, float, float]:
    """Wall and processor ms of one evaluation along the path, and processor ms of what the potential says of its own doubts, which guards ask for."""
    from ase import Atoms

    calculator = load_calculator("so3krates.pt", device="cpu", compiled=compiled)
    atoms = Atoms(numbers=frames[0].numbers, positions=frames[0].positions)
    atoms.calc = calculator
    wall, cpu, doubts = [], [], []
    for k, frame in enumerate(frames[: runs + 3]):  # the first three find pairs, and compile
        atoms.positions = frame.positions
        begin, begin_cpu = time.perf_counter(), time.process_time()
        atoms.get_forces()
        between, between_cpu = time.perf_counter(), time.process_time()
        for name in DOUBTS:
            calculator.results.get(name)
        if k > 2:
            wall.append(between - begin)
            cpu.append(between_cpu - begin_cpu)
            doubts.append(time.process_time() - between_cpu)
    return 1000 * median(wall), 1000 * float(np.mean(cpu)), 1000 * float(np.mean(doubts))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="*")
    parser.add_argument("--looks", type=int, default=300)
    parser.add_argument("--steps", type=int, default=40, help="evaluations of the potential")
    parser.add_argument("--plain", action="store_true", help="leave compiled code out")
    asked = parser.parse_args()
    where = say_where(threads=1, seed=1)
    SCRATCH.mkdir(exist_ok=True)
    for structure in structures(asked.structure):
        at = stepper(structure)
        first = at.frame()
        bonds = find_bonds(first.numbers, first.positions, first.cell, first.pbc)
        watches = [guard.begin(first, bonds) for guard in guards_of(("on",))]
        frames = frames_of(at, asked.looks)
        spent = {watch.monitor: 0.0 for watch in watches}
        begin_cpu = time.process_time()
        for frame in frames:
            for watch in watches:
                begin = time.perf_counter()
                watch.look(frame)
                spent[watch.monitor] += time.perf_counter() - begin
        all_cpu = 1000 * (time.process_time() - begin_cpu) / len(frames)
        recorder = Recorder(300, first)
        recording = 1000 * timed(lambda: recorder.record(1, 0.5, *at.glance()), 3000)[1]
        looking = 1000 * timed(at.frame, 1000)[1]
        rows = [(name, 1000 * seconds / len(frames)) for name, seconds in sorted(spent.items(), key=lambda item: -item[1])]
        n = len(first.numbers)
        print(table(rows, (f"{n} atoms, one look", "wall ms")))
        for compiled in (False,) if asked.plain else (False, True):
            wall, cpu, doubts = potential_ms(frames, asked.steps, compiled)
            a_step = (all_cpu + looking + doubts) / CHECK_EVERY + recording
            print(f"all guards, a look: {all_cpu:.3f} ms of the processor; a frame {looking:.3f}; the potential's doubts {doubts:.3f}; the recorder, a step: {recording:.4f}; "
                  f"a {'compiled' if compiled else 'plain'} step of so3krates.pt: {cpu:.1f} (wall {wall:.1f}); share of the guards in a step: {100 * a_step / cpu:.2f} %")
            path = append_row("guards", {**where, "structure": structure.stem, "atoms": n, "compiled": int(compiled), "looks": asked.looks, "guards_cpu_ms_per_look": all_cpu,
                                         "frame_cpu_ms": looking, "doubts_cpu_ms": doubts, "recorder_cpu_ms_per_step": recording, "all_cpu_ms_per_step": a_step,
                                         "potential_cpu_ms": cpu, "potential_wall_ms": wall, "share_percent": 100 * a_step / cpu,
                                         **{f"{name}_ms": ms for name, ms in sorted(rows)}})
    assert np.isfinite(a_step)
    print(f"rows added to {path}")


if __name__ == "__main__":
    main()
