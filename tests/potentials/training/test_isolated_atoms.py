"""Reference energies of free atoms: taken when asked for, set aside from what is learnt, refused where they mean nothing."""
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from potentials.checkpoint import load_potential
from potentials.data import DataError
from potentials.training.config import DataConfig, LossConfig, PotentialConfig, TrainConfig
from potentials.training.fit import fit
from potentials.training.screen import TrainingScreen
from potentials.typed import ConfigError
from training.toy_pair import write_toy_data

QUIET = {"screen": TrainingScreen(quiet=True)}


@pytest.fixture
def config(tmp_path):
    write_toy_data(tmp_path / "toy.xyz")
    data = DataConfig(train=str(tmp_path / "toy.xyz"), validation_fraction=0.25, reference_energies="isolated", cleaning="off")
    return TrainConfig(data=data, output=str(tmp_path / "run"), potential=PotentialConfig("toy-pair", {"n_basis": 8}), max_steps=4, batch_size=4, dtype="float64")


def atom(symbol, energy, **info):
    a = Atoms(symbol)
    a.info.update(info, **({} if energy is None else {"REF_energy": energy}))
    a.arrays["REF_forces"] = np.zeros((1, 3))
    return a


def energies_of(config):
    return load_potential(f"{config.output}/best.pt").element_energies.energies


def with_file(config, tmp_path, *atoms):
    write(tmp_path / "atoms.xyz", list(atoms), format="extxyz")
    return replace(config, data=replace(config.data, isolated_atoms=str(tmp_path / "atoms.xyz")))


def test_energies_of_a_file_of_atoms_are_taken_the_lowest_of_each_element(config, tmp_path):
    fit(with_file(config, tmp_path, atom("H", -13.5), atom("O", -2001.0), atom("O", -1999.0), atom("O", -2010.0, charge=-1)), **QUIET)
    assert energies_of(config)[1] == -13.5 and energies_of(config)[8] == -2001.0


def test_atoms_among_the_frames_are_taken_and_are_no_frames(config, tmp_path):
    frames = read(config.data.train, ":", format="extxyz")
    write(tmp_path / "both.xyz", [*frames, atom("H", -13.5), atom("O", -2001.0)], format="extxyz")
    both = replace(config, data=replace(config.data, train=str(tmp_path / "both.xyz")))
    fit(both, **QUIET)
    card = load_potential(f"{config.output}/best.pt").card.training
    assert energies_of(config)[8] == -2001.0 and card["training_frames"] + card["validation_frames"] == len(frames)


@pytest.mark.parametrize(
    "atoms, claim",
    [
        ([atom("H", -13.5)], "No reference energy for O"),
        ([atom("H", -13.5), atom("O", None)], "an isolated O atom, has no energy"),
        ([atom("H", -13.5), atom("O", -2010.0, charge=-1)], "isolated atoms of O are ions only"),
        ([Atoms("H2", [[0, 0, 0], [0, 0, 1]], info={"REF_energy": -30.0})], "has 2 atoms; a file of isolated_atoms holds single atoms only"),
    ],
)
def test_atoms_that_give_no_reference_are_refused(config, tmp_path, atoms, claim):
    with pytest.raises(DataError, match=claim):
        fit(with_file(config, tmp_path, *atoms), **QUIET)
    assert not (tmp_path / "run").exists()


def test_none_where_they_are_asked_for(config):
    with pytest.raises(DataError, match="no frame is a single atom. Name a file with them in isolated_atoms"):
        fit(config, **QUIET)


def test_a_file_that_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match="isolated_atoms are given, but reference_energies is not 'isolated'"):
        DataConfig(train="x.xyz", isolated_atoms="atoms.xyz")


def without_energies(config, tmp_path, which):
    frames = read(config.data.train, ":", format="extxyz")
    for k in which(len(frames)):
        del frames[k].info["REF_energy"]
    write(tmp_path / "some.xyz", frames, format="extxyz")
    return replace(config, data=replace(config.data, train=str(tmp_path / "some.xyz"), reference_energies="fit"))


def test_frames_without_energy_are_refused_or_masked(config, tmp_path):
    some = without_energies(config, tmp_path, lambda n: range(0, n, 3))
    with pytest.raises(DataError, match="missing_labels = 'mask'|has no energy"):
        fit(some, **QUIET)
    assert fit(replace(some, data=replace(some.data, missing_labels="mask")), **QUIET).finished


def test_a_term_that_no_frame_has_a_label_for_is_refused(config, tmp_path):
    none = without_energies(config, tmp_path, range)
    with pytest.raises(DataError, match="No training frame has a label for energy"):
        fit(replace(none, data=replace(none.data, missing_labels="mask")), **QUIET)


def test_charges_of_a_potential_that_gives_none_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="charges have a weight, but toy-pair as configured gives no partial charges"):
        fit(replace(config, loss=LossConfig(charges=1.0)), **QUIET)
