"""kill -9 at any moment: files open, frames are whole, the run goes on to the right trajectory."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def kill_loop(folder: Path, kills: int, seed: int) -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run([sys.executable, str(here / "kill_loop.py"), str(folder), str(kills), str(seed)], capture_output=True, text=True, timeout=600,
                            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)})  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"{kills} kills" in result.stdout


def test_a_killed_writer_leaves_whole_files_and_can_go_on(tmp_path):
    kill_loop(tmp_path, kills=12, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_two_hundred_kills(tmp_path, seed):
    kill_loop(tmp_path, kills=200, seed=seed)
