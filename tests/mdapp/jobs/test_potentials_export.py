import json

import pytest
import torch

from mdapp.cli import main
from potentials.architectures.behler_parrinello import BehlerParrinello, Config
from potentials.checkpoint import save_potential
from potentials.layers.symmetry_functions.grids import Grid


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    potential = BehlerParrinello(Config((1, 8), cutoff=4.0, grid=Grid(n_radial=2, n_angular=0), hidden=(3,), scaling="none"))
    save_potential("water.pt", potential)
    return tmp_path


def test_an_exported_folder_is_imported_again_and_runs(here, capsys):
    assert main(["potentials", "export", "water.pt", "--format", "n2p2", "-o", "out"]) == 0
    assert capsys.readouterr().out.startswith("out: written from water.pt (n2p2): ")
    assert sorted(f.name for f in (here / "out").iterdir()) == ["input.nn", "scaling.data", "weights.001.data", "weights.008.data"]
    assert main(["potentials", "import", "n2p2", "out", "-o", "again.pt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["elements"] == "H O"


def test_without_an_output_the_folder_is_named_after_file_and_format(here, capsys):
    assert main(["potentials", "export", "water.pt", "--format", "n2p2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == "water-n2p2" and (here / "water-n2p2" / "input.nn").is_file()


@pytest.mark.parametrize("words, code, message", [
    (["water.pt"], 2, "takes one potential file and a --format, got no --format; known formats: n2p2"),
    (["--format", "n2p2"], 2, "takes one potential file and a --format, got nothing"),
    (["water.pt", "--format", "n2p"], 2, "export format 'n2p' is unknown (did you mean 'n2p2'?)"),
    (["none.pt", "--format", "n2p2"], 5, "none.pt"),
    (["so3krates.pt", "--format", "n2p2"], 5, "this potential is a so3krates"),
    (["water.pt", "--format", "n2p2", "-o", "water.pt"], 2, "exists already and is not overwritten"),
    (["water.pt", "--format", "n2p2", "-o", "no/out"], 2, "There is no folder no"),
])  # fmt: skip
def test_what_cannot_be_exported_is_refused_in_one_line_and_nothing_is_left(words, code, message, here, capsys):
    assert main(["potentials", "export", *words]) == code
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert [f.name for f in here.iterdir()] == ["water.pt"]


def test_a_format_belongs_to_export(here, capsys):
    assert main(["potentials", "water.pt", "--format", "n2p2"]) == 2
    assert "format = 'n2p2' is for `mdapp potentials export`" in capsys.readouterr().err
