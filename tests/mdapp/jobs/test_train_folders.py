"""What a training leaves in its folder, and what it refuses to go on from: other data, a second trainer, what was lost, a disk that is full."""
import errno
import json
from pathlib import Path

import pytest
from jobs.test_train import folder  # noqa: F401 (a fixture)

from mdapp.cli import main
from mdapp.errors import EXIT_STOPPED, Interrupted, UserError
from mdapp.jobs.train import LOCK, train
from mdapp.screen import Screen
from mdapp.trajectory.lock import RunLock
from potentials.training import ledger

pytestmark = pytest.mark.usefixtures("folder")


def test_data_that_have_changed_are_not_gone_on_with():
    train("train.toml", changes={"max_steps": 3})
    text = Path("data.xyz").read_text()
    Path("data.xyz").write_text(text.replace("REF_energy=", "REF_energy=1"))
    with pytest.raises(UserError, match="data.xyz has changed since this run was trained on it"):
        train("train.toml", resume=True)
    Path("data.xyz").write_text(text)
    assert train("train.toml", resume=True).summary["steps"] == 6


def test_a_lost_best_potential_is_made_again():
    train("train.toml", changes={"max_steps": 3})
    Path("trained/best.pt").write_bytes(Path("trained/best.pt").read_bytes()[:1000])
    assert train("train.toml", resume=True).summary["steps"] == 6
    assert json.loads(Path("trained/errors.json").read_text())["errors"]["frames"] > 0
    Path("trained/best.pt").unlink()
    assert train("train.toml", resume=True).exit_code == 0 and Path("trained/best.pt").exists()  # of a training that had ended, too


def test_a_lost_state_is_told_of_and_nothing_is_written_over():
    train("train.toml", changes={"max_steps": 3})
    Path("trained/last.pt").unlink()
    before = Path("trained/best.pt").read_bytes()
    with pytest.raises(UserError, match="state, last.pt, was lost"):
        train("train.toml")
    assert Path("trained/best.pt").read_bytes() == before


def test_a_second_trainer_is_refused():
    train("train.toml", changes={"max_steps": 3})
    assert not Path("trained", LOCK).exists()
    with RunLock(Path("trained"), LOCK):
        assert main(["train", "train.toml", "--resume"]) == 2
    with pytest.raises(UserError, match="is in use"), RunLock(Path("trained"), LOCK):
        train("train.toml", resume=True)


def test_a_full_disk_ends_a_training_that_can_go_on(monkeypatch):
    whole, calls = ledger.save_state, []

    def full(path, *others):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, *others)

    monkeypatch.setattr(ledger, "save_state", full)
    with pytest.raises(Interrupted, match="No space left on device. trained/last.pt is whole: go on from there with --resume") as told:
        train("train.toml")
    assert told.value.exit_code == EXIT_STOPPED
    assert train("train.toml", resume=True).summary["steps"] == 6


def test_what_the_readers_took_is_said(capsys):
    train("train.toml", Screen())
    assert "data.xyz: energy from 'REF_energy', forces from 'REF_forces'" in capsys.readouterr().out


@pytest.mark.parametrize("change, claim", [("seed = -1", "seed must be 0 or more, got -1"),
                                           ("seed = 1\n[train.optimiser]\nbetas = [0.9, 1.5]", "betas must be at least 0 and below 1")])  # fmt: skip
def test_settings_out_of_range_are_refused(change, claim, capsys):
    Path("train.toml").write_text(Path("train.toml").read_text().replace("seed = 1", change))
    assert main(["train", "train.toml"]) == 2 and claim in capsys.readouterr().err


def test_settings_of_an_architecture_that_do_not_fit_are_refused(capsys):
    Path("train.toml").write_text(Path("train.toml").read_text().replace("degrees = [1, 2]", "degrees = [1, 9]"))
    assert main(["train", "train.toml"]) == 2 and "[train.potential.config] of so3krates: degrees must be" in capsys.readouterr().err
