"""Every data set opens with its config, in units that physics confirms."""
import itertools
from pathlib import Path

import numpy as np
import pytest

from potentials.architectures import architectures
from potentials.data import FileConfig, LabelKeys, LammpsConfig, Units, read_labelled
from potentials.training.config import read_config
from potentials.typed import from_mapping

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "examples/training").glob("*.toml"))
DATA = ROOT / "../shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the data sets are not beside the repository")

ELSEWHERE = {"spice1", "spice2"}  # the user's own files
FORCES_RMS = {"lammps_argon": (0.01, 0.1), "lammps_argon_message_passing": (0.01, 0.1), "gnnformd_message_passing": (0.05, 1.0), "lammps_water_n216": (0.05, 1.0), "gnnformd_water": (0.05, 1.0), "sapt10k": None}  # eV/Å; others 0.1 to 10


def listed(files):
    return [FileConfig(f) if isinstance(f, str) else f for f in ((files,) if isinstance(files, str) else files)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_config_is_valid_and_names_a_potential_that_can_be_built(path):
    config = read_config(path)
    from_mapping(architectures.get(config.potential.name).Config, config.potential.config, "config")
    assert config.level_of_theory != "not stated" and config.description and config.output == f"runs/{path.stem}"
    assert f"mdapp train examples/training/{path.name}" in path.read_text()


@needs_data
@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem not in ELSEWHERE], ids=lambda p: p.stem)
def test_first_frames_are_read_and_forces_have_a_sensible_size(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = read_config(path)
    for file in [*listed(config.data.train), *listed(config.data.validation)]:
        frames = list(itertools.islice(config.data.frames([file]), 10))
        assert frames
        for s in frames:
            assert (s.energy is not None or not config.loss.learns_energy) and (s.forces is not None or not config.loss.learns_forces)
        limits = FORCES_RMS.get(path.stem, (0.1, 10.0))
        if limits is not None and "Elastic" not in file.path:  # those cells have no forces by symmetry
            rms = np.sqrt(np.mean(np.concatenate([s.forces.ravel() for s in frames]) ** 2))
            assert limits[0] < rms < limits[1], f"{file.path}: {rms} eV/Å"


@needs_data
def test_every_folder_of_data_has_a_config():
    named = "\n".join(path.read_text() for path in CONFIGS)
    missing = [folder.name for folder in DATA.iterdir() if folder.is_dir() and f"../shared/data/{folder.name}/" not in named]
    assert not missing


WATER = LammpsConfig("real", ("O", "H"))
TWICE = {  # two files of one set: (file, frames, words for the reader), Å and eV of the converted file's digits
    "sgdml": (("ethanol_md17/raw/ethanol_train1000_sgdml_layout.npz", {}), ("ethanol_md17/train.xyz.gz", {}), 1),
    "rmd17": (("aspirin_rmd17/raw/rmd17_aspirin_train1000_rmd17_keys.npz", {}), ("aspirin_rmd17/train_split01_1000.xyz.gz", {}), 1),
    "mlff": (("au_mgo_4g/raw/test_solid.npz", {}), ("au_mgo_4g/au2_mgo_50.xyz.gz", {}), 1),
    "gradient": (("dipeptides_gx/raw/GA_qm_data.npz", {}), ("dipeptides_gx/dipeptides_16x50.xyz.gz", {}), 1),
    "spice": (("spice/raw/SPICE-1.1.4_subset_shared.hdf5", {}), ("spice/labelled_shared.xyz", {}), 1),
    "lammps": (("gnnformd_water/N216.1.lammpstrj.gz", {"lammps": WATER}), ("gnnformd_water/N216.1_every10.xyz.gz", {}), 10),
    "plain keys": (("3bpa/raw/train_300K.xyz.gz", {}), ("3bpa/train_300K.xyz.gz", {}), 1),
    "db": (("formats/ethanol_20.db", {}), ("formats/ethanol_20_energy_forces_keys.xyz", {}), 1),
    "traj": (("formats/ethanol_20.traj", {}), ("ethanol_md17/test.xyz.gz", {}), 1),
}


@needs_data
@pytest.mark.parametrize("name", TWICE)
def test_two_formats_of_a_set_hold_the_same_numbers(name):
    (one, words), (other, others), step = TWICE[name]
    pairs = list(zip(itertools.islice(read_labelled(DATA / one, **words), 0, 40, step), read_labelled(DATA / other, **others)))
    assert len(pairs) >= 4
    for a, b in pairs:
        assert a.numbers.tolist() == b.numbers.tolist() and a.charge == b.charge
        np.testing.assert_allclose(a.positions, b.positions, atol=2e-6)  # eight digits in the converted file
        np.testing.assert_allclose(a.forces, b.forces, atol=2e-6)
        if b.energy is not None:
            assert a.energy == pytest.approx(b.energy, rel=3e-8)  # CODATA 2014 in the converted file, 2018 here
        if b.charges is not None:
            np.testing.assert_allclose(a.charges, b.charges, atol=1e-7)


@needs_data
def test_md17_forces_are_minus_the_slope_of_its_energies():
    """2000 consecutive steps of 0.5 fs: the trapezium rule along each step gives its change of energy."""
    frames = list(read_labelled(DATA / "ethanol_md17/raw/ethanol_md17_first2000_ERzF.npz"))
    assert len(frames) == 2000
    by_energy = [b.energy - a.energy for a, b in zip(frames, frames[1:])]
    by_forces = [-0.5 * np.sum((a.forces + b.forces) * (b.positions - a.positions)) for a, b in zip(frames, frames[1:])]
    slope = np.dot(by_forces, by_energy) / np.dot(by_forces, by_forces)
    assert slope == pytest.approx(1.0, abs=0.01)
    assert np.corrcoef(by_forces, by_energy)[0, 1] > 0.999


@needs_data
def test_schnetpack_rows_fit_the_ethanol_they_are_of():
    db = [s.energy for s in read_labelled(DATA / "formats/schnetpack_ethanol_data_dict.db", units=Units("kcal/mol"))]
    md17 = [s.energy for s in read_labelled(DATA / "ethanol_md17/train.xyz.gz")]
    assert min(md17) - 0.3 < min(db) and max(db) < max(md17) + 0.3  # eV


@needs_data
def test_lammps_labels_are_those_of_its_single_points():
    with np.load(DATA / "lammps/water216_300K_reference.npz") as reference:
        config = LammpsConfig("real", topology=str(DATA / "lammps/water216_topology.data.gz"), energies=str(DATA / "lammps/water216_300K_reference.npz"),
                              energies_key="pe_kcal")  # fmt: skip
        frames = list(read_labelled(DATA / "lammps/water216_300K.lammpstrj.gz", lammps=config))
        assert len(frames) == 31 and frames[0].charges[:3].tolist() == [-0.82, 0.41, 0.41] and frames[0].charge == 0
        np.testing.assert_allclose([s.energy for s in frames], reference["pe_kcal"] * 0.0433641042, rtol=1e-8)
        for k, index in enumerate(reference["frames"]):
            np.testing.assert_array_equal(frames[index].positions, reference["positions_A"][k])
            np.testing.assert_allclose(frames[index].forces, reference["forces_kcal_per_mol_A"][k] * 0.0433641042, atol=5e-5)  # PPPM against Ewald


@needs_data
def test_dimers_of_sapt_are_read_by_the_key_that_is_named():
    s = next(read_labelled(DATA / "sapt10k/sapt10k_shared.xyz.gz", keys=LabelKeys(energy="REF_interaction_energy", molecule="name")))
    assert s.energy == pytest.approx(-0.52670388) and s.molecule.startswith("HBXB-Succinimide")
