"""L-BFGS and the Kalman filter in the training loop: they learn, go on to the same bits, and refuse what they cannot do."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.io import read, write

from potentials.checkpoint import load_potential
from potentials.training.config import read_config
from potentials.training.fit import fit
from potentials.training.screen import TrainingScreen
from potentials.training.state import TrainingError

CONFIG = """
[train]
output = "{folder}/run"
epochs = {epochs}
batch_size = {batch}
validate_every = {every}
dtype = "float64"
threads = 1
[train.data]
train = "{folder}/frames.extxyz"
validation_fraction = 0.2
cleaning = "off"
reference_energies = {{ H = 0.0 }}
[train.potential]
name = "behler-parrinello"
[train.potential.config]
hidden = [6]
cutoff = 3.0
grid = {{ n_radial = 4, n_angular = 0 }}
{selection}
[train.loss]
energy = 10.0
[train.optimiser]
kind = "{kind}"
{more}
"""


def config_of(tmp_path, kind, epochs, batch, every, more="", selection=""):
    rng, frames = np.random.default_rng(0), []
    for _ in range(40):
        atoms = Atoms("H2", [[0, 0, 0], [rng.uniform(1.05, 2.0), 0, 0]])
        atoms.calc = LennardJones(epsilon=1.0, sigma=1.0, ro=2.0, rc=3.0, smooth=True)
        frames.append(Atoms("H2", atoms.positions, info={"REF_energy": atoms.get_potential_energy()}))
        frames[-1].arrays["REF_forces"] = atoms.get_forces()
    write(tmp_path / "frames.extxyz", frames, format="extxyz")
    file = tmp_path / "train.toml"
    file.write_text(CONFIG.format(folder=tmp_path, kind=kind, epochs=epochs, batch=batch, every=every, more=more, selection=selection))
    return read_config(file)


def quietly(config, **options):
    return fit(config, screen=TrainingScreen(quiet=True), **options)


@pytest.mark.parametrize("kind, epochs, batch, every", [("lbfgs", 12, 100, 6), ("kalman", 12, 1, 64)])
def test_they_learn_a_curve_in_a_few_epochs(kind, epochs, batch, every, tmp_path):
    errors = quietly(config_of(tmp_path, kind, epochs, batch, every)).evaluation.errors
    labels = read(tmp_path / "frames.extxyz", index=":")
    spread, rms = 500 * np.std([f.info["REF_energy"] for f in labels]), 1000 * np.sqrt(np.mean([f.arrays["REF_forces"][:, 0] ** 2 for f in labels]) / 3)
    assert errors.energy_rmse_meV_atom < 0.2 * spread and errors.forces_rmse_meV_A < 0.6 * rms  # the closest pair of all is a validation frame


@pytest.mark.parametrize("kind, batch, every", [("lbfgs", 100, 2), ("kalman", 4, 8)])
def test_a_training_that_was_stopped_ends_with_the_same_weights(kind, batch, every, tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    quietly(config_of(tmp_path / "whole", kind, 4, batch, every))
    config = config_of(tmp_path / "parts", kind, 4, batch, every)
    steps = iter([False, True])
    assert not quietly(config, should_stop=lambda: next(steps)).finished
    quietly(config, resume=True)
    a, b = (load_potential(tmp_path / name / "run" / "best.pt").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_descriptors_are_chosen_by_the_training_data_and_written_into_the_file(tmp_path):
    quietly(config_of(tmp_path, "kalman", 1, 4, 8, selection='selection = { keep = 2, method = "farthest" }'))
    kept = load_potential(tmp_path / "run" / "best.pt").config
    assert len(kept.functions) == 2 and kept.selection.keep == 0 and {f.centre for f in kept.functions} == {1}


def test_what_they_cannot_do_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(TrainingError, match="lbfgs needs all 32 training frames in one batch"):
        quietly(config_of(tmp_path, "lbfgs", 1, 4, 1))
    with pytest.raises(TrainingError, match="kalman learns from squared errors"):
        config = config_of(tmp_path, "kalman", 1, 4, 1)
        quietly(replace(config, loss=replace(config.loss, kind="huber")))
    assert not (tmp_path / "run" / "best.pt").exists()


def test_a_running_mean_of_the_filters_weights_is_kept_when_asked_for(tmp_path):
    """The mean of nearly all steps is another potential than the last weights, and learns as well."""
    errors, weights = [], []
    for name, more in (("last", ""), ("mean", "kalman = { ema = 0.9 }")):
        (tmp_path / name).mkdir()
        errors.append(quietly(config_of(tmp_path / name, "kalman", 6, 1, 192, more)).evaluation.errors.energy_rmse_meV_atom)
        weights.append(load_potential(tmp_path / name / "run" / "best.pt").networks["H"].layers[0].weight.detach())
    assert not torch.equal(*weights) and errors[1] < 2 * errors[0]
