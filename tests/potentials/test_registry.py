"""Plug-ins are found by name in the house and among entry points; nothing is imported before its name is asked for."""
import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import potentials.registry
from potentials.architectures import architectures
from potentials.named import named
from potentials.registry import Registry, UnknownName


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A package with two good plug-ins, a private file and a broken one; and a place for strangers."""
    room = tmp_path / "a_house" / "shapes"
    room.mkdir(parents=True)
    (tmp_path / "a_house" / "__init__.py").touch()
    (room / "__init__.py").write_text("from potentials.registry import Registry\nshapes = Registry('shape', 'a_house.shapes', 'a_house.plugins')\n")
    member = "from a_house.shapes import shapes\n@shapes.register('{0}')\nclass Member:\n    size = {1}\n"
    (room / "round_one.py").write_text(member.format("round-one", 1))
    (room / "square.py").write_text(member.format("square", 2))
    (room / "_helper.py").write_text("raise RuntimeError('a private file is no plug-in')\n")
    (tmp_path / "stranger.py").write_text("class Triangle:\n    size = 3\n")
    (tmp_path / "broken_stranger.py").write_text("raise ImportError('libmissing.so is not here')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield room
    for name in [n for n in sys.modules if n.split(".")[0] in ("a_house", "stranger", "broken_stranger")]:
        del sys.modules[name]


@pytest.fixture
def strangers(monkeypatch):
    """Entry points that seem to be installed: (name, value) pairs of the group a_house.plugins."""
    points = []

    def fake(group):
        return tuple(p for p in points if p.group == group)

    monkeypatch.setattr(potentials.registry, "entry_points", fake)
    return lambda name, value, group="a_house.plugins": points.append(EntryPoint(name, value, group))


def shapes():
    import a_house.shapes

    return a_house.shapes.shapes


def test_a_file_of_the_house_is_found_by_its_name(house, strangers):
    assert shapes().get("round-one").size == 1 and shapes().get("round-one").name == "round-one"


def test_nothing_is_imported_until_its_name_is_asked_for(house, strangers):
    strangers("triangle", "stranger:Triangle")
    registry = shapes()
    assert not {"a_house.shapes.round_one", "a_house.shapes.square", "stranger"} & sys.modules.keys()
    registry.get("square")
    assert "a_house.shapes.square" in sys.modules and "a_house.shapes.round_one" not in sys.modules
    registry.names()
    assert "stranger" not in sys.modules  # listing does not open strangers
    assert registry.get("triangle").size == 3 and "stranger" in sys.modules


def test_names_lists_house_hand_and_strangers(house, strangers):
    strangers("triangle", "stranger:Triangle")
    strangers("elsewhere", "stranger:Triangle", group="another.group")
    registry = shapes()
    registry.register("by-hand")(type("ByHand", (), {}))
    assert registry.names() == ["by-hand", "round-one", "square", "triangle"]


def test_a_broken_stranger_harms_only_those_who_use_it(house, strangers):
    strangers("broken", "broken_stranger:Nothing")
    registry = shapes()
    assert "broken" in registry.names() and registry.get("square").size == 2
    with pytest.raises(ImportError, match="libmissing.so"):
        registry.get("broken")


def test_a_broken_file_of_the_house_harms_only_those_who_use_it(house, strangers):
    (house / "cracked.py").write_text("raise RuntimeError('cracked')\n")
    assert shapes().get("square").size == 2
    with pytest.raises(RuntimeError, match="cracked"):
        shapes().get("cracked")


def test_two_of_one_name_are_an_error_that_names_both(house, strangers):
    strangers("square", "stranger:Triangle")
    with pytest.raises(ValueError, match=r"Two shapes are named 'square': a_house\.shapes\.square and stranger:Triangle"):
        shapes().get("square")
    assert shapes().get("round-one").size == 1
    strangers("triangle", "stranger:Triangle")
    strangers("triangle", "another_package:Triangle")
    with pytest.raises(ValueError, match="'triangle': stranger:Triangle .* and another_package:Triangle"):
        shapes().get("triangle")


def test_registering_twice_is_an_error_that_names_both(house, strangers):
    registry = shapes()
    registry.get("square")
    with pytest.raises(ValueError, match=r"Two shapes are named 'square': a_house\.shapes\.square and elsewhere"):
        registry.register("square")(type("Other", (), {"__module__": "elsewhere"}))


def test_an_unknown_name_gets_the_nearest_and_the_list(house, strangers):
    with pytest.raises(UnknownName, match=r"No shape 'squar'\. Did you mean 'square'\? Installed: round-one, square\."):
        shapes().get("squar")
    for name in ("_helper", "-helper", "../square", "square.py", "a_house.shapes.square", "round_one", ""):
        with pytest.raises(UnknownName):
            shapes().get(name)


def test_the_real_entry_points_are_read(house):
    """Without the stand-in: whatever is installed here, the group of nobody is empty."""
    assert importlib.metadata.entry_points(group="a_house.plugins") == ()
    assert shapes().names() == ["round-one", "square"]


def test_registries_of_the_house_hold_what_they_promise():
    assert {"lennard-jones", "so3krates", "so3krates-original"} <= set(architectures.names())
    assert {"lj", "emt"} <= set(named.names())
    for name in ("lennard-jones", "so3krates"):
        member = architectures.get(name)
        assert member.name == name and hasattr(member, "Config")


def test_a_registry_costs_nothing():
    """Importing the registry of architectures imports neither torch nor an architecture."""
    code = "import sys, potentials.architectures, potentials.named; sys.exit(bool({'torch', 'ase', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_registry_takes_its_package_as_group():
    assert Registry("thing", "some.package").group == "some.package"
