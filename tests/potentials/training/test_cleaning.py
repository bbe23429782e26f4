"""Before a training: what is suspected is told and listed, what is beyond doubt is left out, and the rest only where asked for."""
import csv
from dataclasses import replace

import numpy as np
import pytest

from data.cleaning.sets import molecules
from potentials.data.dataset import build_dataset
from potentials.data.labelled import DataError
from potentials.training.cleaning import clean

LARGE = ("CH3CH2OH", "C3H8", "HCOOCH3")


@pytest.fixture(scope="module")
def parts():
    """Training frames of which 5 has an absurd force and 9 is a copy of validation frame 2; 11 has atoms on top of each other."""
    training, validation = molecules(LARGE, each=20, seed=1), molecules(LARGE, each=4, seed=2)
    forces = training[5].forces.copy()
    forces[:2] += [[500.0, 0, 0], [-500.0, 0, 0]]
    positions = training[11].positions.copy()
    positions[1] = positions[0] + [0.2, 0, 0]
    training[5], training[9], training[11] = replace(training[5], forces=forces), validation[2], replace(training[11], positions=positions)
    return [(name, build_dataset(frames, 4.0), np.arange(len(frames))) for name, frames in (("training", training), ("validation", validation))]


@pytest.mark.parametrize("how, gone", [("report", [9, 11]), ("remove", [5, 9, 11]), ("off", [])])
def test_what_is_left_out(parts, tmp_path, how, gone):
    said = []
    training, validation = clean(parts, how, tmp_path / "run", said.append)
    assert np.setdiff1d(parts[0][2], training).tolist() == gone
    assert len(validation) == 12  # validation stays as it is
    assert (tmp_path / "run" / "rejected.csv").exists() == bool(said) == (how != "off")


def test_suspects_are_listed_with_reasons_and_counted_on_the_screen(parts, tmp_path):
    said = []
    clean(parts, "report", tmp_path, said.append)
    with open(tmp_path / "rejected.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["file"], int(row["frame"]), row["reason"]): row["beyond_doubt"] for row in rows}
    assert found[("training", 5, "absurd force")] == "False"
    assert found[("training", 9, "copy across the split")] == "True" and found[("training", 11, "too close")] == "True"
    assert len(said) == 1 and "3 of 72 frames are suspected" in said[0] and "2 of them left out" in said[0]


def test_indices_of_a_split_are_those_of_the_data_set(parts, tmp_path):
    name, dataset, indices = parts[0]
    inside, outside = indices[1::2], indices[::2]
    training, _ = clean([(name, dataset, inside), ("validation", dataset, outside)], "remove", tmp_path, lambda line: None)
    assert np.setdiff1d(inside, training).tolist() == [5, 11]


def test_healthy_data_are_passed_in_silence_and_leave_nothing_behind(tmp_path):
    frames = molecules(LARGE, each=20, seed=1)
    said = []
    kept = clean([("training", build_dataset(frames, 4.0), np.arange(len(frames)))], "remove", tmp_path / "run", said.append)
    assert len(kept[0]) == len(frames) and not said and not (tmp_path / "run").exists()


def test_a_part_of_which_nothing_is_left_is_refused(tmp_path):
    frames = molecules(LARGE, each=4, seed=1)
    forces = [s.forces + np.outer(np.arange(len(s.numbers)) - (len(s.numbers) - 1) / 2, [1000.0, 0, 0]) for s in frames]
    data = build_dataset([replace(s, forces=F) for s, F in zip(frames, forces)], 4.0)
    with pytest.raises(DataError, match="none is left with cleaning = 'remove'"):
        clean([("training", data, np.arange(len(frames)))], "remove", tmp_path, lambda line: None)
