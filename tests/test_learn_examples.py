"""The examples of labelling and learning, in a short mode."""
from dataclasses import replace
from pathlib import Path

import pytest
from ase.io import read as read_frames

from mdapp.config.learn import ExploreConfig
from mdapp.jobs._potential import load
from mdapp.jobs._unknown import unknown_words
from mdapp.jobs.learn import learn, read

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples" / "learn_ethanol" / "learn.toml"


def test_the_ethanol_example_is_a_config_of_its_words():
    config = read(CONFIG)
    assert (config.calculator, config.members, config.explore.method) == ("tblite:GFN2-xTB", 4, "md")
    assert len(read_frames(ROOT / config.starts[0])) == 9


def test_the_peptide_example_begins_from_the_shipped_potential_which_knows_that_it_is_outside_its_training():
    config = read(ROOT / "examples" / "learn_peptide" / "learn.toml")
    assert (config.begin_from, config.energy_heads, config.members) == ("so3krates", 8, 1)
    peptide = read_frames(ROOT / config.starts[0])
    (words,) = unknown_words(peptide, load(("so3krates.pt",), "cpu"))
    assert words.startswith("S7 and O8 are outside what") and (peptide.symbols[[7, 8]] == ["S", "O"]).all()


@pytest.mark.slow
def test_the_ethanol_example_learns(tmp_path, monkeypatch):
    pytest.importorskip("tblite", reason="tblite is not installed")
    monkeypatch.chdir(ROOT)
    asked = replace(read(CONFIG), members=2, rounds=2, first=20, first_held_out=5, labels=5, output=str(tmp_path / "loop"), workers=1,
                    explore=ExploreConfig(steps=200, every=20))
    asked = replace(asked, train={**asked.train, "max_steps": 60, "validate_every": 30})
    history = learn(asked).summary["history"]
    assert history[1]["labels"] > history[0]["labels"] == 20
    assert history[1]["forces_rmse_eV_A"] < history[0]["forces_rmse_eV_A"]
