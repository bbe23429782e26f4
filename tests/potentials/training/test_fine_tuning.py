"""Fine-tuning: what is kept, what may change, which elements come in, and where the zero of energy goes."""
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from potentials.checkpoint import fingerprint, load_potential
from potentials.data import build_dataset
from potentials.data.read import read_labelled
from potentials.training.config import DataConfig, FineTuneConfig, LossConfig, OptimiserConfig, PotentialConfig, TrainConfig
from potentials.training.evaluate import evaluate, plain_predictor
from potentials.training.fine_tuning import _refuse_other_architecture, element_tables, extended, fitted_energies, let_change, parent_of, reference_energies
from potentials.training.fit import fit
from potentials.training.screen import TrainingScreen
from potentials.training.state import TrainingError
from potentials.typed import ConfigError
from potentials.layers.symmetry_functions.grids import Grid
from samples import small

QUIET = {"screen": TrainingScreen(quiet=True)}
SMALL = PotentialConfig("so3krates", {"num_layers": 1, "num_features": 8, "num_heads": 2, "degrees": [1, 2], "energy_regression_dim": 8})


def frames_of(path, names, n=12, offsets=None, seed=0):
    """Molecules labelled by EMT, with `offsets` (eV by symbol) added to the energy: another level of theory."""
    frames = []
    for k in range(n):
        atoms = molecule(names[k % len(names)])
        atoms.rattle(0.05, seed=seed + k)
        atoms.calc = EMT()
        offset = sum((offsets or {}).get(symbol, 0.0) for symbol in atoms.get_chemical_symbols())
        atoms.info.update(REF_energy=atoms.get_potential_energy() + offset, molecule=str(atoms.symbols))
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return str(path)


def config_of(data, output, **changes):
    return TrainConfig(
        data=DataConfig(train=data, validation_fraction=0.25), output=str(output), potential=SMALL, loss=LossConfig(energy=10.0),
        optimiser=OptimiserConfig(learning_rate=2e-3, warmup_steps=2, ema=0.9), max_steps=12, batch_size=4, validate_every=6, dtype="float64", seed=2,
        level_of_theory="EMT", **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A small So3krates that knows H, C and O; and the folder it is in."""
    folder = tmp_path_factory.mktemp("parent")
    data = frames_of(folder / "old.xyz", ("H2O", "CH3OH", "CH4"))
    fit(config_of(data, folder / "run"), **QUIET)
    return folder / "run/best.pt"


def tuning(parent, data, output, what="all", reference="refit", **changes):
    base = config_of(data, output, **changes)
    return replace(base, potential=PotentialConfig(), fine_tune=FineTuneConfig(str(parent), what, reference))


def energy_error(path, data, cutoff):
    return evaluate(plain_predictor(load_potential(path)), build_dataset(read_labelled(data), cutoff)).errors.energy_mae_meV_atom


def test_all_weights_learn_and_the_card_remembers_where_they_came_from(parent, tmp_path):
    data = frames_of(tmp_path / "new.xyz", ("H2O", "CH3OH"), seed=50)
    fit(tuning(parent, data, tmp_path / "run"), **QUIET)
    before, after = load_potential(parent), load_potential(tmp_path / "run/best.pt")
    changed = [name for name, p in before.named_parameters() if not torch.equal(p, dict(after.named_parameters())[name])]
    assert len(changed) > 10 and after.config == before.config
    lineage = after.card.training["fine_tuned_from"]
    assert lineage["file"] == "best.pt" and lineage["sha256"] == fingerprint(parent) and lineage["level_of_theory"] == "EMT"
    assert lineage["fine_tuned_from"] is None and lineage["data_hash"] == before.card.data_hash


def test_a_lineage_is_a_chain(parent, tmp_path):
    data = frames_of(tmp_path / "new.xyz", ("H2O", "CH3OH"), seed=50)
    fit(tuning(parent, data, tmp_path / "first"), **QUIET)
    fit(tuning(tmp_path / "first/best.pt", data, tmp_path / "second"), **QUIET)
    lineage = load_potential(tmp_path / "second/best.pt").card.training["fine_tuned_from"]
    assert lineage["sha256"] == fingerprint(tmp_path / "first/best.pt") and lineage["fine_tuned_from"]["sha256"] == fingerprint(parent)


@pytest.mark.parametrize("what, free", [("head", ("readout", "scales", "shifts")), (("readout", "layers.0.exchange"), ("readout", "layers.0.exchange"))])
def test_only_what_is_named_changes(parent, tmp_path, what, free):
    data = frames_of(tmp_path / "new.xyz", ("H2O", "CH3OH"), seed=50)
    fit(tuning(parent, data, tmp_path / "run", what=what), **QUIET)
    before, after = load_potential(parent), dict(load_potential(tmp_path / "run/best.pt").named_parameters())
    for name, p in before.named_parameters():
        if not name.startswith(free):
            assert torch.equal(p, after[name]), name
    last = [name for name in after if name.startswith("readout") and name.endswith("weight")][-1]
    assert not torch.equal(dict(before.named_parameters())[last], after[last])


def test_energies_lie_on_the_new_level_of_theory_before_the_first_step(parent, tmp_path):
    """Shifts of -20 and -75 and -38 eV an atom are found; without them the error is what they are."""
    offsets = {"H": -20.0, "C": -75.0, "O": -38.0}
    data = frames_of(tmp_path / "new.xyz", ("H2O", "CH3OH", "CH4"), offsets=offsets, seed=50)
    potential = load_potential(parent)
    dataset = build_dataset(read_labelled(data), potential.cutoff)
    before = reference_energies(potential)
    after = fitted_energies(potential, dataset, np.arange(len(dataset)), False, "cpu", 0)
    own = build_dataset(read_labelled(frames_of(tmp_path / "same.xyz", ("H2O", "CH3OH", "CH4"), seed=50)), potential.cutoff)
    without = fitted_energies(potential, own, np.arange(len(own)), False, "cpu", 0)
    for z, symbol in ((1, "H"), (6, "C"), (8, "O")):
        assert after[z] - without[z] == pytest.approx(offsets[symbol], abs=1e-6)  # least squares are linear
        assert abs(after[z] - before[z] - offsets[symbol]) < 5  # the rest is what the short training left
    fit(tuning(parent, data, tmp_path / "run"), **QUIET)
    old = energy_error(parent, data, potential.cutoff)
    assert old > 25_000 and energy_error(tmp_path / "run/best.pt", data, potential.cutoff) < 0.01 * old


def test_new_elements_come_in_as_the_mean_of_the_known_ones(parent):
    potential = load_potential(parent)
    child = extended(potential, (1, 7, 8))
    assert child.elements == (1, 6, 7, 8)
    known = [1, 6, 8]
    for before, after in zip(element_tables(potential), element_tables(child), strict=True):
        assert torch.equal(after[7], before[known].mean(0)) and torch.equal(after[known], before[known])
    assert len(element_tables(child)) == 3  # embedding, scales, shifts


def test_a_fine_tuned_potential_knows_the_union_of_elements(parent, tmp_path):
    data = frames_of(tmp_path / "ammonia.xyz", ("NH3", "H2O"), offsets={"N": -1500.0})
    fit(tuning(parent, data, tmp_path / "run"), **QUIET)
    potential = load_potential(tmp_path / "run/best.pt")
    assert potential.elements == (1, 6, 7, 8)
    energies = reference_energies(potential)
    assert energies[6] == reference_energies(load_potential(parent))[6]  # no frame has carbon
    assert energies[7] < -1400 and set(potential.card.training["reference_energies_eV"]) == {"H", "C", "N", "O"}
    kept = tuning(parent, data, tmp_path / "kept", reference="keep")
    fit(kept, **QUIET)
    after = reference_energies(load_potential(tmp_path / "kept/best.pt"))
    assert all(after[z] == reference_energies(load_potential(parent))[z] for z in (1, 6, 8)) and after[7] < -1400


def test_a_shipped_potential_can_be_named(tmp_path):
    potential = parent_of(FineTuneConfig("so3krates"), PotentialConfig(), "float32")
    assert potential.lineage["file"] == "so3krates.pt" and potential.elements == (1, 6, 7, 8, 16)


def test_a_resumed_fine_tuning_is_the_uninterrupted_one(parent, tmp_path):
    data = frames_of(tmp_path / "new.xyz", ("NH3", "CH3OH"), seed=50)
    whole, parted = (tuning(parent, data, tmp_path / name, what="head") for name in ("whole", "parted"))
    fit(whole, **QUIET)
    steps = iter(range(1, 100))
    assert not fit(parted, should_stop=lambda: next(steps) == 7, **QUIET).finished
    fit(parted, resume=True, **QUIET)
    a, b = (load_potential(tmp_path / name / "best.pt").state_dict() for name in ("whole", "parted"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "what, claim",
    [("redout", "what names no weight: redout. There are: "), (("readout", "layer"), "names no weight: layer"), (("layers.0.nothing",), "layers.0.nothing")],
)
def test_weights_that_are_not_there_are_named(parent, what, claim):
    with pytest.raises(TrainingError, match=claim):
        let_change(load_potential(parent), what)


def test_another_architecture_is_refused(parent, tmp_path):
    data = frames_of(tmp_path / "new.xyz", ("H2O",))
    other = replace(tuning(parent, data, tmp_path / "run"), potential=PotentialConfig("so3krates", {"num_layers": 2}))
    with pytest.raises(TrainingError, match=r"num_layers = 1, not 2. Fine-tuning keeps the architecture of the file"):
        fit(other, **QUIET)
    with pytest.raises(TrainingError, match="architecture so3krates, not lennard-jones"):
        fit(replace(other, potential=PotentialConfig("lennard-jones")), **QUIET)
    assert not (tmp_path / "run").exists()


def test_a_table_of_settings_that_leaves_out_what_is_usual_is_the_same_architecture():
    potential = small("behler-parrinello", grid=Grid(scheme="imbalzano", n_radial=4))
    asked = PotentialConfig("behler-parrinello", {"hidden": [6], "grid": {"scheme": "imbalzano", "n_radial": 4}})
    _refuse_other_architecture(potential, asked, "parent.pt")
    with pytest.raises(TrainingError, match="grid = .*not {'scheme': 'imbalzano', 'n_radial': 5}"):
        _refuse_other_architecture(potential, replace(asked, config={"grid": {"scheme": "imbalzano", "n_radial": 5}}), "parent.pt")


def test_a_parent_that_is_not_there_or_is_none(parent, tmp_path):
    data = frames_of(tmp_path / "new.xyz", ("H2O",))
    with pytest.raises(TrainingError, match="no potential file 'nothing.pt', and none of that name is shipped; shipped: so3krates.pt"):
        fit(tuning("nothing.pt", data, tmp_path / "run"), **QUIET)
    with pytest.raises(TrainingError, match="not a potential file"):
        fit(tuning(data, data, tmp_path / "run"), **QUIET)


def test_from_is_another_word_for_potential_and_the_rate_is_gentle(tmp_path):
    from potentials.training.config import read_config

    text = '[train]\nmax_steps = 1\n[train.data]\ntrain = "x.xyz"\n[train.fine_tune]\nfrom = "so3krates.pt"\n'
    (tmp_path / "a.toml").write_text(text)
    config = read_config(tmp_path / "a.toml")
    assert config.fine_tune.potential == "so3krates.pt" and config.optimiser.learning_rate == 1e-4
    (tmp_path / "b.toml").write_text(text + "[train.optimiser]\nlearning_rate = 1e-3\n")
    assert read_config(tmp_path / "b.toml").optimiser.learning_rate == 1e-3
    (tmp_path / "c.toml").write_text(text.replace("from", "form"))
    with pytest.raises(ConfigError, match="unknown key 'form'"):
        read_config(tmp_path / "c.toml")


def test_rank_deficient_shifts_keep_the_sums(parent, tmp_path, caplog):
    data = frames_of(tmp_path / "water.xyz", ("H2O",), offsets={"H": -3.0, "O": 5.0})
    potential = load_potential(parent)
    dataset = build_dataset(read_labelled(data), potential.cutoff)
    with caplog.at_level(logging.WARNING):
        shifted = fitted_energies(potential, dataset, np.arange(len(dataset)), False, "cpu", 0)
    potential.set_reference_energies(shifted)
    predicted = np.array([float(plain_predictor(potential)(dataset.batch([k]).graph).energy[0]) for k in range(len(dataset))])
    assert abs((predicted - dataset.energy).mean()) < 1e-6


def test_the_parents_training_domain_is_not_the_childs(parent, tmp_path, caplog):
    data = frames_of(tmp_path / "known.xyz", ("H2O", "CH3OH"))
    first = fit(config_of(data, tmp_path / "first", domain=True), **QUIET).folder / "best.pt"
    assert load_potential(first).domain is not None
    tuned = config_of(data, tmp_path / "second", fine_tune=FineTuneConfig(str(first)))
    assert load_potential(fit(tuned, **QUIET).folder / "best.pt").domain is None and "how far its training set reaches" in caplog.text
    assert load_potential(fit(replace(tuned, domain=True, output=str(tmp_path / "third")), **QUIET).folder / "best.pt").domain is not None
