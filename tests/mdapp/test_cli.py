"""The command line as a user meets it: help, refusals, exit codes."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mdapp.cli import main

HEAVY = ("torch", "ase", "numpy", "scipy", "matplotlib", "mdtraj", "h5py")


def mdapp(*words, cwd, timeout=120):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, "-m", "mdapp", *map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["run", "--help"], ["rum"], ["run", "a.xyz", "--temprature", "3"], ["run", "a.xyz", "-p", "lj", "--timestep", "-1"]]
)
def test_help_and_usage_errors_import_nothing_heavy(words):
    code = f"import sys; from mdapp.cli import main; main({words!r}); print('loaded:', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("words", [["--help"], ["run", "a.xyz", "--temprature", "3"]])
def test_help_and_usage_errors_answer_at_once(words, tmp_path):
    """CPU time is measured: it is what a busy machine cannot stretch."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        mdapp(*words, cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.4  # s; 0.07 to 0.15 measured


@pytest.mark.parametrize(
    "words, claim",
    [
        (["rum"], "did you mean 'run'"),
        (["run", "a.xyz", "--temprature", "3"], "--temperature"),
        (["run"], "'structure' is missing"),
        (["run", "a.xyz"], "'potential' is missing"),
        (["run", "a.xyz", "b.xyz", "-p", "lj"], "unexpected extra argument"),
        (["run", "a.xyz", "-p", "lj", "--steps", "3.5"], "not a whole number"),
        (["run", "a.xyz", "-p", "lj", "--timestep", "-1"], "timestep must be > 0 fs"),
        (["run", "a.xyz", "-p", "lj", "--time", "3K"], "unit 'K'"),
        (["run", "a.xyz", "-p", "lj", "--ensemble", "nvtt"], "did you mean 'nvt'"),
        (["run", "--config", "none.toml"], "No configuration file 'none.toml'"),
        (["minima", "a.xyz", "-p", "lj", "--move", "dihedrl"], "did you mean 'dihedral'"),
        (["minima", "a.xyz", "-p", "lj", "--complete", "3"], "complete must be above 0 and at most 1"),
        (["label", "a.xyz"], "calculator: name one"),
        (["bench"], "'structure' is missing"),
        (["potentials", "import", "x", "y"], "import format 'x' is unknown; known: n2p2, so3lr."),
        (["potentials", "export", "x"], "takes one potential file and a --format"),
        (["run", "a.xyz", "-p", "lj", "--parallel", "8"], "one replica only"),
        (["analyse"], "'run' is missing"),
        (["analyze"], "'run' is missing"),
        (["resume"], "'run' is missing"),
    ],
)
def test_a_bad_command_is_refused_in_one_line_with_exit_code_2(words, claim, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr()
    assert claim in said.err and said.out == "" and len(said.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_of_a_file_is_refused_with_the_nearest(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("[run]\ntemprature = 3\n")
    assert main(["run", "a.xyz", "-p", "lj", "--config", str(tmp_path / "c.toml")]) == 2
    assert "did you mean 'temperature'" in capsys.readouterr().err


def dry_run(capsys, *words):
    import tomllib

    assert main(["run", "a.xyz", "-p", "lj", "--dry-run", *words]) == 0
    return tomllib.loads(capsys.readouterr().out)["run"]


def test_dry_run_prints_the_whole_configuration_which_reads_back(tmp_path, capsys):
    first = dry_run(capsys, "--time", "1ps", "--seed", "4")
    assert first["steps"] == 2000 and first["thermostat"] == "langevin" and first["seed"] == 4
    path = tmp_path / "c.toml"
    assert main(["run", "a.xyz", "-p", "lj", "--time", "1ps", "--seed", "4", "--dry-run"]) == 0
    path.write_text(capsys.readouterr().out)
    assert main(["run", "--config", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_options_beat_the_file_and_replace_what_excludes_them(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("[run]\nensemble = 'npt'\npressure = '1kbar'\nsteps = 10\ntemperature = 100\n")
    config = ["--config", str(tmp_path / "c.toml")]
    assert dry_run(capsys, *config)["pressure"] == 1000
    settled = dry_run(capsys, *config, "--ensemble", "nve", "--time", "1ps", "--temperature", "5K")
    assert (settled["ensemble"], settled["steps"], settled["temperature"]) == ("nve", 2000, 5.0) and "pressure" not in settled


def test_json_refusals_are_json_on_stdout_and_a_sentence_on_stderr(capsys):
    assert main(["run", "a.xyz", "--json"]) == 2
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["exit_code"] == 2 and answer["verdict"] == "refused" and answer["error"] in said.err


def test_traceback_is_shown_only_when_asked_for(capsys):
    assert main(["run", "a.xyz", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(["run", "a.xyz"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_internal_error_is_one_line_with_exit_code_1(monkeypatch, capsys):
    import mdapp.cli as cli

    monkeypatch.setattr(cli, "_job", lambda path: lambda *a, **k: 1 / 0)
    assert main(["run", "a.xyz", "-p", "lj"]) == 1
    assert capsys.readouterr().err == "mdapp: internal error, ZeroDivisionError: division by zero. Give --traceback to see where.\n"


@pytest.mark.parametrize("words", [[], ["data"]])
def test_a_verb_that_is_missing_is_answered_with_the_help_alone(words, capsys):
    assert main(words) == 2
    said = "".join(capsys.readouterr())
    assert said.startswith("Usage: mdapp") and "Commands:" in said and "Try 'mdapp" not in said


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mdapp ")


def test_every_option_has_a_help_text():
    from mdapp.cli import cli

    for name, command in cli.commands.items():
        for param in command.params:
            assert param.param_type_name == "argument" or param.help, f"{name}: {param.name} has no help"
