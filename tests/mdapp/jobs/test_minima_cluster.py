"""A search on Dask workers: two processes, one of them killed in mid-search."""
import os
import signal
import threading
import time

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from mdapp.cli import main
from mdapp.cluster import Cluster
from mdapp.config import MinimaConfig
from mdapp.errors import UserError
from mdapp.jobs.minima import minima
from mdapp.minima.journal import read_hops
from mdapp.minima.library import Library

pytest.importorskip("distributed", reason="Dask distributed is not installed (pip install .[cluster])")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own threads and sockets


def search(folder, **settings):
    write(folder / "ar7.xyz", Atoms("Ar7", positions=np.arange(7)[:, None] * [3.8, 0.4, 0.1]), format="extxyz")
    return MinimaConfig(structure=str(folder / "ar7.xyz"), potential="lj", move="basin-hopping:step_A=1.2,temperature_K=100", random_start=True, walkers=8, seed=3,
                        fmax=0.001, output=str(folder / "found"), **settings)


def test_a_search_survives_the_death_of_a_worker_and_loses_no_minimum(tmp_path, monkeypatch):
    killed = []
    made = Cluster.__init__

    def and_kill_one(self, *args, **kwargs):
        """Wait in the background until hops have come back, then kill the process of one worker."""
        made(self, *args, **kwargs)
        pids = list(self._client.run(os.getpid).values())
        assert len(set(pids)) == 2

        def assassin():
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline and not (tmp_path / "found" / "hops.jsonl").exists():
                time.sleep(0.05)
            while time.monotonic() < deadline and (tmp_path / "found" / "hops.jsonl").read_bytes().count(b"\n") < 10:
                time.sleep(0.02)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

        threading.Thread(target=assassin, daemon=True).start()

    monkeypatch.setattr(Cluster, "__init__", and_kill_one)
    result = minima(search(tmp_path, hops=60, cluster="local", workers=2))
    assert killed and result.exit_code == 0
    hops = read_hops(tmp_path / "found" / "hops.jsonl")
    assert len(hops) == 60 and all([h.number for h in hops if h.walker == w] == list(range(sum(h.walker == w for h in hops))) for w in range(8))
    with Library(tmp_path / "found", "r") as library:
        assert len(library) == len({h.found for h in hops if h.found is not None}) == result.summary["minima"]
        assert library.visit_counts().sum() == sum(h.found is not None for h in hops)
        assert library.energies().min() == pytest.approx(-16.505384 * 0.010341, abs=1e-4)
    assert main(["resume", str(tmp_path / "found"), "--hops", "62", "-q"]) == 2 or len(read_hops(tmp_path / "found" / "hops.jsonl")) == 62


def test_a_scheduler_that_does_not_answer_is_the_users_matter(monkeypatch):
    monkeypatch.setattr("mdapp.cluster.CONNECT_S", 1.0)
    with pytest.raises(UserError, match="No scheduler answers at tcp://127.0.0.1:9"):
        Cluster("tcp://127.0.0.1:9")


def test_slurm_without_sbatch_is_the_users_matter(monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed (pip install .[cluster])")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="submits jobs with sbatch, which is not on this machine"):
        Cluster("slurm")


def double(x):
    if x < 0:
        raise ValueError("x is negative")
    return 2 * x


def test_work_comes_back_by_its_key_and_an_error_as_an_error():
    cluster = Cluster("local", workers=1)
    try:
        for k in (1, 2, -3):
            cluster.submit(k, double, k)
        ended = {}
        while cluster.under_way:
            ended.update({end.key: end for end in cluster.ended(1.0)})
        assert (ended[1].result, ended[2].result) == (2, 4)
        assert isinstance(ended[-3].error, ValueError) and not ended[-3].died
    finally:
        cluster.close()
