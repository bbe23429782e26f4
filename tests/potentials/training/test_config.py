"""[train] as records, and what is said of keys and values that do not fit."""
import pytest

from potentials.training.config import TrainConfig, read_config
from potentials.typed import ConfigError, from_mapping, to_mapping

TEXT = """
[train]
epochs = 3
batch_size = 4
[train.data]
train = "a.xyz"
units = {energy = "hartree", length = "bohr"}
[train.potential]
name = "so3krates"
[train.potential.config]
num_layers = 2
[train.loss]
energy = 2
"""


def config_file(tmp_path, text):
    (tmp_path / "train.toml").write_text(text)
    return tmp_path / "train.toml"


def test_a_file_becomes_records(tmp_path):
    config = read_config(config_file(tmp_path, TEXT), {"epochs": 5})
    assert config.epochs == 5 and config.data.units.energy == "hartree" and config.loss.energy == 2.0
    assert config.potential.config == {"num_layers": 2}
    assert from_mapping(TrainConfig, to_mapping(config), "[train]") == config


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("epochs = 3", "epoch = 3", r"\[train\]: unknown key 'epoch' \(did you mean 'epochs'\?\)"),
        ("epochs = 3", "", "say when to stop: epochs, max_steps or max_hours"),
        ("epochs = 3", "epochs = -3", "epochs must be > 0, got -3"),
        ("batch_size = 4", 'batch_size = "four"', "batch_size: expected a whole number, got 'four'"),
        ('train = "a.xyz"', "", r"data: missing key 'train'"),
        ("energy = 2", "energy = -2", "energy must be 0 or more, got -2"),
        ("energy = 2", 'kind = "mes"', "did you mean 'mse'"),
        ('energy = "hartree"', 'energy = "hartre"', "Unknown unit of energy 'hartre'"),
        ("[train]", "[train", "not valid TOML"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, before, after, message):
    with pytest.raises(ConfigError, match=message):
        read_config(config_file(tmp_path, TEXT.replace(before, after, 1)))


def test_a_file_without_the_section_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no section \[train\]; there: run"):
        read_config(config_file(tmp_path, "[run]\nsteps = 3\n"))


def test_no_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.toml"):
        read_config(tmp_path / "none.toml")
