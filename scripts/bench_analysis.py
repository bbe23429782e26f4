"""How long does the default analysis of a run take, and does its memory stay the same however long the trajectory is?

    python scripts/bench_analysis.py [--frames 10000] [--sizes 100 1000] [--folder FOLDER]

Two files are made, no potential is needed: a run folder of Ac-Ser-Ala-Met-NHMe (50 atoms; positions, velocities, forces, a thermo table), whose default analysis with
report is timed; and a DCD file of a box of 1000 water molecules of so many MB, whose analysis must not need more memory for ten times as many frames. Each analysis is a process of
its own, `mdapp analyse`; its largest resident set is its own count (VmHWM), and its processor time is what it used, for a machine that does other things as well.
"""
from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _bench import append_row, say_where, table
from ase import Atoms
from ase.build import molecule
from bench_memory import peak_MB

EXAMPLE = Path(__file__).parents[1] / "examples" / "peptide.xyz"
WATERS = 10  # along an edge
SPACING_A = 3.1
BYTES = 12  # of an atom in a DCD file


@dataclass(frozen=True)
class Cost:
    """What one analysis took."""

    wall_s: float
    processor_s: float
    peak_MB: float


def peptide_run(folder: Path, n_frames: int) -> Path:
    """A run folder of a peptide that trembles: `n_frames` frames, 2 fs apart."""
    from ase.io import read

    from mdapp.frame import Frame
    from mdapp.topology import topology_of
    from mdapp.trajectory import ThermoWriter, TrajectoryWriter, write_input

    if (folder / "trajectory.h5").exists():
        return folder
    atoms, rng = read(EXAMPLE), np.random.default_rng(1)
    folder.mkdir(parents=True)
    write_input(folder / "input.extxyz", atoms)
    (folder / "run.toml").write_text('[run]\nstructure = "peptide.xyz"\nensemble = "nvt"\ntemperature = 300.0\n')
    (folder / "summary.json").write_text('{"verdict": "sound", "exit_code": 0}')
    frames, thermo = TrajectoryWriter(folder, topology_of(atoms), "bench"), ThermoWriter(folder)
    for k in range(n_frames):
        draw = rng.standard_normal((3, len(atoms), 3))
        frame = Frame(step=4 * k, time_fs=2.0 * k, numbers=atoms.numbers, masses=atoms.get_masses(), positions=atoms.positions + 0.03 * draw[0], momenta=draw[1], forces=draw[2],
                      cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool), potential_energy=-1000 + 0.1 * draw[0, 0, 0], kinetic_energy=1.9, temperature_K=300 + 20 * draw[1, 0, 0],
                      conserved_energy=-998 + 1e-3 * draw[2, 0, 0])
        frames.write(frame)
        thermo.write(frame)
    frames.close()
    thermo.close()
    return folder


def water_file(folder: Path, size_MB: float) -> Path:
    """A DCD file of so many MB with its topology beside: a box of water, each frame noise about the same places."""
    import mdtraj

    from mdapp.topology import topology_of

    rng, box = np.random.default_rng(1), Atoms(cell=[WATERS * SPACING_A] * 3, pbc=True)
    for place in np.ndindex(WATERS, WATERS, WATERS):
        one = molecule("H2O")
        one.rotate(float(rng.uniform(0, 360)), rng.normal(size=3), center="COM")
        one.translate(SPACING_A * (np.array(place) + 0.5) - one.get_center_of_mass())
        box += one
    path, edge = folder / f"water-{size_MB:g}MB.dcd", np.full((1, 3), WATERS * SPACING_A)
    mdtraj.Trajectory(0.1 * box.positions[None], topology_of(box), unitcell_lengths=0.1 * edge, unitcell_angles=np.full((1, 3), 90.0)).save_pdb(str(path.with_suffix(".pdb")))
    start = box.positions.astype(np.float32)
    with mdtraj.formats.DCDTrajectoryFile(str(path), "w") as file:
        for _ in range(max(2, round(1e6 * size_MB / (BYTES * len(box))))):
            file.write(start[None] + 0.1 * rng.standard_normal(start.shape, dtype=np.float32), cell_lengths=edge, cell_angles=np.full((1, 3), 90.0))
    return path


def cost_of(*words: str) -> Cost:
    """Of `mdapp analyse WORDS` in a process of its own."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    begin, before = time.perf_counter(), used()
    peak = peak_MB("mdapp", "analyse", *words, "-q")
    return Cost(time.perf_counter() - begin, used() - before, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--sizes", type=float, nargs="*", default=[100.0, 1000.0], help="MB of the water files")
    parser.add_argument("--folder", help="for the files; one that is removed at the end when not given")
    asked = parser.parse_args()
    where, shown = say_where(seed=1), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(asked.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [("peptide run, 50 atoms", lambda: peptide_run(folder / f"peptide-{asked.frames}", asked.frames))] if asked.frames else []
        jobs += [(f"water, {3 * WATERS**3} atoms", lambda size=size: water_file(folder, size)) for size in asked.sizes]
        for system, make in jobs:
            path = make()
            file = path / "trajectory.h5" if path.is_dir() else path
            size_MB, cost = file.stat().st_size / 1e6, cost_of(str(path))
            n_frames = asked.frames if path.is_dir() else round(1e6 * size_MB / (BYTES * 3 * WATERS**3))
            written = append_row("analysis", {**where, "system": system, "frames": n_frames, "file_MB": size_MB, "wall_s": cost.wall_s, "processor_s": cost.processor_s,
                                              "peak_MB": cost.peak_MB})
            shown.append((system, n_frames, size_MB, cost.wall_s, cost.processor_s, cost.peak_MB))
    print(table(shown, ("system", "frames", "file, MB", "wall s", "processor s", "peak MB")))
    print(f"rows added to {written}")


if __name__ == "__main__":
    main()
