"""Mappings become frozen dataclasses and come back the same; what does not fit is refused by its key."""
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from potentials.architectures import architectures
from potentials.typed import ConfigError, convert, from_mapping, to_mapping
from samples import SMALL, house_names


@dataclass(frozen=True)
class Inner:
    width: float = 1.0
    kind: Literal["wide", "narrow"] = "wide"

    def __post_init__(self):
        if not self.width > 0:
            raise ValueError(f"width must be > 0, got {self.width}.")


@dataclass(frozen=True)
class Outer:
    steps: int
    name: str = "run"
    inner: Inner = Inner()
    maybe: float | None = None
    degrees: tuple[int, ...] = (1,)
    box: tuple[float, float] = (0.0, 1.0)
    flags: dict[str, bool] = field(default_factory=dict)
    anything: Any = None
    either: int | str = 0


FULL = Outer(3, "x", Inner(2.0, "narrow"), 1.5, (1, 2), (0.5, 2.0), {"a": True}, [1, {"b": None}], "two")


def test_there_and_back():
    assert from_mapping(Outer, to_mapping(FULL), "run") == FULL
    assert from_mapping(Outer, to_mapping(Outer(1)), "run") == Outer(1)


@pytest.mark.parametrize("name", house_names())
def test_configs_of_all_architectures_go_there_and_back(name):
    config = architectures.get(name).Config(**SMALL[name])
    plain = to_mapping(config)
    assert from_mapping(type(config), plain, "config") == config
    import json

    assert from_mapping(type(config), json.loads(json.dumps(plain)), "config") == config  # lists for tuples, as files keep them


def test_whole_numbers_and_lists_may_stand_for_floats_and_tuples():
    record = from_mapping(Outer, {"steps": 1, "maybe": 2, "degrees": [3, 4], "box": [1, 2], "inner": {"width": 3}}, "run")
    assert record.maybe == 2.0 and isinstance(record.maybe, float)
    assert record.degrees == (3, 4) and record.box == (1.0, 2.0) and isinstance(record.inner.width, float)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"step": 1}, ["[run]: unknown key 'step'", "did you mean 'steps'", "known: steps, name"]),
        ({}, ["[run]: missing key 'steps'"]),
        ({"steps": 1.0}, ["[run]: steps: expected a whole number, got 1.0"]),
        ({"steps": True}, ["[run]: steps: expected a whole number, got True"]),
        ({"steps": "1"}, ["[run]: steps: expected a whole number, got '1'"]),
        ({"steps": 1, "name": 5}, ["[run]: name: expected text, got 5"]),
        ({"steps": 1, "maybe": "x"}, ["[run]: maybe: expected a number, got 'x'"]),
        ({"steps": 1, "maybe": True}, ["[run]: maybe: expected a number, got True"]),
        ({"steps": 1, "degrees": 3}, ["[run]: degrees: expected a list, got 3"]),
        ({"steps": 1, "degrees": "12"}, ["[run]: degrees: expected a list, got '12'"]),
        ({"steps": 1, "degrees": [1, "2"]}, ["[run]: degrees: expected a whole number, got '2'"]),
        ({"steps": 1, "box": [1.0]}, ["[run]: box: expected 2 values, got 1"]),
        ({"steps": 1, "flags": {"a": 1}}, ["[run]: flags.a: expected true or false, got 1"]),
        ({"steps": 1, "flags": [1]}, ["[run]: flags: expected a table, got [1]"]),
        ({"steps": 1, "inner": {"width": -1.0}}, ["[run]: inner: width must be > 0, got -1.0"]),
        ({"steps": 1, "inner": {"widht": 1.0}}, ["[run]: inner: unknown key 'widht'", "did you mean 'width'"]),
        ({"steps": 1, "inner": 5}, ["[run]: inner: expected a table of settings, got 5"]),
        ({"steps": 1, "inner": {"kind": "narow"}}, ["inner: kind: got 'narow' (did you mean 'narrow'?); allowed: wide, narrow"]),
        ({"steps": None}, ["[run]: steps: expected a whole number, got None"]),
        ([1], ["[run]: expected a table of settings, got [1]"]),
    ],
)
def test_what_does_not_fit_is_named(values, words):
    with pytest.raises(ConfigError) as caught:
        from_mapping(Outer, values, "[run]")
    for word in words:
        assert word in str(caught.value)


def test_long_values_are_shown_short():
    with pytest.raises(ConfigError) as caught:
        convert([0] * 100_000, int, "steps")
    assert len(str(caught.value)) < 200


def test_a_record_may_stand_for_itself():
    assert from_mapping(Outer, {"steps": 1, "inner": Inner(4.0)}, "run").inner == Inner(4.0)


def test_plain_means_plain():
    """Nothing but dicts, lists, numbers, text and None comes out."""

    def check(value):
        if isinstance(value, dict):
            assert type(value) is dict
            for part in value.values():
                check(part)
        elif isinstance(value, list):
            for part in value:
                check(part)
        else:
            assert value is None or type(value) in (int, float, str, bool)

    check(to_mapping(FULL))
