"""A library knows what it has seen, says so to readers while it grows, and loses nothing that it has taken."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from growing_library import seed_of, shape
from scipy.spatial.transform import Rotation
from test_identity import two_centres

from mdapp.errors import OutputError, RunFolderError, StructureError
from mdapp.minima import library as module
from mdapp.minima import library_file
from mdapp.minima.library import Library, Origin, Sameness

REPO = Path(__file__).parents[3]
START = Origin("start")


def cluster(seed: int, n: int = 10) -> Atoms:
    return Atoms(f"Ar{n}", positions=3 * np.random.default_rng(seed).normal(size=(n, 3)))


def disguised(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Turned, mirrored, its equal atoms exchanged, moved, with noise."""
    copy = atoms.copy()
    x = atoms.positions[rng.permutation(len(atoms))] + 1e-3 * rng.normal(size=(len(atoms), 3))
    copy.positions = -x @ Rotation.random(random_state=int(rng.integers(2**31))).as_matrix() + 5
    return copy


def filled(path: Path, n: int = 30) -> Library:
    """n minima, each seen twice, frequencies of some."""
    library, rng = Library(path, "a"), np.random.default_rng(0)
    for k in range(n):
        library.place(cluster(k), -1.0 - 1e-3 * (k % 7), Origin("kick", None if k == 0 else k - 1, k % 3, 10 * k))
    for k in range(n):
        library.place(disguised(cluster(k), rng), -1.0 - 1e-3 * (k % 7), Origin("md burst", (k + 1) % n, 1, 10 * n + k))
    library.set_frequencies(min(4, n - 1), [-20.0, 100.0, 300.0])
    return library


@pytest.mark.parametrize("second", [9, 17])
def test_a_library_knows_again_whether_mirror_images_are_one(tmp_path, second):
    atoms = two_centres(1, -1)  # a meso form; with another halogen at one of its halves none
    atoms.numbers[2] = 35
    atoms.numbers[6] = 35 if second == 9 else 53
    path = tmp_path / "minima.h5"
    with Library(path, "a", like=atoms) as library:
        library.place(atoms, -1.0, START)
        mirrored = Atoms(atoms.numbers, -atoms.positions)
        assert library.find(mirrored.positions, -1.0).is_new == (second != 9)
    with Library(path, "r") as library:
        assert library.identity.is_chiral == (second != 9) and library.find(mirrored.positions, -1.0).is_new == (second != 9)
    with h5py.File(path, "r+") as file:
        del file.attrs["is_chiral"]
    with Library(path, "r") as library:  # a file that does not say: chiral by its graph
        assert library.identity.is_chiral and len(library) == 1


def assert_same(a: Library, b: Library) -> None:
    assert len(a) == len(b) and np.array_equal(a.energies(), b.energies()) and np.array_equal(a.by_energy(), b.by_energy())
    assert np.array_equal(a.positions(), b.positions()) and np.allclose(a.fingerprints(), b.fingerprints(), atol=1e-6)
    assert a.history() == b.history() and a.transitions() == b.transitions() and np.array_equal(a.visit_counts(), b.visit_counts())
    assert [a.origin(k) for k in range(len(a))] == [b.origin(k) for k in range(len(b))]
    for k in range(len(a)):
        found, other = a.frequencies(k), b.frequencies(k)
        assert (found is None and other is None) or np.array_equal(found, other)
    assert np.array_equal(a.reference.numbers, b.reference.numbers) and a.sameness == b.sameness


def test_a_disguised_copy_is_a_visit_and_not_a_minimum(tmp_path):
    rng = np.random.default_rng(1)
    with Library(tmp_path / "minima.h5") as library:
        for k in range(40):
            assert library.place(cluster(k), -1.0, START).is_new
        for k in rng.permutation(40).tolist():
            placed = library.place(disguised(cluster(k), rng), -1.0, Origin("again", k))
            assert (placed.index, placed.is_new) == (k, False) and placed.distance < 0.01
        assert len(library) == 40 and (library.visit_counts() == 2).all()
        assert library.transitions() == {(k, k): 1 for k in range(40)}


def test_peptide_conformers_are_found_among_their_near_duplicates(tmp_path):
    """Turned methyls and exchanged hydrogens are the same minimum, noise of 0.3 Å is another."""
    peptide, rng = read(REPO / "examples" / "peptide.xyz"), np.random.default_rng(2)
    with Library(tmp_path / "minima.h5", like=peptide) as library:
        shapes = []
        for k in range(20):
            one = peptide.copy()
            one.rattle(0.3, rng=np.random.default_rng(k))
            assert library.place(one, -5.0, START).index == k
            shapes.append(one)
        for k, one in enumerate(shapes):
            copy = one.copy()
            p = library.identity.symmetry.assign(rng.random((len(one),) * 2))
            copy.positions = one.positions[p] @ Rotation.random(random_state=k).as_matrix() + 1e-3 * rng.normal(size=(len(one), 3))
            assert library.place(copy, -5.0, START).index == k
            copy.positions *= -1  # the molecule is chiral
            assert library.find(copy.positions, -5.0).is_new


def test_what_the_energy_tells_apart_is_apart(tmp_path):
    with Library(tmp_path / "minima.h5", sameness=Sameness(energy_window_eV=0.01)) as library:
        library.place(cluster(1), -1.0, START)
        assert not library.place(cluster(1), -1.0099, START).is_new
        assert library.place(cluster(1), -1.0101, START).is_new
        assert library.place(cluster(1), -0.9899, START).is_new


def test_who_found_what_from_where_is_kept(tmp_path):
    with filled(tmp_path / "minima.h5") as library:
        assert library.origin(7) == Origin("kick", 6, 1, 70) and library.origin(0).parent is None
        assert library.visits(7) == 2 and library.transitions()[6, 7] == 1 and library.transitions()[8, 7] == 1
        assert library.history()[30 + 7] == (7, Origin("md burst", 8, 1, 307), -1.0)
        order = library.by_energy()
        assert (np.diff(library.energies()[order]) >= 0).all() and sorted(order) == list(range(30))
        atoms = library.atoms(7)
        assert np.array_equal(atoms.positions, cluster(7).positions) and atoms.get_potential_energy() == -1.0 and atoms.info["minimum"] == 7
        assert np.array_equal(library.frequencies(4), [-20.0, 100.0, 300.0]) and library.frequencies(5) is None


@pytest.mark.parametrize("ending", ["closed", "read while open", "reader while folded", "process died"])
def test_a_library_is_read_back_as_it_was(tmp_path, ending):
    library = filled(tmp_path / "minima.h5")
    if ending == "reader while folded":
        library.fold()
    if ending == "process died":
        os.close(library._lock._file)  # the system takes the lock back; nothing is folded, nothing is said
        library._lock._file = -1
        with Library(tmp_path, "a") as again:
            assert_same(library, again)
            assert again.place(cluster(3), -1.003, START).index == 3
            assert again.place(cluster(99), -1.0, START).index == 30
        assert len(Library(tmp_path, "r")) == 31
        return
    if ending == "closed":
        library.close()
        assert [f.name for f in tmp_path.iterdir()] == ["minima.h5"]
    assert_same(library, Library(tmp_path, "r"))
    library.close()


def test_the_file_opens_plainly_while_it_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHORTEST_INTERVAL_S", 0.0)
    monkeypatch.setattr(module, "COST_FACTOR", 0.0)
    monkeypatch.setattr(module, "BYTES_PER_S", 1e12)
    with Library(tmp_path / "minima.h5") as library:
        for k in range(12):
            library.place(cluster(k), -1.0 - k, START)
            with h5py.File(tmp_path / "minima.h5", "r") as file:
                assert len(file["minima/energy"]) == k + 1  # folded at once
                assert np.array_equal(file["minima/positions"][k], cluster(k).positions)
                assert file["minima/visits"][:].tolist() == [1] * (k + 1) and len(file["visits/minimum"]) == k + 1
                assert np.isnan(file["minima/frequencies_cm1"][:]).all()


def test_a_fold_that_was_interrupted_is_not_made_twice(tmp_path):
    library = filled(tmp_path / "minima.h5")
    library._journal.sync()
    library._store()  # the process dies here: the journal still holds what the file has
    assert_same(library, Library(tmp_path, "r"))
    library._journal.close(remove=False)
    library._lock.release()
    with Library(tmp_path, "a") as again:
        assert_same(library, again)


def test_a_torn_journal_loses_its_torn_record_only(tmp_path):
    library = filled(tmp_path / "minima.h5")
    journal = tmp_path / "minima.journal"
    library.set_frequencies(9, [1.0])
    os.truncate(journal, journal.stat().st_size - 3)
    library._lock.release()
    with Library(tmp_path, "a") as again:
        assert len(again) == 30 and len(again.history()) == 60 and again.frequencies(4) is not None and again.frequencies(9) is None


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    library = filled(tmp_path / "minima.h5")

    def full(*args, **options):
        raise OutputError("minima.h5 cannot be written: no space left on device.")

    monkeypatch.setattr(library_file, "append", full)
    with pytest.raises(OutputError, match="no space"):
        library.fold()
    library.close()
    monkeypatch.undo()
    assert (tmp_path / "minima.journal").exists()
    with Library(tmp_path, "a") as again:
        assert_same(library, again)


def test_one_process_adds_at_a_time_and_any_may_read(tmp_path):
    with filled(tmp_path / "minima.h5", 3):
        with pytest.raises(OutputError, match="in use by process"):
            Library(tmp_path, "a")
        assert len(Library(tmp_path, "r")) == 3
    Library(tmp_path, "a").close()


def test_an_empty_library_is_a_library(tmp_path):
    with Library(tmp_path / "minima.h5", like=molecule("C2H6")) as library:
        assert len(library) == 0 and len(library.energies()) == 0 and library.transitions() == {}
    again = Library(tmp_path, "r")
    assert len(again) == 0 and again.identity.symmetry.order == 72
    Library(tmp_path / "other.h5", "a").close()
    assert not (tmp_path / "other.h5").exists()


def test_names_and_charge_of_the_start_are_kept(tmp_path):
    water = molecule("H2O")
    water.info["charge"] = -1
    water.set_array("atomtypes", np.array(["O", "H1", "Hø"]))
    water.set_array("residuenumbers", np.array([7, 7, 7]))
    with Library(tmp_path / "minima.h5", like=water) as library:
        library.place(water, 0.0, Origin("ein sehr langer Name mit äöü, länger als das Feld breit ist"))
    again = Library(tmp_path, "r")
    assert again.atoms(0).info["charge"] == -1 and again.atoms(0).arrays["atomtypes"].tolist() == ["O", "H1", "Hø"]
    assert again.reference.arrays["residuenumbers"].tolist() == [7, 7, 7]
    assert again.origin(0).move.startswith("ein sehr langer Name mit äöü")


def test_wrong_questions_are_refused(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist"):
        Library(tmp_path / "minima.h5", "r")
    with pytest.raises(OutputError, match="no such file or directory"):
        Library(tmp_path / "nowhere" / "minima.h5", "a")
    with pytest.raises(ValueError, match="energy_window_eV must be > 0"):
        Sameness(energy_window_eV=0)
    library = filled(tmp_path / "minima.h5", 3)
    with pytest.raises(StructureError, match="holds minima of Ar10; the structure given has the atoms C2H6"):
        library.place(molecule("C2H6"), 0.0, START)
    with pytest.raises(StructureError, match="not finite"):
        library.place(cluster(0), float("nan"), START)
    with pytest.raises(IndexError, match="minimum 7 is not among the 3"):
        library.atoms(7)
    with pytest.raises(IndexError, match="minimum 3 is not among"):
        library.place(cluster(0), -1.0, Origin("kick", 3))
    with pytest.raises(ValueError, match="at most 30 finite numbers"):
        library.set_frequencies(0, np.zeros(31))
    assert len(library.history()) == 6
    library.close()
    with pytest.raises(ValueError, match="opened for reading, or is closed"):
        library.place(cluster(0), -1.0, START)
    with pytest.raises(RunFolderError, match="was made with rmsd_max 0.1 Å"):
        Library(tmp_path, "a", sameness=Sameness(rmsd_max=0.2))
    with pytest.raises(StructureError, match="C2H6"):
        Library(tmp_path, "a", like=molecule("C2H6"))
    Library(tmp_path, "a").close()  # no refusal has kept the lock


def test_damaged_files_are_refused_and_nothing_is_lost_by_it(tmp_path):
    filled(tmp_path / "minima.h5", 5).close()
    whole = (tmp_path / "minima.h5").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no library at all"):
        (tmp_path / "minima.h5").write_bytes(damaged)
        for mode in ("r", "a"):
            with pytest.raises(RunFolderError, match="minima.h5 is damaged"):
                Library(tmp_path, mode)
        assert (tmp_path / "minima.h5").read_bytes() == damaged
    with h5py.File(tmp_path / "minima.h5", "w") as file:
        file["coordinates"] = np.zeros(3)
    with pytest.raises(RunFolderError, match="no library of minima"):
        Library(tmp_path, "r")


def test_a_journal_of_another_library_is_refused(tmp_path):
    filled(tmp_path / "minima.h5", 3).close()
    other = filled(tmp_path / "other.h5", 3)
    os.replace(tmp_path / "other.journal", tmp_path / "minima.journal")
    with pytest.raises(RunFolderError, match="belongs to another library"):
        Library(tmp_path / "minima.h5", "a")
    other._lock.release()
    (tmp_path / "minima.h5").unlink()
    with pytest.raises(RunFolderError, match="is missing, but minima.journal"):
        Library(tmp_path / "minima.h5", "a", like=cluster(0))


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_no_minimum_is_lost_to_kill_9(tmp_path, kills):
    path, rng = tmp_path / "minima.h5", random.Random(kills)
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    said = 0
    for _ in range(kills):
        command = [sys.executable, str(Path(__file__).parent / "growing_library.py"), str(path)]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:
            first = child.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.4))
            child.send_signal(signal.SIGKILL)
            lines = [first, *child.stdout.read().splitlines(keepends=True)]
        assert child.returncode == -signal.SIGKILL
        spoken = [line.split() for line in lines if line.endswith("\n")]
        assert spoken and int(spoken[0][0]) >= said  # goes on behind everything that was said
        with h5py.File(path, "r") as file:
            assert len(file["minima/energy"]) == len(file["minima/positions"])
        library = Library(path, "r")
        history = library.history()
        said = 1 + max(int(words[0]) for words in spoken)
        assert said <= len(history) <= said + 1
        for words in spoken:
            if words[1] == "frequencies":
                index = history[int(words[0])][0]
                assert library.frequencies(index) is not None
            else:
                assert history[int(words[0])][0] == int(words[1])
        for k, (index, origin, _) in enumerate(history):
            assert origin.evaluation == k and library.identity.same(library.atoms(index).positions, shape(k).positions)
        assert len(library) == len({seed_of(k) for k in range(len(history))})
