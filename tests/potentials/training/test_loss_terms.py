"""The loss beyond energies and forces: its papers' form, ramps, missing labels, charges and dipoles, large offsets."""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.test_dataset import structure
from potentials.architectures import architectures
from potentials.data import build_dataset
from potentials.training.config import LossConfig
from potentials.training.evaluate import plain_predictor
from potentials.training.loss import Prediction, dipole_about, loss, loss_terms, weights_at
from potentials.typed import from_mapping, to_mapping
from training.toy_pair import ToyConfig, ToyPair

NAN = float("nan")


@pytest.fixture
def frames():
    return [structure(k, n_atoms=4 + k) for k in range(3)]


def off_by(batch, energy=0.0, forces=0.0):
    return Prediction(torch.nan_to_num(batch.energy) + energy, batch.forces + forces)


def test_beta_is_the_loss_of_the_papers(frames):
    b = build_dataset(frames, 4.0).batch([0, 1, 2])
    config = LossConfig(beta=0.99, energy_per="structure")
    assert float(loss(off_by(b, 0.3, 0.2), b, config)) == pytest.approx(0.01 * 0.3**2 + 0.99 * 0.2**2, rel=1e-6)
    assert from_mapping(LossConfig, to_mapping(config), "[train.loss]") == config
    with pytest.raises(ValueError, match="beta = 0.99 stands for energy = 0.01 and forces = 0.99"):
        LossConfig(beta=0.99, energy=5.0)
    with pytest.raises(ValueError, match="beta must be between 0 and 1"):
        LossConfig(beta=1.5)


def test_each_term_has_its_own_kind(frames):
    b = build_dataset(frames, 4.0).batch([0, 1])
    config = LossConfig(energy=1.0, forces=1.0, kind="huber", huber_delta=0.1, energy_huber_delta=0.01, energy_per="structure", forces_kind="mae")
    assert float(loss(off_by(b, 2.0, -0.2), b, config)) == pytest.approx(0.01 * (2 - 0.005) + 0.2, rel=1e-6)


@pytest.mark.parametrize("shape, middle", [("linear", 0.5), ("cosine", 0.5)])
def test_weights_glide_from_early_to_late_without_a_jump(shape, middle):
    config = LossConfig(energy=1.0, late_energy=101.0, forces=10.0, late_forces=2.0, late_from=0.2, late_until=0.6, late_shape=shape)
    at = [weights_at(config, p) for p in np.linspace(0, 1, 1001)]
    energy, forces = (np.array([w[name] for w in at]) for name in ("energy", "forces"))
    assert (energy[:200] == 1).all() and (energy[601:] == 101).all() and forces[0] == 10 and forces[-1] == 2
    assert np.all(np.diff(energy) >= 0) and np.diff(energy).max() < 0.5  # 100 over 400 points, pi/2 steeper in the middle of a cosine
    assert energy[400] == pytest.approx(1 + 100 * middle)
    if shape == "cosine":
        assert energy[300] == pytest.approx(1 + 50 * (1 - math.cos(math.pi / 4)))


def test_without_an_end_the_weight_jumps_as_it_always_did():
    config = LossConfig(energy=1.0, late_energy=50.0, late_from=0.75)
    assert [weights_at(config, p)["energy"] for p in (0.0, 0.7499, 0.75, 1.0)] == [1.0, 1.0, 50.0, 50.0]


@pytest.mark.parametrize("wrong, claim", [({"late_until": 0.9}, "neither late_energy nor late_forces"), ({"late_energy": 2.0, "late_until": 0.5}, "late_until must be above"),
                                          ({"charges": -1.0}, "charges must be 0 or more"), ({"energy": NAN}, "energy must be 0 or more")])  # fmt: skip
def test_weights_that_mean_nothing_are_refused(wrong, claim):
    with pytest.raises(ValueError, match=claim):
        LossConfig(**wrong)


def gradient(dataset, indices, config, potential):
    b = dataset.batch(indices)
    potential.zero_grad()
    value = loss(plain_predictor(potential, create_graph=True)(b.graph), b, config)
    value.backward()
    return value.detach(), potential.weights.grad.clone()


@pytest.mark.parametrize("kind", ["mse", "mae", "huber"])
@pytest.mark.parametrize("reduction", ["global", "structure"])
def test_a_missing_label_counts_nowhere(frames, kind, reduction):
    """A frame without energy and one without forces: the terms are those of the others, and no gradient is NaN."""
    torch.manual_seed(0)
    potential = ToyPair(ToyConfig()).double()
    config = LossConfig(energy=2.0, forces=3.0, kind=kind, force_reduction=reduction)
    masked = build_dataset([replace(frames[0], energy=None), replace(frames[1], forces=None), frames[2]], 4.0)
    whole = build_dataset(frames, 4.0)
    value, grad = gradient(masked, [0, 1, 2], config, potential)
    energy, energy_grad = gradient(whole, [1, 2], replace(config, forces=0.0), potential)
    forces, forces_grad = gradient(whole, [0, 2], replace(config, energy=0.0), potential)
    torch.testing.assert_close(value, energy + forces, rtol=1e-6, atol=0)  # labels of forces are float32
    torch.testing.assert_close(grad, energy_grad + forces_grad, rtol=1e-6, atol=1e-9)


def test_a_batch_without_any_label_has_no_loss_and_no_gradient(frames):
    potential = ToyPair(ToyConfig()).double()
    dataset = build_dataset([replace(f, energy=None, forces=None) for f in frames], 4.0)
    value, grad = gradient(dataset, [0, 1, 2], LossConfig(), potential)
    assert value == 0 and not grad.any()


def test_sums_and_counts_of_batches_add_to_the_joined_batch(frames):
    frames[1] = replace(frames[1], energy=None)
    dataset, config = build_dataset(frames, 4.0), LossConfig(forces=2.0)
    parts = [loss_terms(off_by(b, 0.1, 0.3), b, config) for b in (dataset.batch([0]), dataset.batch([1, 2]))]
    b = dataset.batch([0, 1, 2])
    for name, term in loss_terms(off_by(b, 0.1, 0.3), b, config).items():
        torch.testing.assert_close(sum(p[name].total for p in parts), term.total)
        assert sum(p[name].count for p in parts) == term.count


def charged_batch(frames, total=0.0):
    rng = np.random.default_rng(4)
    labelled = []
    for f in frames:
        q = rng.standard_normal(len(f.numbers))
        q += (total - q.sum()) / len(q)
        labelled.append(replace(f, charges=q, dipole=q @ f.positions, charge=total))
    return build_dataset(labelled, 4.0).batch(range(len(labelled)))


def test_charges_and_dipoles_of_the_labels_have_no_loss_and_others_have(frames):
    b = charged_batch(frames)
    config = LossConfig(energy=0.0, forces=0.0, charges=1.0, dipole=1.0)
    at = Prediction(b.energy, None, None, b.charges)
    assert float(loss(at, b, config)) < 1e-12  # float32 labels of charges
    b_off = Prediction(b.energy, None, None, b.charges + 0.1)
    terms = loss_terms(b_off, b, config)
    assert float(terms["charges"].mean) == pytest.approx(0.01, rel=1e-6) and float(terms["dipole"].mean) > 1e-4


def test_dipoles_without_label_or_in_a_cell_do_not_count(frames):
    frames[1] = replace(frames[1], cell=20 * np.eye(3), pbc=np.ones(3, bool))
    b = charged_batch(frames)
    b.dipole[0] = NAN
    terms = loss_terms(Prediction(b.energy, None, None, b.charges * 2), b, LossConfig(energy=0.0, forces=0.0, dipole=1.0))
    assert terms["dipole"].count == 1 and float(terms["dipole"].mean) == pytest.approx(float(b.dipole[2].square().mean()), rel=1e-5)


def test_the_origin_matters_to_a_charged_structure_only(frames):
    neutral, ion = charged_batch(frames), charged_batch(frames, total=1.0)
    mu = {origin: dipole_about(neutral.charges, neutral.graph, origin) for origin in ("positions", "mass", "geometry")}
    torch.testing.assert_close(mu["positions"], mu["mass"], atol=1e-6, rtol=0)  # charges are float32 labels
    ions = {origin: dipole_about(ion.charges, ion.graph, origin) for origin in ("positions", "mass", "geometry")}
    shift = ions["positions"] - ions["geometry"]
    centres = torch.stack([torch.as_tensor(f.positions.mean(0)) for f in frames])
    torch.testing.assert_close(shift, centres, atol=1e-6, rtol=0)  # total charge times the centre
    assert (ions["mass"] - ions["geometry"]).abs().max() > 1e-3


def test_large_offsets_cost_no_digits_in_a_float32_network(frames):
    """Energies of 1e5 eV an atom: loss and gradient are those without the offset, though float32 would round it to 0.03 eV."""
    So3krates = architectures.get("so3krates")
    torch.manual_seed(0)
    potential = So3krates(So3krates.Config(num_layers=1, num_features=8, num_heads=2, degrees=(1, 2), cutoff=4.0, output_is_zero_at_init=False)).float()
    elements = sorted({int(z) for f in frames for z in f.numbers})
    shifted = [replace(f, energy=f.energy - 1e5 * len(f.numbers)) for f in frames]
    found = []
    for data, offset in ((frames, 0.0), (shifted, -1e5)):
        potential.set_reference_energies({z: offset for z in elements})
        b = build_dataset(data, 4.0).batch([0, 1, 2])
        potential.zero_grad()
        value = loss(plain_predictor(potential, create_graph=True)(b.graph), b, LossConfig(energy=1.0, forces=0.0))
        value.backward()
        found.append((float(value.detach()), torch.cat([p.grad.ravel() for p in potential.parameters() if p.grad is not None])))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-8)  # 1e-10 eV of 1e6 eV, by float64
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-9)
