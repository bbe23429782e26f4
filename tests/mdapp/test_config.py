import dataclasses
import random
import tomllib

import pytest

from mdapp.config import CheckConfig, MinimaConfig, RelaxConfig, RunConfig
from mdapp.errors import UserError
from mdapp.quantities import quantity, shown_time
from mdapp.toml import fill, read_settings, to_toml, toml_value


def config(**settings):
    return RunConfig(**{"structure": "a.xyz", "potential": "lj", **settings})


@pytest.mark.parametrize(
    "text, unit, value",
    [
        ("0.5fs", "fs", 0.5),
        ("10 ps", "fs", 1e4),
        ("1ns", "fs", 1e6),
        ("300K", "K", 300),
        ("1bar", "bar", 1),
        ("0.1GPa", "bar", 1000),
        ("1atm", "bar", 1.01325),
        ("2/ps", "1/ps", 2),
        ("0.002/fs", "1/ps", 2),
        ("2ps^-1", "1/ps", 2),
        ("5 nm", "Å", 50),
        ("1e1", "fs", 10),
        ("90", "s", 90),
        ("2h", "s", 7200),
        ("01:30:00", "s", 5400),
        ("1-00:00:01", "s", 86401),
        (7, "K", 7),
    ],
)
def test_a_quantity_is_a_number_in_the_house_unit(text, unit, value):
    assert quantity(text, unit, "x") == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "text, unit", [("3K", "fs"), ("x", "K"), ("", "K"), ("nan", "K"), ("1e999", "fs"), (True, "fs"), (None, "fs"), ("1 fs fs", "fs"), (float("inf"), "K")]
)
def test_what_is_no_quantity_is_refused_by_name(text, unit):
    with pytest.raises(ValueError, match="^setting "):
        quantity(text, unit, "setting")


@pytest.mark.parametrize("number", [random.Random(7).uniform(1e-3, 1e9) for _ in range(20)])
def test_a_bare_number_and_its_house_unit_mean_the_same(number):
    assert quantity(f"{number!r}fs", "fs", "x") == quantity(number, "fs", "x") == number


def test_a_time_is_shown_in_the_unit_that_reads_best():
    assert [shown_time(t) for t in (0.5, 250, 1e4, 1.5e6)] == ["0.5 fs", "250 fs", "10 ps", "1.5 ns"]


def test_nothing_but_structure_and_potential_is_a_sensible_run():
    c = config()
    assert (c.method, c.temperature, c.timestep, c.length_fs, c.on_event) == ("nvt-langevin", 300.0, 0.5, 10_000.0, "stop")


def test_time_becomes_whole_steps_that_reach_it():
    assert config(time="1ps", timestep="0.5fs").steps == 2000
    assert config(time="1fs", timestep="0.3fs").steps == 4
    assert config(every="50fs").every == 100


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ensemble": "nve"},
        {"ensemble": "npt", "pressure": "0.1GPa"},
        {"ensemble": "nvt", "thermostat": "bussi"},
        {"steps": 7, "seed": 3},
        {"time": "3ps", "guard": ["on", "no-extent"]},
        {"structure": 'Ünï "quoted" \\ back\x7f\t.xyz', "wall_time": "1h"},
        {"friction": 1 / 3, "charge": -1, "threads": 2},
    ],
)
def test_resolved_toml_reads_back_equal(settings, tmp_path):
    asked = config(**settings)
    (tmp_path / "run.toml").write_text(to_toml(asked, "run"), encoding="utf-8")
    assert fill(RunConfig, read_settings(str(tmp_path / "run.toml"), "run"), "[run]") == asked
    assert to_toml(fill(RunConfig, tomllib.loads(to_toml(asked, "run"))["run"], "[run]"), "run") == to_toml(asked, "run")


@pytest.mark.parametrize(
    "value", [True, False, 0, -(2**63), 2**63 - 1, 1e-300, -0.1, 1e22, 1e16, [], ["a", "b"], "".join(map(chr, range(0, 300))), "\U0001f600", "'\"\\"]
)
def test_every_plain_value_survives_toml(value):
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


@pytest.mark.parametrize(
    "settings, claim",
    [
        ({"timestep": -1.0}, "timestep must be > 0 fs"),
        ({"timestep": 100.0}, "at most 20 fs"),
        ({"temperature": 0.0}, "temperature must be > 0 K"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"steps": 5, "time": "1ps"}, "give one of them"),
        ({"ensemble": "nvtt"}, "did you mean 'nvt'"),
        ({"ensemble": "nve", "thermostat": "csvr"}, "nve has no thermostat"),
        ({"pressure": 1.0}, "use ensemble npt"),
        ({"thermostat": "langevn"}, "did you mean 'langevin'"),
        ({"replicas": 4000}, "replicas must be <= 1000"),
        ({"seed": -1}, "seed must be >= 0"),
        ({"device": "gpu"}, "device must be cpu"),
        ({"dtype": "float16"}, "dtype"),
        ({"on_event": "rewind", "rewinds": 0}, "rewinds"),
        ({"on_event": "explode"}, "on_event"),
        ({"guard": ["temprature"]}, "did you mean 'temperature'"),
        ({"guard": ["temperature:5"]}, "expected key=value, got '5'"),
        ({"guard": ["temperature:a=1,a=2"]}, "given twice"),
        ({"flexible": True}, "use ensemble npt"),
        ({"ensemble_option": ["x"]}, "expected key=value"),
        ({"threads": 0}, "threads must be >= 1"),
        ({"every": 0}, "every must be >= 1"),
        ({"potential": []}, "potential"),
        ({"steps": 1.5}, "whole number"),
        ({"relax_start": "yes"}, "true or false"),
        ({"wall_time": "0s"}, "wall_time must be > 0"),
        ({"temprature": 300}, "did you mean 'temperature'"),
        ({"structure": 3}, "expected text"),
        ({"time": "-1ps"}, "time must be > 0"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_name(settings, claim):
    with pytest.raises(UserError, match=claim) as refusal:
        fill(RunConfig, {"structure": "a.xyz", "potential": "lj", **settings}, "[run]")
    assert str(refusal.value).startswith("[run]: ") and refusal.value.exit_code == 2


def test_python_callers_get_the_same_checks():
    with pytest.raises(ValueError, match="timestep must be > 0 fs"):
        config(timestep="-1fs")


def test_a_missing_key_is_asked_for():
    with pytest.raises(UserError, match="'potential' is missing. Name one"):
        fill(RunConfig, {"structure": "a.xyz"}, "[run]")


@pytest.mark.parametrize(
    "text, claim",
    [
        ("steps = 1\nsteps = 2", "not a TOML file"),
        ("steps = = 1", "not a TOML file"),
        ("[run]\nsteps = 1\n[rn]\nx = 1", "did you mean 'run'"),
        ("time = 1\n[run]\nsteps = 1", "stands outside"),
    ],
)
def test_a_broken_file_is_refused(text, claim, tmp_path):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UserError, match=claim):
        read_settings(str(tmp_path / "c.toml"), "run")


def test_a_file_may_hold_several_verbs_and_provenance(tmp_path):
    (tmp_path / "c.toml").write_text("[run]\nsteps = 5\n[relax]\nfmax = 0.1\n[provenance]\nseed = 1\n")
    assert read_settings(str(tmp_path / "c.toml"), "run") == {"steps": 5}
    assert read_settings(str(tmp_path / "c.toml"), "relax") == {"fmax": 0.1}


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: None, lambda p: p.write_bytes(b"\xff\xfe\x00"), lambda p: p.write_bytes(b"#" * 2_000_000)])
def test_what_is_no_file_is_refused(make, tmp_path):
    make(tmp_path / "c.toml")
    with pytest.raises(UserError):
        read_settings(str(tmp_path / "c.toml"), "run")


def test_a_drawn_seed_is_written_down_and_a_given_one_kept():
    assert config(seed=5).with_seed().seed == 5
    assert config().with_seed().seed != config().with_seed().seed


def test_other_verbs_check_themselves():
    assert CheckConfig(structure="a", potential="lj").probe == 20
    assert RelaxConfig(structure=["a", "b"], potential="lj", fmax="5meV/Å").fmax == pytest.approx(0.005)
    with pytest.raises(ValueError, match="did you mean 'lbfgs'"):
        RelaxConfig(structure="a", potential="lj", optimiser="lbfg")


@pytest.mark.parametrize("record, name, package, group", [(RunConfig, "guard", "mdapp.monitors", "mdapp.monitors"), (MinimaConfig, "move", "mdapp.minima.moves", "mdapp.moves")])
def test_the_help_of_an_option_names_all_plug_ins_of_the_house(record, name, package, group):
    from mdapp.config.words import plugin_names

    (told,) = (f.metadata["help"] for f in dataclasses.fields(record) if f.name == name)
    names = [word.strip(" .") for word in told.split("Names:")[1].split(",")]
    assert sorted(names) == sorted(plugin_names(package, group))
