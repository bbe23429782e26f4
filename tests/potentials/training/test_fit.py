"""The training loop: it learns, it goes on to the same bits, it says what it cannot do."""
import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.io import read, write

from potentials.checkpoint import load_potential
from potentials.data import DataError
from potentials.training.config import DataConfig, LossConfig, OptimiserConfig, PotentialConfig, TrainConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.fit import TrainingError, fit
from potentials.training.loss import Prediction
from potentials.training.screen import TrainingScreen
from training.toy_pair import write_toy_data

QUIET = {"screen": TrainingScreen(quiet=True)}


@pytest.fixture
def config(tmp_path):
    write_toy_data(tmp_path / "toy.xyz")
    return TrainConfig(
        data=DataConfig(train=str(tmp_path / "toy.xyz"), validation_fraction=0.25),
        output=str(tmp_path / "run"),
        potential=PotentialConfig("toy-pair", {"n_basis": 8}),
        loss=LossConfig(energy=10.0, forces=1.0),
        optimiser=OptimiserConfig(learning_rate=0.05, final_learning_rate=1e-4, warmup_steps=5, ema=0.9),
        max_steps=40, batch_size=4, validate_every=10, validation_frames=4, print_every=7, dtype="float64", seed=3,
    )  # fmt: skip


def weights_of(folder):
    return load_potential(f"{folder}/best.pt").weights.detach()


def state_of(folder):
    return torch.load(f"{folder}/last.pt", weights_only=True)


def rows_of(folder):
    with open(f"{folder}/log.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "hours"} for row in csv.DictReader(file)]


def assert_same(a, b):
    """Equal to the bit, through dicts and lists; the clock apart."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            if key not in ("seconds", "config"):
                assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_learns_what_can_be_learnt(config):
    data = replace(config.data, reference_energies={"H": -13.6, "O": -2000.0})  # those of the labels
    result = fit(replace(config, data=data, max_steps=300, validate_every=100, optimiser=replace(config.optimiser, learning_rate=0.1)), **QUIET)
    errors = result.evaluation.errors
    assert result.finished and result.steps == 300 and errors.frames == 6
    # the labels are a toy of other weights; measured: 0.03 meV/atom and 0.6 meV/Å
    assert errors.energy_mae_meV_atom < 0.3 and errors.forces_mae_meV_A < 3
    before = float(rows_of(config.output)[0]["validation_forces_mae_meV_A"])
    assert before > errors.forces_mae_meV_A


def test_folder_holds_what_is_promised(config):
    result = fit(config, **QUIET)
    summary = json.loads((result.folder / "errors.json").read_text())
    assert summary["errors"]["frames"] == 6 and sum(m["frames"] for m in summary["molecules"].values()) == 6
    assert [int(row["step"]) for row in rows_of(result.folder)] == [10, 20, 30, 40]
    potential = load_potential(result.folder / "best.pt")
    card = potential.card.training
    assert potential.elements == (1, 8) and card["training_frames"] == 18 and card["errors_on"] == "all 6 validation frames"
    assert card["forces_mae_meV_A"] == pytest.approx(summary["errors"]["forces_mae_meV_A"])
    assert card["reference_energies_eV"]["H"] == pytest.approx(float(potential.element_energies.energies[1]))


def test_same_seed_same_numbers(config, tmp_path):
    for name in ("a", "b"):
        fit(replace(config, output=str(tmp_path / name)), **QUIET)
    assert_same(state_of(tmp_path / "a"), state_of(tmp_path / "b"))
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")


@pytest.mark.parametrize("stop_after", [10, 13, 29])  # at a validation, within an epoch, near the end
def test_resumed_run_is_the_uninterrupted_one(config, tmp_path, stop_after):
    whole, parted = replace(config, output=str(tmp_path / "whole")), replace(config, output=str(tmp_path / "parted"))
    fit(whole, **QUIET)
    steps = iter(range(1, 1000))
    stopped = fit(parted, should_stop=lambda: next(steps) == stop_after, **QUIET)
    assert not stopped.finished and stopped.steps == stop_after
    torch.rand(5)  # what was drawn in between does not matter
    assert fit(parted, resume=True, **QUIET).finished
    assert_same(state_of(parted.output), state_of(whole.output))
    assert rows_of(parted.output) == rows_of(whole.output)
    assert torch.equal(weights_of(parted.output), weights_of(whole.output))


def test_resume_drops_log_rows_of_a_run_that_died(config):
    fit(replace(config, max_steps=20), **QUIET)
    with open(f"{config.output}/log.csv", "a") as file:
        file.write("30" + "," * 11 + "\n")
    fit(config, resume=True, **QUIET)
    assert [int(row["step"]) for row in rows_of(config.output)] == [10, 20, 30, 40]


def test_a_folder_that_holds_a_run_is_not_overwritten(config):
    fit(config, **QUIET)
    with pytest.raises(TrainingError, match="holds a training run. Resume it, or give another output"):
        fit(config, **QUIET)


def test_resume_with_other_settings_is_refused_by_name(config):
    fit(config, **QUIET)
    with pytest.raises(TrainingError, match="other settings: loss, batch_size changed"):
        fit(replace(config, batch_size=5, loss=LossConfig(energy=9.0)), resume=True, **QUIET)


def test_resume_of_nothing_and_of_garbage(config, tmp_path):
    with pytest.raises(TrainingError, match="nothing to resume from"):
        fit(config, resume=True, **QUIET)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/last.pt").write_bytes(b"not a torch file")
    with pytest.raises(TrainingError, match="damaged or not a training state"):
        fit(config, resume=True, **QUIET)


def poisoned(bad_steps):
    """A predictor whose forces are NaN at some training steps."""

    def predictor(potential, *, create_graph, **asked):
        plain = plain_predictor(potential, create_graph=create_graph, **asked)
        calls = iter(range(10_000))

        def predict(graph):
            found = plain(graph)
            return Prediction(found.energy, found.forces * float("nan")) if create_graph and next(calls) in bad_steps else found

        return predict

    return predictor


def test_a_batch_with_nan_is_left_out_and_counted(config):
    result = fit(config, predictor=poisoned({3, 17}), **QUIET)
    assert result.skipped == 2 and result.finished
    assert torch.isfinite(weights_of(result.folder)).all()
    assert rows_of(result.folder)[-1]["skipped"] == "2"


def test_nan_without_end_stops_the_run(config):
    with pytest.raises(TrainingError, match="50 batches in a row, up to step"):
        fit(replace(config, max_steps=100), predictor=poisoned(set(range(100))), **QUIET)


def test_epochs_see_every_frame_once_each(config):
    seen = []

    def predictor(potential, *, create_graph, **asked):
        plain = plain_predictor(potential, create_graph=create_graph, **asked)

        def predict(graph):
            if create_graph:
                seen.append(graph.n_structures)
            return plain(graph)

        return predict

    result = fit(replace(config, max_steps=None, epochs=3), predictor=predictor, **QUIET)
    assert result.epochs == 3 and sum(seen) == 3 * 18 and len(seen) == 3 * 5


def test_the_clock_ends_a_run(config):
    result = fit(replace(config, max_steps=None, max_hours=1 / 3600), **QUIET)
    assert result.finished and result.steps > 10


def test_a_validation_file_stands_for_a_split(config, tmp_path):
    write_toy_data(tmp_path / "other.xyz", n_frames=5, seed=8)
    result = fit(replace(config, data=replace(config.data, validation=str(tmp_path / "other.xyz"))), **QUIET)
    assert result.evaluation.errors.frames == 5
    assert load_potential(result.folder / "best.pt").card.training["training_frames"] == 24


def test_reference_energies_come_from_training_frames_or_are_given(config, tmp_path):
    given = replace(config, data=replace(config.data, reference_energies={"H": -10.0, "O": -2001.0}))
    result = fit(given, **QUIET)
    energies = load_potential(result.folder / "best.pt").element_energies.energies
    assert energies[1] == -10.0 and energies[8] == -2001.0 and energies.dtype == torch.float64


def changed(config, tmp_path, change):
    frames = read(config.data.train, ":", format="extxyz")
    change(frames)
    write(tmp_path / "changed.xyz", frames, format="extxyz")
    return replace(config, data=replace(config.data, train=str(tmp_path / "changed.xyz")))


def test_charged_frames_are_refused_or_dropped(config, tmp_path):
    def charge(frames):
        frames[5].info["charge"] = -1

    other = changed(config, tmp_path, charge)
    with pytest.raises(DataError, match=r"frame 5 of changed.xyz has a total charge of -1 e, which means nothing to toy-pair"):
        fit(other, **QUIET)
    result = fit(replace(other, data=replace(other.data, charged="drop")), **QUIET)
    assert load_potential(result.folder / "best.pt").card.training["training_frames"] == 17


def test_frames_without_forces_are_refused_unless_forces_do_not_count(config, tmp_path):
    def strip(frames):
        for atoms in frames:
            del atoms.arrays["REF_forces"]

    other = changed(config, tmp_path, strip)
    with pytest.raises(DataError, match="frame 0 of changed.xyz has no forces"):
        fit(other, **QUIET)
    result = fit(replace(other, loss=LossConfig(energy=1.0, forces=0.0)), **QUIET)
    assert np.isnan(result.evaluation.errors.forces_mae_meV_A) and np.isfinite(result.evaluation.errors.energy_mae_meV_atom)
    assert "forces_mae_meV_A" not in json.loads((result.folder / "errors.json").read_text())["errors"]


def test_an_element_that_no_training_frame_has_is_refused(config, tmp_path):
    frames = write_toy_data(tmp_path / "other.xyz", n_frames=2)
    frames[1].numbers[0] = 16
    write(tmp_path / "other.xyz", frames, format="extxyz")
    with pytest.raises(DataError, match="Validation frames contain S, which no training frame has"):
        fit(replace(config, data=replace(config.data, validation=str(tmp_path / "other.xyz"))), **QUIET)


def test_progress_is_plain_lines_in_a_file(config, tmp_path):
    with open(tmp_path / "out.txt", "w") as stream:
        fit(config, screen=TrainingScreen(stream))
    text = (tmp_path / "out.txt").read_text()
    assert "meV/atom" in text and "meV/Å" in text and "\x1b" not in text
    assert text.count("best so far") >= 1 and "All 6 validation frames" in text
