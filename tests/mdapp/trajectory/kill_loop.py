"""Kills a writer again and again, resumes it, and looks at what each kill left. Run as a program: kill_loop.py FOLDER KILLS SEED.

Writers are forked from this process, so that a kill costs no imports; it has one thread.
"""
from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

import h5py
import mdtraj
import numpy as np
from runs import assert_same, ethanol, frame, topology

from mdapp.errors import RunFolderError
from mdapp.trajectory import RunLock, ThermoWriter, TrajectoryWriter, load_checkpoint, read_frames, save_checkpoint
from mdapp.trajectory import write as write_module
from mdapp.trajectory.thermo import read_thermo

ATOMS, STEPS = ethanol(), 4000
TOPOLOGY = topology(ATOMS)


def work(folder: Path, progress: mmap.mmap, pace: float) -> None:
    """Writes from the last checkpoint on; `progress` holds the last step that `write` returned for."""
    with RunLock(folder):
        try:
            state = load_checkpoint(folder).state
        except RunFolderError:
            state = None
            for left in folder.glob("t*"):
                left.unlink()  # killed before the first checkpoint: begin anew
        writer = TrajectoryWriter(folder, TOPOLOGY, "run", resume=state and state["trajectory"])
        thermo = ThermoWriter(folder, resume_at=state and state["step"])
        begin = state["step"] + 1 if state else 0
        progress[:8] = struct.pack("<q", begin - 1)
        for step in range(begin, STEPS):
            one = frame(ATOMS, step)
            thermo(one)
            writer(one)
            progress[:8] = struct.pack("<q", step)
            if step % 7 == 0:
                writer.sync()
                thermo.sync()
                save_checkpoint(folder, {"step": step, "trajectory": writer.state(), "array": np.full(50, step)})
            time.sleep(pace)
        writer.close()
        thermo.close()


def look(folder: Path, last_written: int) -> None:
    """What must hold after any kill."""
    path = folder / "trajectory.h5"
    if path.exists():
        with h5py.File(path, "r") as file:
            n = len(file["coordinates"])
            assert all(len(file[name]) == n for name in ("time", "velocities", "forces", "potentialEnergy", "mdapp/step"))
        loaded = mdtraj.load(str(path))
        assert loaded.n_frames == n
        for k in (0, n // 2, n - 1):
            assert np.allclose(loaded.xyz[k] * 10, frame(ATOMS, k).positions, atol=1e-5)
        steps = []
        for found in read_frames(folder):
            steps.append(found.step)
            if found.step % 29 == 0 or found.step >= last_written:
                assert_same(found, frame(ATOMS, found.step))
        assert steps == list(range(len(steps))), "a frame is missing or doubled"
        assert len(steps) > last_written, "a frame that was written is lost"
    else:
        assert last_written <= 0
    if (folder / "checkpoint.h5").exists():
        loaded_state = load_checkpoint(folder)
        assert not loaded_state.notes and (loaded_state.state["array"] == loaded_state.state["step"]).all()
    if (folder / "thermo.csv").exists():
        columns = read_thermo(folder / "thermo.csv")
        assert (np.diff(columns["step"]) == 1).all()


def main(folder: Path, kills: int, seed: int) -> None:
    write_module.SHORTEST_INTERVAL_S, write_module.COST_FACTOR, write_module.BYTES_PER_S = 0.003, 0.0, 1e18  # fold all the time
    rng = np.random.default_rng(seed)
    progress = mmap.mmap(-1, 8)
    furthest = 0
    for k in range(kills):
        progress[:8] = struct.pack("<q", -1)
        child = os.fork()
        if child == 0:
            try:
                work(folder, progress, 1e-4)
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 1)
        time.sleep(rng.choice([rng.uniform(0, 0.02), rng.uniform(0.02, 0.2)]))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the writer failed after kill {k}"
        last = struct.unpack("<q", progress[:8])[0]
        furthest = max(furthest, last)
        look(folder, last)
    global STEPS
    STEPS = furthest + 20
    work(folder, progress, 0.0)
    assert [f.step for f in read_frames(folder)] == list(range(STEPS))
    look(folder, STEPS - 1)
    assert read_thermo(folder / "thermo.csv")["step"].tolist() == list(range(STEPS))
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.h5", "checkpoint.prev.h5", "thermo.csv", "trajectory.h5"]
    print(f"{kills} kills, {STEPS} frames, all whole")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
