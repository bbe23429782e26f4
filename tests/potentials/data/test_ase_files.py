"""ASE data bases and trajectories: the same frames as written, and nothing in them runs."""
import json
import sqlite3

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import Trajectory

from potentials.data import DataError, LabelKeys, Units, read_labelled
from potentials.data.units import KJ_PER_MOL


def frames(n=3, **results):
    made = []
    for k in range(n):
        rng = np.random.default_rng(k)
        atoms = Atoms("OH2" if k % 2 == 0 else "OH", rng.standard_normal((3 - k % 2, 3)), cell=[7, 8, 9], pbc=k == 2)
        labels = dict(energy=-5.0 - k, forces=rng.standard_normal((len(atoms), 3)), stress=np.arange(6.0) + k, dipole=np.ones(3) * k,
                      charges=np.full(len(atoms), 0.1))  # fmt: skip
        atoms.calc = SinglePointCalculator(atoms, **{**labels, **results})
        made.append(atoms)
    return made


def write_db(path, made, **more):
    with ase.db.connect(path, type="db") as db:
        for atoms in made:
            db.write(atoms, **more)
    return path


def write_traj(path, made):
    with Trajectory(path, "w") as trajectory:
        for atoms in made:
            trajectory.write(atoms)
    return path


@pytest.mark.parametrize("name, write", [("a.db", write_db), ("a.traj", write_traj)])
def test_frames_come_back_as_written(tmp_path, name, write):
    made = frames()
    read = list(read_labelled(write(tmp_path / name, made)))
    for s, atoms in zip(read, made, strict=True):
        assert s.energy == atoms.calc.results["energy"] and s.numbers.tolist() == atoms.numbers.tolist()
        np.testing.assert_array_equal(s.positions, atoms.positions)
        np.testing.assert_array_equal(s.forces, atoms.calc.results["forces"])
        np.testing.assert_array_equal(s.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], atoms.calc.results["stress"])
        np.testing.assert_array_equal(s.dipole, atoms.calc.results["dipole"])
        np.testing.assert_array_equal(s.charges, atoms.calc.results["charges"])
        assert np.array_equal(s.cell, atoms.cell) and np.array_equal(s.pbc, atoms.pbc)


@pytest.mark.parametrize("name, write", [("a.db", write_db), ("a.traj", write_traj)])
def test_constraints_take_nothing_off_the_forces(tmp_path, name, write):
    made = frames(1)
    made[0].set_constraint(FixAtoms([0, 1, 2]))
    (s,) = read_labelled(write(tmp_path / name, made))
    np.testing.assert_array_equal(s.forces, made[0].calc.results["forces"])


def test_labels_of_a_row_s_data_and_pairs_are_found(tmp_path):
    atoms = Atoms("OH2", np.eye(3))
    with ase.db.connect(tmp_path / "a.db", type="db") as db:
        db.write(atoms, key_value_pairs={"config": "wet", "total_charge": -1}, data={"energy": np.array([2.0]), "F": np.ones((3, 3)), "other": "text"})
    (s,) = read_labelled(tmp_path / "a.db", keys=LabelKeys(forces="F", molecule="config"), units=Units("kcal/mol"))
    assert s.energy == pytest.approx(2 * 4.184 * KJ_PER_MOL) and s.molecule == "wet" and s.charge == -1
    with pytest.raises(DataError, match="No forces in row 1 of a.db: looked for 'G'; there: F, config, energy, other, total_charge"):
        next(read_labelled(tmp_path / "a.db", keys=LabelKeys(forces="G")))


def test_units_of_schnetpack_metadata_are_believed(tmp_path, caplog):
    with ase.db.connect(tmp_path / "a.db", type="db") as db:
        db.write(Atoms("OH2", np.eye(3)), data={"energy": np.array([2.0]), "forces": np.ones((3, 3))})
        caplog.clear()
    assert next(read_labelled(tmp_path / "a.db")).energy == 2.0 and "nothing says their units" in caplog.text
    db.metadata = {"_property_unit_dict": {"energy": "kcal/mol", "forces": "kcal/mol/Ang"}, "_distance_unit": "Ang"}
    s = next(read_labelled(tmp_path / "a.db"))
    assert s.energy == pytest.approx(0.0867, rel=1e-3) and s.forces[0, 0] == pytest.approx(0.04336, rel=1e-3)
    db.metadata = {"_property_unit_dict": {"energy": "parsec"}}
    with pytest.raises(DataError, match="Unknown unit of energy 'parsec'.*overruled"):
        next(read_labelled(tmp_path / "a.db"))


def test_reading_a_data_base_leaves_nothing_behind(tmp_path):
    path = write_db(tmp_path / "a.db", frames())
    before = path.read_bytes()
    list(read_labelled(path))
    assert [p.name for p in tmp_path.iterdir()] == ["a.db"] and path.read_bytes() == before


def test_frames_without_labels_are_refused(tmp_path):
    write_db(tmp_path / "a.db", [Atoms("H")])
    with pytest.raises(DataError, match="No energy in row 1 of a.db"):
        list(read_labelled(tmp_path / "a.db"))
    write_traj(tmp_path / "a.traj", [Atoms("H")])
    with pytest.raises(DataError, match="No energy in frame 0 of a.traj"):
        list(read_labelled(tmp_path / "a.traj"))


def test_forces_of_another_shape_and_nan_are_refused(tmp_path):
    write_db(tmp_path / "a.db", frames(1, forces=np.ones((2, 3))))
    with pytest.raises(DataError, match=r"forces has shape \(2, 3\), expected \(3, 3\).*row 1 of a.db"):
        list(read_labelled(tmp_path / "a.db"))
    write_traj(tmp_path / "a.traj", frames(2, energy=float("nan")))
    with pytest.raises(DataError, match="energy is not a finite number in frame 0 of a.traj"):
        list(read_labelled(tmp_path / "a.traj"))


def test_what_is_no_data_base_is_refused(tmp_path):
    (tmp_path / "a.db").write_text("no data base at all, but text")
    with pytest.raises(DataError, match="a.db cannot be read as an ASE data base"):
        list(read_labelled(tmp_path / "a.db"))
    with sqlite3.connect(tmp_path / "b.db") as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    with pytest.raises(DataError, match="b.db is an SQLite file, but no ASE data base"):
        list(read_labelled(tmp_path / "b.db"))
    whole = write_db(tmp_path / "c.db", frames(20)).read_bytes()
    (tmp_path / "c.db").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="c.db cannot be read"):
        list(read_labelled(tmp_path / "c.db"))


def test_what_is_no_trajectory_is_refused(tmp_path):
    for content in (b"", b"- of Ulm", b"text", b"\x80\x04K\x01."):  # the last is a pickle, the format of old trajectories
        (tmp_path / "a.traj").write_bytes(content)
        with pytest.raises(DataError, match="a.traj cannot be read as an ASE trajectory|a.traj is no ASE trajectory"):
            list(read_labelled(tmp_path / "a.traj"))
    whole = write_traj(tmp_path / "b.traj", frames(5)).read_bytes()
    (tmp_path / "b.traj").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match="b.traj cannot be read as an ASE trajectory"):
        list(read_labelled(tmp_path / "b.traj"))


def test_array_that_claims_more_than_the_file_takes_no_memory(tmp_path):
    path = write_traj(tmp_path / "a.traj", frames(1))
    content = path.read_bytes()
    old, new = b'"positions.": {"ndarray": [[3, 3], "float64", ', b'"positions.": {"ndarray": [[99999999999, 3], "f8", '
    assert content.count(old) == 1
    start = content.index(old)
    new = new.replace(b": ", b":").replace(b", ", b",")
    path.write_bytes(content[:start] + new.ljust(len(old)) + content[start + len(old) :])
    with pytest.raises(DataError, match=r"a.traj cannot be read as an ASE trajectory at frame 0: 'positions.' claims shape \(99999999999, 3\)"):
        list(read_labelled(path))


def test_objects_in_a_data_base_are_not_built(tmp_path):
    """What names an ASE class is read as plain data; a view in place of a table is not asked."""
    path = write_db(tmp_path / "a.db", frames(1))
    with sqlite3.connect(path) as file:
        file.execute("UPDATE systems SET constraints = ?", (json.dumps([{"name": "os.system", "kwargs": {"command": "true"}}]),))
        file.execute("UPDATE systems SET calculator_parameters = 'not json {'")
    file.close()
    assert len(list(read_labelled(path))) == 1
    with sqlite3.connect(path) as file:
        file.execute("ALTER TABLE systems RENAME TO hidden")
        file.execute("CREATE VIEW systems AS SELECT * FROM hidden")
    file.close()
    with pytest.raises(DataError, match="no table 'systems'"):
        list(read_labelled(path))
