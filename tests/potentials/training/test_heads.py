"""What the heads of a shallow ensemble learn from: frames of their own, or all together by a likelihood."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from potentials.checkpoint import load_potential
from potentials.data.dataset import Batch
from potentials.derivatives import forces_of_heads
from potentials.graph import batch
from potentials.neighbours import graph_for
from potentials.training.compiled import compiled_predictor
from potentials.training.config import DataConfig, FineTuneConfig, LossConfig, OptimiserConfig, PotentialConfig, TrainConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.fine_tuning import with_heads
from potentials.training.fit import fit
from potentials.training.heads import LEAST_SPREAD, drawn
from potentials.training.loss import Prediction, loss_terms
from potentials.training.screen import TrainingScreen
from potentials.training.state import TrainingError
from potentials.typed import ConfigError
from samples import small, water

QUIET = {"screen": TrainingScreen(quiet=True)}
SO3 = {"num_layers": 1, "num_features": 8, "num_heads": 2, "degrees": [1, 2], "energy_regression_dim": 8, "cutoff": 3.5}
BP = {"cutoff": 3.5, "hidden": [6], "grid": {"n_radial": 3, "n_angular": 1}}


def batch_of(n=3, forces=True):
    """Labels without a graph: what the loss looks at."""
    rng = np.random.default_rng(0)
    tensor = lambda *shape: torch.from_numpy(rng.normal(size=shape))
    none = lambda *shape: torch.full(shape, torch.nan, dtype=torch.float64)
    return Batch(None, tensor(n), tensor(2 * n, 3), none(n, 3, 3), none(2 * n), none(n, 3), torch.full((n,), 2))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path, frames = tmp_path_factory.mktemp("heads") / "frames.xyz", []
    for k in range(16):
        frames.append(molecule(("H2O", "CH3OH")[k % 2]))
        frames[-1].rattle(0.06, seed=k)
        frames[-1].calc = EMT()
        frames[-1].get_forces()
    write(path, frames, format="extxyz")
    return str(path)


def config_of(data, output, name="so3krates", heads=4, loss=LossConfig(), **changes):
    settings = {**(SO3 if name == "so3krates" else BP), "energy_heads": heads}
    return TrainConfig(
        data=DataConfig(train=data, validation_fraction=0.25), output=str(output), potential=PotentialConfig(name, settings), loss=loss,
        optimiser=OptimiserConfig(learning_rate=1e-2, warmup_steps=2, ema=0.5), **{**dict(max_steps=40, batch_size=6, validate_every=20, dtype="float64", seed=1), **changes},
    )  # fmt: skip


def test_draws_are_those_of_the_frame_whatever_batch_it_comes_in():
    one, other = (drawn(batch_of(len(k)), np.array(k), 5, seed=3, epoch=2) for k in ((4, 7, 9), (9, 4)))
    torch.testing.assert_close(one.head_weights[[2, 0]], other.head_weights)
    assert one.head[[2, 0]].tolist() == other.head.tolist()
    many = [drawn(batch_of(1), np.array([k]), 5, 3, epoch) for k in range(200) for epoch in range(3)]
    weights = torch.cat([b.head_weights for b in many[::3]])
    assert abs(float(weights.mean()) - 1) < 0.1 and abs(float(weights.var()) - 1) < 0.2  # Poisson of mean 1, 1000 draws
    assert all(float(b.head_weights[0, b.head[0]]) > 0 or not b.head_weights.any() for b in many)  # forces teach heads that have the frame
    assert {b.head.item() for b in many} == set(range(5))
    torch.testing.assert_close(drawn(batch_of(2), np.array([1, 2]), 5, 0, 0, bootstrap=False).head_weights, torch.ones(2, 5, dtype=torch.float64))


def test_the_loss_of_each_head_counts_its_own_frames():
    batch = drawn(batch_of(3), np.array([0, 1, 2]), 4, seed=5, epoch=0)
    e = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    config = LossConfig(forces=0.0)
    found = loss_terms(Prediction(e.mean(1), None, head_energy=e), batch, config)["energy"]
    w = batch.head_weights
    by_hand = (w * ((e - batch.energy[:, None]) / 2) ** 2).sum() / w.sum()
    assert float(found.mean) == pytest.approx(float(by_hand))
    unlabelled = replace(batch, energy=torch.tensor([float("nan"), *batch.energy[1:]]))
    assert torch.isfinite(loss_terms(Prediction(e.mean(1), None, head_energy=e), unlabelled, config)["energy"].mean)


def test_the_likelihood_is_that_of_torch():
    batch = drawn(batch_of(3), np.array([0, 1, 2]), 4, seed=5, epoch=0)
    rng = torch.Generator().manual_seed(1)
    e, f = torch.randn(3, 4, dtype=torch.float64, generator=rng), torch.randn(4, 6, 3, dtype=torch.float64, generator=rng)
    terms = loss_terms(Prediction(e.mean(1), f.mean(0), head_energy=e, head_forces=f), batch, LossConfig(heads="nll"))
    nll = torch.nn.functional.gaussian_nll_loss
    energies, floor = e / 2, LEAST_SPREAD
    assert float(terms["energy"].mean) == pytest.approx(float(nll(energies.mean(1), batch.energy / 2, energies.var(1) + floor["energy"] ** 2)))
    assert float(terms["forces"].mean) == pytest.approx(float(nll(f.mean(0), batch.forces, f.var(0) + floor["forces"] ** 2)))


@pytest.mark.parametrize("name, loss", [("so3krates", LossConfig()), ("so3krates", LossConfig(heads="nll")), ("behler-parrinello", LossConfig()),
                                        ("behler-parrinello", LossConfig(heads="nll"))], ids=["so3krates", "so3krates nll", "bp", "bp nll"])  # fmt: skip
def test_heads_learn_and_stay_apart(name, loss, data, tmp_path):
    result = fit(config_of(data, tmp_path / "run", name, loss=loss), **QUIET)
    start = fit(config_of(data, tmp_path / "start", name, loss=loss, max_steps=1, validate_every=1), **QUIET)
    assert result.evaluation.errors.forces_rmse_meV_A < 0.9 * start.evaluation.errors.forces_rmse_meV_A
    best = load_potential(tmp_path / "run/best.pt")
    _, energies, forces = forces_of_heads(best, graph_for(molecule("CH3OH"), best))
    assert energies.shape == (1, 4) and float(energies.std()) > 1e-4 and float(forces.std(0).max()) > 1e-3


def test_a_run_that_was_cut_goes_on_to_the_same_bits(data, tmp_path):
    steps = iter(range(1, 100))
    whole = fit(config_of(data, tmp_path / "whole", max_steps=12, validate_every=4), **QUIET)
    cut = fit(config_of(data, tmp_path / "cut", max_steps=12, validate_every=4), should_stop=lambda: next(steps) == 5, **QUIET)
    assert whole.finished and not cut.finished
    fit(config_of(data, tmp_path / "cut", max_steps=12, validate_every=4), resume=True, **QUIET)
    a, b = (torch.load(tmp_path / k / "best.pt", weights_only=True)["weights"] for k in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_head_is_learnt_at_the_price_of_one_backward_pass(data, tmp_path, monkeypatch):
    """Stored descriptors and the plain way teach the same heads."""
    stored = fit(config_of(data, tmp_path / "stored", "behler-parrinello", max_steps=6, validate_every=3), **QUIET)
    plain = fit(config_of(data, tmp_path / "plain", "behler-parrinello", max_steps=6, validate_every=3, stored_descriptors=False), **QUIET)
    assert stored.evaluation.errors.forces_rmse_meV_A == pytest.approx(plain.evaluation.errors.forces_rmse_meV_A, rel=1e-6)


def test_fine_tuning_gives_a_potential_heads_that_keep_its_mean(data, tmp_path):
    fit(config_of(data, tmp_path / "one", heads=1, max_steps=10, validate_every=5), **QUIET)
    parent = load_potential(tmp_path / "one/best.pt")
    child, graph = with_heads(parent, 4, seed=0), graph_for(molecule("CH3OH"), parent)
    torch.testing.assert_close(plain_predictor(child)(graph).forces, plain_predictor(parent)(graph).forces, rtol=1e-9, atol=1e-10)
    assert float(plain_predictor(child)(graph).head_energy.std()) > 1e-4
    before, after = parent.state_dict(), child.state_dict()
    last = [name for name in after if after[name].shape != before[name].shape and after[name].ndim > 1]
    for name in last:  # a fifth: near enough that none of them spoils the trunk while it learns
        assert float((after[name] - before[name]).square().mean().sqrt()) == pytest.approx(0.2 * float(before[name].square().mean().sqrt()), rel=1e-6)
    assert last
    tuned = config_of(data, tmp_path / "many", heads=4, max_steps=3, validate_every=3, fine_tune=FineTuneConfig(str(tmp_path / "one/best.pt"), energy_heads=4))
    fit(replace(tuned, potential=PotentialConfig()), **QUIET)
    assert load_potential(tmp_path / "many/best.pt").energy_heads == 4
    with pytest.raises(TrainingError, match="has 4, and several stay as many"):
        with_heads(load_potential(tmp_path / "many/best.pt"), 8, seed=0)
    with pytest.raises(ValueError, match="energy_heads must be 2 or more"):
        FineTuneConfig("a.pt", energy_heads=1)


def test_jitter_parts_what_begins_alike(data, tmp_path):
    fit(config_of(data, tmp_path / "one", heads=1, max_steps=4, validate_every=4), **QUIET)
    begin = FineTuneConfig(str(tmp_path / "one/best.pt"), jitter=0.02)
    asked = replace(config_of(data, tmp_path / "a", heads=1, max_steps=1, validate_every=1, fine_tune=begin), potential=PotentialConfig())
    fit(asked, **QUIET)
    fit(replace(asked, output=str(tmp_path / "b"), seed=2), **QUIET)
    one, a, b = (load_potential(tmp_path / k / "best.pt").readout.last.weight.detach() for k in "one a b".split())
    assert 0.001 < float((a - b).norm() / one.norm()) < 0.1


@pytest.mark.parametrize("changes, error, match", [
    (dict(heads=1, loss=LossConfig(heads="nll")), TrainingError, "one head: give .* energy_heads"),
    (dict(name="behler-parrinello", optimiser="kalman"), TrainingError, "kalman trains one head"),
    (dict(heads=0), ConfigError, "energy_heads must be at least 1"),
], ids=["nll of one", "kalman", "none"])  # fmt: skip
def test_what_cannot_be_is_told(changes, error, match, data, tmp_path):
    kind = changes.pop("optimiser", None)
    config = config_of(data, tmp_path / "run", **changes)
    if kind:
        config = replace(config, optimiser=OptimiserConfig(kind=kind))
    with pytest.raises(error, match=match):
        fit(config, **QUIET)
    assert not (tmp_path / "run" / "best.pt").exists()


@pytest.mark.slow  # tracing takes a quarter of a minute
def test_the_compiled_step_teaches_the_same(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # the trace, as it would be compiled
    potential = small("so3krates", energy_heads=3, num_layers=1)
    compiled, plain = (kind(potential, create_graph=True) for kind in (compiled_predictor, plain_predictor))
    found = []
    for frames, heads in (((1, 2), (2, 0)), ((3, 4, 5), (1, 1, 2))):
        graph = batch([graph_for(water(k), potential) for k in frames])
        for predict in (plain, compiled):
            potential.zero_grad()
            said = predict(graph, torch.tensor(heads))
            (said.head_energy.square().sum() + said.forces.square().sum()).backward()
            found.append([said.energy.detach(), said.forces.detach(), said.head_energy.detach(), *(p.grad.clone() for p in potential.parameters() if p.grad is not None)])
    for one, other in zip(found[::2], found[1::2]):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
