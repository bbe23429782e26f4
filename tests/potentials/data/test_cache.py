"""Prepared data are used again exactly when nothing that they were made of has changed."""
import multiprocessing
import os
import time
from dataclasses import replace

import pytest

from data.test_dataset import structure
from data.test_storage import assert_same_batch, varied
from potentials.data import DataError, build_dataset
from potentials.data.cache import cached_dataset


class Source:
    """A file, and a reader that counts how often it is asked."""

    def __init__(self, path, frames):
        self.path, self.frames, self.reads = path, frames, 0
        path.write_text("some frames")

    def read(self):
        self.reads += 1
        return iter(self.frames)


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path / "frames.xyz", varied(12))


def prepared(source, tmp_path, told=None, recipe={"charged": "keep"}, cutoff=3.0, **options):
    tell = (lambda line: None) if told is None else told.append
    return cached_dataset(tmp_path / "cache", source.read, [source.path], recipe, cutoff, tell=tell, **options)


def test_read_once_and_used_again(source, tmp_path):
    told = []
    first, second = prepared(source, tmp_path, told), prepared(source, tmp_path, told)
    assert source.reads == 1 and "12 prepared frames, as they are" in told[1]
    assert_same_batch(first.batch([3, 1]), second.batch([3, 1]))
    assert_same_batch(build_dataset(source.frames, 3.0).batch([3, 1]), second.batch([3, 1]))


def test_a_touched_file_of_the_same_content_is_the_same(source, tmp_path):
    prepared(source, tmp_path)
    os.utime(source.path, (1, 1))
    prepared(source, tmp_path)
    assert source.reads == 1


@pytest.mark.parametrize(
    "options, why",
    [
        ({"cutoff": 3.5}, "cutoff is now 3.5 and was 3.0"),
        ({"long_range_cutoff": 6.0}, "long_range_cutoff is now 6.0 and was None"),
        ({"pairs": "found"}, "pairs is now found and was stored"),
        ({"recipe": {"charged": "drop"}}, "charged changed"),
    ],
)
def test_another_wish_makes_them_anew_and_says_why(source, tmp_path, options, why):
    told = []
    prepared(source, tmp_path, told)
    prepared(source, tmp_path, told, **options)
    assert source.reads == 2 and f"made anew, since {why}" in told[1]


def test_a_changed_or_missing_file_is_noticed(source, tmp_path):
    told = []
    prepared(source, tmp_path)
    source.path.write_text("same bytes!")
    os.utime(source.path, (1, 1))
    prepared(source, tmp_path, told)
    assert source.reads == 2 and "frames.xyz changed" in told[0]
    source.path.unlink()
    with pytest.raises(FileNotFoundError, match="frames.xyz"):
        prepared(source, tmp_path)


def test_what_was_set_aside_is_there_when_the_data_are_used_again(source, tmp_path):
    atom = replace(structure(3, n_atoms=1), energy=-13.6, charge=1.0, multiplicity=2)

    def read():
        aside.append(atom)
        yield from source.frames

    for _ in range(2):
        aside = []
        cached_dataset(tmp_path / "cache", read, [source.path], {}, 3.0, aside=aside)
        (kept,) = aside
        assert (kept.numbers.tolist(), kept.energy, kept.charge, kept.multiplicity) == (atom.numbers.tolist(), -13.6, 1.0, 2)


def test_damaged_data_are_made_anew(source, tmp_path):
    told = []
    prepared(source, tmp_path)
    path = tmp_path / "cache" / "energy.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    prepared(source, tmp_path, told)
    assert source.reads == 2 and "energy.npy has another checksum" in told[0]


def test_a_folder_of_others_is_refused(source, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.tex").write_text("\\end{document}")
    with pytest.raises(DataError, match="something else"):
        prepared(source, tmp_path)
    assert (tmp_path / "cache" / "thesis.tex").exists()


def _slowly(folder, log):
    def read():
        with open(log, "a") as file:
            file.write("read\n")
        time.sleep(0.2)
        yield from varied(12)

    assert len(cached_dataset(folder / "cache", read, [folder / "frames.xyz"], {}, 3.0)) == 12


def test_processes_wait_for_the_one_that_makes_them(source, tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_slowly, args=(tmp_path, tmp_path / "log")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert (tmp_path / "log").read_text() == "read\n"
