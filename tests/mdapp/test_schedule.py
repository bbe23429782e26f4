"""Words that ask for a schedule, for atoms and for cell vectors."""
import pytest
from mdapp.config import RunConfig
from mdapp.schedule import Schedule, parse_schedule
from mdapp.selection import select_atoms


def config(**settings):
    return RunConfig(**{"structure": "a.xyz", "potential": "lj", **settings})


def test_a_schedule_goes_in_straight_lines_and_stays_at_its_end():
    schedule = Schedule(300.0, ((500.0, 20.0), (500.0, 10.0), (100.0, 40.0)))
    assert [schedule(t) for t in (-1.0, 0.0, 10.0, 20.0, 25.0, 50.0, 70.0, 1e9)] == [300.0, 300.0, 400.0, 500.0, 500.0, 300.0, 100.0, 100.0]
    assert (schedule.length_fs, schedule.highest_K) == (70.0, 500.0)


@pytest.mark.parametrize("words", [("500K 20ps, 300K 1ns",), ("500 K 20 ps", "300 1e6"), ("500K 20000fs,300K 1000ps",)])
def test_a_schedule_is_read_with_or_without_units(words):
    assert parse_schedule(words, 300.0).legs == ((500.0, 2e4), (300.0, 1e6))


@pytest.mark.parametrize("word, said", [
    ("500K", "expected a temperature and the time"), ("500K 20ps,", "expected a temperature"), ("20ps 500K", "expected a temperature"), ("0K 1ps", "above 0"),
    ("500K 0ps", "above 0 fs"), ("-5K 1ps", "above 0"), ("1e6K 1ps", "at most 100000 K"), ("300K 1parsec", "with the unit 'parsec'"), ("", "expected"),
])
def test_what_is_no_schedule_is_refused(word, said):
    with pytest.raises(ValueError, match=said):
        config(anneal=word)


def test_a_run_is_as_long_as_its_schedule_unless_told_otherwise():
    assert config(anneal="500K 20ps, 300K 10ps").steps == 60_000
    assert config(anneal="500K 20ps, 300K 10ps", time="1ps").steps == 2000


@pytest.mark.parametrize("settings, said", [
    ({"anneal": "500K 1ps", "ensemble": "nve"}, "'nve' has no thermostat"), ({"cell_mask": "1,1,0"}, "'nvt' keeps the cell as it is"),
    ({"cell_mask": "0,0,0", "ensemble": "npt"}, "holds the whole cell"), ({"cell_mask": "a", "ensemble": "npt"}, "three numbers 0 or 1"),
    ({"freeze": "C", "ensemble": "npt"}, "cannot hold atoms while the cell changes"), ({"freeze": "1-"}, "expected an index"), ({"freeze": ""}, "expected an"),
    ({"constrain_hydrogens": True, "ensemble": "npt"}, "cannot hold bonds while the cell changes"), ({"heavy_hydrogens": 1.0}, "between 1.1 and 5 amu"),
    ({"heavy_hydrogens": "3 kg"}, "with the unit 'kg'"),
])
def test_what_makes_no_sense_is_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        config(**settings)


@pytest.mark.parametrize("word, chosen", [("0", [0]), ("1-3,0", [0, 1, 2, 3]), ("O", [1]), ("h,C", [0, 2, 3, 4, 5]), ("heavy", [0, 1]), ("all", list(range(6)))])
def test_atoms_are_chosen_by_index_range_and_element(word, chosen):
    assert select_atoms([word], [6, 8, 1, 1, 1, 1], "freeze") == chosen


@pytest.mark.parametrize("word, said", [("6", "whose atoms are 0 to 5"), ("3-2", "no atom or range"), ("N", "holds no atom of 'N'"), ("Zz", "is no element")])
def test_atoms_that_are_not_there_are_refused(word, said):
    with pytest.raises(ValueError, match=said):
        select_atoms([word], [6, 8, 1, 1, 1, 1], "freeze")
