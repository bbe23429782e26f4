"""A training that is cut goes on to the same bits, whatever it was waiting for; and a disk that is full costs one sentence."""
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from potentials.training.config import DataConfig, LossConfig, OptimiserConfig, PotentialConfig, TrainConfig
from potentials.training.fit import fit
from potentials.training.screen import TrainingScreen
from potentials.training.state import TrainingError, load_state
from training.test_fit import assert_same, rows_of, state_of, weights_of
from training.toy_pair import write_toy_data

QUIET = {"screen": TrainingScreen(quiet=True)}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def config(tmp_path):
    write_toy_data(tmp_path / "toy.xyz")
    return TrainConfig(
        data=DataConfig(train=str(tmp_path / "toy.xyz"), validation_fraction=0.25, cleaning="off"),
        output=str(tmp_path / "run"),
        potential=PotentialConfig("toy-pair", {"n_basis": 8}),
        loss=LossConfig(energy=1.0, late_energy=20.0, late_from=0.2, late_until=0.7),
        optimiser=OptimiserConfig(learning_rate=0.5, final_learning_rate=1e-4, warmup_steps=5, ema=0.9, schedule="plateau", plateau_patience=2, factor=0.3),
        max_steps=60, batch_size=4, validate_every=4, validation_frames=4, print_every=50, dtype="float64", seed=3,
    )  # fmt: skip


@pytest.mark.parametrize("stop_after", [23, 24, 41])
def test_ramp_and_plateau_go_on_as_if_nothing_had_happened(config, tmp_path, stop_after):
    whole, parted = replace(config, output=str(tmp_path / "whole")), replace(config, output=str(tmp_path / "parted"))
    fit(whole, **QUIET)
    assert state_of(whole.output)["position"]["reductions"] >= 2  # the schedule did something
    steps = iter(range(1, 1000))
    assert not fit(parted, should_stop=lambda: next(steps) == stop_after, **QUIET).finished
    fit(parted, resume=True, **QUIET)
    assert_same(state_of(parted.output), state_of(whole.output))
    assert rows_of(parted.output) == rows_of(whole.output)
    assert torch.equal(weights_of(parted.output), weights_of(whole.output))


def test_patience_ends_a_run_and_a_resumed_one_at_the_same_step(config, tmp_path):
    base = replace(config, patience=3, max_steps=2000)
    whole, parted = replace(base, output=str(tmp_path / "whole")), replace(base, output=str(tmp_path / "parted"))
    result = fit(whole, **QUIET)
    assert result.finished and result.out_of_patience and result.steps < 2000
    losses = [float(row["validation_loss"]) for row in rows_of(whole.output)]
    assert min(losses) == losses[-4] and result.best_step == result.steps - 3 * 4
    steps = iter(range(1, 5000))
    fit(parted, should_stop=lambda: next(steps) == result.steps - 2, **QUIET)
    assert fit(parted, resume=True, **QUIET).steps == result.steps
    assert_same(state_of(parted.output), state_of(whole.output))
    assert fit(parted, resume=True, **QUIET).steps == result.steps  # it has nothing more to do


def test_best_by_last_keeps_the_end(config, tmp_path):
    restless = replace(config, optimiser=replace(config.optimiser, schedule="constant", ema=0.0), loss=LossConfig(), max_steps=72)
    least = fit(restless, **QUIET)
    assert least.best_step < least.steps
    last = fit(replace(restless, best_by="last", output=str(tmp_path / "last")), **QUIET)
    assert last.best_step == last.steps == 72
    assert torch.equal(weights_of(last.folder), state_of(last.folder)["weights"]["weights"])
    with pytest.raises(ValueError, match="patience ends a training"):
        replace(config, best_by="last", patience=3)


def test_best_by_forces_keeps_the_smallest_force_error(config):
    result = fit(replace(config, best_by="forces"), **QUIET)
    rows = rows_of(config.output)
    best = min(rows, key=lambda row: float(row["validation_forces_rmse_meV_A"]))
    assert result.best_step == int(best["step"])


def test_state_of_another_potential_is_refused(config):
    fit(config, **QUIET)
    state = torch.load(f"{config.output}/last.pt", weights_only=True)
    state["weights"] = {"other": torch.zeros(3)}
    torch.save(state, f"{config.output}/last.pt")
    with pytest.raises(TrainingError, match="last.pt is the state of another potential"):
        fit(config, resume=True, **QUIET)


def test_another_architecture_is_refused_on_resume(config):
    fit(config, **QUIET)
    with pytest.raises(TrainingError, match="other settings: potential changed"):
        fit(replace(config, potential=PotentialConfig("toy-pair", {"n_basis": 9})), resume=True, **QUIET)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from training.toy_pair import ToyPair
from potentials.training.config import read_config
from potentials.training.fit import fit
from potentials.training.screen import TrainingScreen
{before}
fit(read_config({config!r}), screen=TrainingScreen(quiet=True){more})
"""


def script(config, folder, before="", more=""):
    from mdapp.jobs.train import _toml

    (folder / "config.toml").write_text(_toml(config))
    text = SCRIPT.format(tests=str(ROOT / "tests/potentials"), config=str(folder / "config.toml"), before=before, more=more)
    return [sys.executable, "-c", text]


def test_kill_9_within_an_epoch_loses_at_most_one_interval(config, tmp_path):
    """Killed at some moment, resumed: the numbers are those of a run that was never killed."""
    base = replace(config, max_steps=400, validate_every=100, save_every=3)
    whole, killed = replace(base, output=str(tmp_path / "whole")), replace(base, output=str(tmp_path / "killed"))
    slow = "import time\ndef stop():\n    time.sleep(0.02)\n    return False"
    process = subprocess.Popen(script(killed, tmp_path, slow, ", should_stop=stop"), cwd=ROOT, stderr=subprocess.PIPE)
    last = tmp_path / "killed/last.pt"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None and not (last.exists() and load_state(last)["position"]["step"] >= 9):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    step = load_state(last)["position"]["step"]
    assert step >= 9 and step % 3 == 0  # whole, and from between two validations
    assert fit(killed, resume=True, **QUIET).finished
    fit(whole, **QUIET)
    assert_same(state_of(killed.output), state_of(whole.output))
    assert rows_of(killed.output) == rows_of(whole.output)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files on this system")
def test_a_disk_that_is_full_leaves_the_last_state_whole(config, tmp_path):
    """A limit on file sizes stands for the full disk: writing last.pt fails half way."""
    base = replace(config, max_steps=40)
    steps = iter(range(1, 100))
    fit(base, should_stop=lambda: next(steps) == 22, **QUIET)
    last = tmp_path / "run/last.pt"
    before = last.read_bytes()
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2},) * 2)"
    done = subprocess.run(script(base, tmp_path, limit, ", resume=True"), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode != 0 and "OSError" in done.stderr and "last.pt" in done.stderr
    assert last.read_bytes() == before and not list((tmp_path / "run").glob("*.part"))
    assert fit(base, resume=True, **QUIET).finished
