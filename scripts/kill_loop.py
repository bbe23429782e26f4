"""Kill whole runs again and again, at any moment from start-up on, and resume them: is anything lost, is the end the same?

    python scripts/kill_loop.py [--kills 200] [--potential lj] [--structure CLUSTER.xyz]

A reference run is left alone. Another one, `mdapp run` and from then on `mdapp resume`, is killed with SIGKILL after a random time; most sessions are forked from
this process, which has the imports behind it, so that kills fall into the work itself, and every tenth is a new process. After each kill the folder is opened as a
stranger would (h5py, mdtraj, our reader), and its frames are compared with the reference's, bit for bit; no frame that an earlier look
found may be gone, and no more than one write interval may be lost against the table's independent count. At the end the run is resumed to the reference's length, and
trajectory, table and restart state must be the same. A row with the figures goes to scripts/results/kill_loop.csv.
"""
from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import mdtraj
import numpy as np
from _bench import append_row, say_where
from ase.cluster import Icosahedron

from mdapp.config import ResumeConfig, RunConfig
from mdapp.jobs import _checkpoints as checkpoints
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.trajectory import load_checkpoint, read_frames
from mdapp.trajectory import write as writing
from mdapp.trajectory.thermo import read_thermo

EVERY = 10
NEW_PROCESS = "import sys; from mdapp.jobs import _checkpoints; _checkpoints.SHARE = 1e9; from mdapp.cli import main; sys.exit(main(sys.argv[1:]))"


def config(folder: Path, asked: argparse.Namespace, steps: int) -> RunConfig:
    return RunConfig(structure=str(asked.structure), potential=(asked.potential,), temperature=asked.temperature, timestep=asked.timestep, steps=steps,
                     every=EVERY, seed=3, device="cpu", threads=1, output=str(folder))  # fmt: skip


def words(folder: Path, asked: argparse.Namespace, steps: int) -> list[str]:
    """The same on the command line."""
    if (folder / "run.toml").exists():
        return ["resume", str(folder)]
    return ["run", str(asked.structure), "-p", asked.potential, "--temperature", str(asked.temperature), "--timestep", str(asked.timestep), "--steps", str(steps),
            "--every", str(EVERY), "--seed", "3", "--device", "cpu", "--threads", "1", "-o", str(folder)]


def session(folder: Path, asked: argparse.Namespace, steps: int, fresh: bool) -> int:
    """Starts a session that works until it is killed; its process id."""
    if fresh:
        with open(os.devnull, "w") as nowhere:
            return subprocess.Popen([sys.executable, "-c", NEW_PROCESS, *words(folder, asked, steps)], stdout=nowhere, stderr=nowhere).pid
    child = os.fork()
    if child:
        return child
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        checkpoints.SHARE = 1e9
        writing.SHORTEST_INTERVAL_S, writing.COST_FACTOR, writing.BYTES_PER_S = 0.01, 0.0, 1e18  # trajectory.h5 is replaced all the time
        if (folder / "run.toml").exists():
            resume(ResumeConfig(str(folder)))
        else:
            run(config(folder, asked, steps))
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)


def look(folder: Path, reference: list, seen: int) -> int:
    """What must hold after any kill; the number of frames that are there."""
    trajectory = folder / "trajectory.h5"
    if not trajectory.exists():
        assert seen == 0, "the trajectory has gone"
        return 0
    with h5py.File(trajectory, "r") as file:
        n_plain = len(file["coordinates"])
        assert n_plain and all(len(file[name]) == n_plain for name in ("time", "velocities", "forces", "mdapp/step"))
    assert mdtraj.load(str(trajectory)).n_frames == n_plain
    frames = list(read_frames(folder))
    assert [f.step for f in frames] == [EVERY * k for k in range(len(frames))], "a frame is missing or doubled"
    for k, found in enumerate(frames):
        if k < len(reference) and (k % 7 == 0 or k >= len(frames) - 5):
            assert np.array_equal(found.positions, reference[k].positions) and found.conserved_energy == reference[k].conserved_energy, f"frame {k} differs"
    lines = len(read_thermo(folder / "thermo.csv")["step"]) if (folder / "thermo.csv").exists() else 0
    assert len(frames) >= lines, f"{lines} lines in the table, {len(frames)} frames: more than one write interval is lost"
    assert len(frames) >= seen - 1, f"{seen} frames were there before, {len(frames)} are now"
    return len(frames)


def same(first: Path, second: Path) -> None:
    """Two folders hold the same run."""
    a, b = list(read_frames(first)), list(read_frames(second))
    assert [f.step for f in a] == [f.step for f in b]
    for f, g in zip(a, b):
        assert all(np.array_equal(getattr(f, name), getattr(g, name)) for name in ("time_fs", "positions", "momenta", "forces", "conserved_energy"))
    assert (first / "thermo.csv").read_bytes() == (second / "thermo.csv").read_bytes()
    x, y = (load_checkpoint(folder).state["stepper"] for folder in (first, second))
    assert x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--potential", default="lj")
    parser.add_argument("--structure", type=Path, default=None)
    parser.add_argument("--temperature", type=float, default=20.0)
    parser.add_argument("--timestep", type=float, default=4.0)
    parser.add_argument("--reference", type=int, default=4000, help="steps of the run that is left alone, and compared with after each kill")
    parser.add_argument("--longest", type=float, default=2.5, help="seconds that a forked session may live; a new process gets three times as long")
    parser.add_argument("--minutes", type=float, default=1e9, help="no more kills after so long; the row says how many there were")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    where, rng = say_where(threads=1, seed=asked.seed), np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as scratch:
        if asked.structure is None:
            asked.structure = Path(scratch) / "ar13.xyz"
            Icosahedron("Ar", 2, latticeconstant=5.4).write(asked.structure)
        asked.structure = asked.structure.resolve()
        folder, begun = Path(scratch) / "killed", time.monotonic()
        first = run(config(Path(scratch) / "reference", asked, asked.reference))
        reference, seen, before_start, ended = list(read_frames(first.folder)), 0, 0, 0
        for k in range(asked.kills):
            if time.monotonic() - begun > 60 * asked.minutes:
                asked.kills = k
                break
            fresh = k % 10 == 0
            longest = asked.longest * (3 if fresh else 1)
            process = session(folder, asked, 10**9, fresh)
            time.sleep(rng.choice([rng.uniform(0, 0.1 * longest), rng.uniform(0, longest)]))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            assert os.WIFSIGNALED(status), f"session {k} ended by itself with {os.waitstatus_to_exitcode(status)}"
            found = look(folder, reference, seen)
            before_start += not (folder / "run.toml").exists()
            ended, seen = ended + (found == seen), max(seen, found)
            if (k + 1) % 20 == 0:
                print(f"{k + 1} kills, {seen} frames, all whole; {ended} kills before a new frame", flush=True)
        total = EVERY * (seen + 5)
        assert resume(ResumeConfig(str(folder), steps=total)).exit_code == 0
        run(config(Path(scratch) / "whole", asked, total))
        same(Path(scratch) / "whole", folder)
        left = sorted(p.name for p in folder.iterdir() if p.name.endswith(".tmp") or "journal" in p.name)
        assert not left, f"left behind: {left}"
        row = {**where, "kills": asked.kills, "potential": asked.potential, "atoms": len(reference[0].numbers), "steps": total, "kills_before_the_folder": before_start,
               "kills_before_a_new_frame": ended, "frames_lost": 0, "end_differs_by": 0.0, "minutes": (time.monotonic() - begun) / 60}
        print(f"{asked.kills} kills: {total} steps equal those of an undisturbed run, bit for bit; row added to {append_row('kill_loop', row)}")


if __name__ == "__main__":
    main()
