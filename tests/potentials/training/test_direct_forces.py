"""Training of potentials that say their forces themselves: against dead units, kept potentials, errors along each axis, fine-tuning to a new element."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io import write

from potentials.architectures.message_passing import Config, MessagePassing
from potentials.checkpoint import load_potential, save_potential
from potentials.data import LabelledStructure
from potentials.data.dataset import build_dataset
from potentials.training.config import DataConfig, FineTuneConfig, LossConfig, PotentialConfig, TrainConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.fine_tuning import extended, let_change, parent_of
from potentials.training.kept import best_of_kept
from potentials.training.loss import Prediction, loss, weights_at
from potentials.training.metrics import ErrorSums
from potentials.training.prepare import prepare
from potentials.training.state import TrainingError

ARGON, WATER = {"Ar": (0.0, 0.0103, 3.405)}, {"H": (0.41, 0.0, 0.0), "O": (-0.82, 0.0067, 3.165)}
SMALL = dict(cutoff=5.0, num_features=8, num_layers=2, num_radial_basis_fn=8, head="pair", avg_num_neighbors=12.0)


def dataset(n=3, number=18):
    rng = np.random.default_rng(0)

    def one(k):
        atoms = bulk("Ar", "fcc", 5.3, cubic=True)
        return LabelledStructure(
            numbers=np.full(4, number), positions=atoms.positions + 0.1 * rng.normal(size=(4, 3)), energy=None, forces=rng.normal(size=(4, 3)),
            stress=None, cell=atoms.cell.array, pbc=np.ones(3, dtype=bool), charge=0.0, molecule="Ar4", source="made here",
        )  # fmt: skip

    return build_dataset([one(k) for k in range(n)], 5.0)


def test_the_wake_term_is_the_size_of_the_labels_over_that_of_the_forces_while_training_begins():
    batch, config = dataset().batch([0, 1]), LossConfig(energy=0.0, forces=1.0, kind="mae", wake=0.5, wake_until=0.2)
    f = (0.1 * batch.forces).requires_grad_(True)
    prediction = Prediction(torch.zeros(2, dtype=torch.float64), f)
    plain = float((0.9 * batch.forces).abs().mean())
    early, late = loss(prediction, batch, config, 0.1), loss(prediction, batch, config, 0.2)
    assert float(early.detach()) == pytest.approx(plain + 0.5 * 10) and float(late.detach()) == pytest.approx(plain)
    assert weights_at(config, 1.0)["wake"] == 0
    early.backward()
    assert float((f.grad * batch.forces.sign()).sum()) < 0  # the way down is the way to larger forces


def test_the_wake_term_refuses_a_loss_without_forces():
    with pytest.raises(ValueError, match="wake"):
        LossConfig(energy=1.0, forces=0.0, wake=0.1)


def test_errors_are_counted_along_each_axis_and_survive_a_restart():
    batch, sums = dataset().batch([0, 1, 2]), ErrorSums()
    off = torch.tensor([1.0, 2.0, -4.0], dtype=torch.float64)
    sums.add(Prediction(batch.energy, batch.forces + off), batch)
    for found in (sums.errors(), ErrorSums.from_state(sums.state()).errors()):
        assert [round(getattr(found, f"forces_mae_{x}_meV_A")) for x in "xyz"] == [1000, 2000, 4000]
    old = {name: value for name, value in sums.state().items() if name != "axes"}
    assert ErrorSums.from_state(old).errors().forces_mae_meV_A == pytest.approx(7000 / 3)


def test_the_best_of_the_kept_potentials_is_chosen_and_the_others_are_told(tmp_path):
    for epoch, unit in ((2, 3.0), (4, 1.0), (6, 2.0)):
        p = MessagePassing(Config(elements=(18,), **SMALL))
        p.force_unit.fill_(unit)
        save_potential(tmp_path / f"epoch-{epoch:04d}.pt", p)
        p = load_potential(tmp_path / f"epoch-{epoch:04d}.pt")
        save_potential(tmp_path / f"epoch-{epoch:04d}.pt", p, replace(p.card, training={"steps": 10 * epoch, "epochs": epoch}))
    errors = ErrorSums().errors()
    step, told = best_of_kept(tmp_path, lambda p: (float(p.force_unit), errors))
    assert step == 40 and "epoch-0004.pt is the best of 3" in told
    assert float(load_potential(tmp_path / "best.pt").force_unit) == 1.0
    assert len((tmp_path / "kept.csv").read_text().splitlines()) == 4


def test_nothing_kept_is_said(tmp_path):
    with pytest.raises(TrainingError, match="Train longer"):
        best_of_kept(tmp_path, lambda p: (0.0, ErrorSums().errors()))


def test_water_takes_in_argon_where_its_charge_epsilon_and_sigma_are_known(tmp_path):
    torch.manual_seed(1)
    p = MessagePassing(Config(elements=(1, 8), element_embedding=False, physical={**WATER, **ARGON}, **SMALL))
    save_potential(tmp_path / "water.pt", p)
    parent = parent_of(FineTuneConfig(str(tmp_path / "water.pt")), PotentialConfig(), "float32")
    child = extended(parent, [18])
    assert child.elements == (1, 8, 18)
    forces = plain_predictor(child)(dataset().batch([0]).graph).forces
    assert float(forces.detach().abs().max()) > 0
    assert let_change(child, "head") == sum(x.numel() for x in child.force_head.parameters())
    save_potential(tmp_path / "narrow.pt", MessagePassing(Config(elements=(1, 8), physical=WATER, **SMALL)))
    with pytest.raises(TrainingError, match="narrow.pt cannot take Ar: .*of Ar"):
        extended(parent_of(FineTuneConfig(str(tmp_path / "narrow.pt")), PotentialConfig(), "float32"), [18])


def test_forces_of_an_element_may_weigh_more():
    batch = dataset(2).batch([0, 1])
    numbers = batch.graph.numbers.clone()
    numbers[:2] = 8
    batch = replace(batch, graph=replace(batch.graph, numbers=numbers))
    off = torch.zeros_like(batch.forces)
    off[0] = 1.0
    off[4] = 3.0
    prediction = Prediction(torch.zeros(2, dtype=torch.float64), batch.forces + off)
    for reduction, plain, weighted in (("global", 4 / 8, (5 * 1 + 3) / (5 * 2 + 6)), ("structure", (1 / 4 + 3 / 4) / 2, (5 / 12 + 3 / 4) / 2)):
        common = dict(energy=0.0, forces=1.0, kind="mae", force_reduction=reduction)
        assert float(loss(prediction, batch, LossConfig(**common))) == pytest.approx(plain)
        assert float(loss(prediction, batch, LossConfig(**common, force_weights={"O": 5.0}))) == pytest.approx(weighted)
    with pytest.raises(ValueError, match="names no element with 'Q'"):
        LossConfig(force_weights={"Q": 1.0})


@pytest.mark.parametrize("units, expected", [("keep", 1.0), ("refit", 0.02)])
def test_fine_tuning_to_another_substance_may_take_its_unit_of_force(tmp_path, units, expected):
    p = MessagePassing(Config(elements=(1, 8), physical={**WATER, **ARGON}, **SMALL))
    save_potential(tmp_path / "water.pt", p)
    frames = []
    for k in range(4):
        atoms = bulk("Ar", "fcc", 5.3, cubic=True)
        atoms.rattle(0.1, seed=k)
        atoms.arrays["REF_forces"] = np.tile([[0.02, -0.02, 0.02]], (4, 1)) * (-1) ** k
        frames.append(atoms)
    write(tmp_path / "argon.xyz", frames, format="extxyz")
    config = TrainConfig(
        DataConfig((str(tmp_path / "argon.xyz"),), validation_fraction=0.5, reference_energies={"Ar": 0.0}, cleaning="off"), str(tmp_path / "out"),
        loss=LossConfig(energy=0.0), fine_tune=FineTuneConfig(str(tmp_path / "water.pt"), units=units), epochs=1,
    )  # fmt: skip
    assert float(prepare(config, lambda line: None)[3].force_unit) == pytest.approx(expected)
